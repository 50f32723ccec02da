import { format } from "node:util";

import { Fail, Invalid, PackhorseError, Refused, Stopped } from "./errors.js";
import type { Claim, ClaimRef, Extended, NewJobError } from "./messages.js";
import { only, type Requests } from "./requests.js";

/** How a job was over for this runner. `stale`: the broker had taken the claim away before. */
export type Ending = "complete" | "failed" | "released" | "cancelled" | "revoked" | "stale";

/** What a job's function returns is the result. */
export type Result = Uint8Array | string | void;

export type JobFunction = (job: RunningJob) => Result | Promise<Result>;

/** The claim that is being run, as its function sees it. */
export class RunningJob {
    readonly id: string;
    readonly type: string;
    readonly payload: Uint8Array;
    readonly key: string | undefined;
    readonly headers: Readonly<Record<string, string>>;
    /** Which attempt this is, from 1, of `attempts`. */
    readonly attempt: number;
    readonly attempts: number;
    /** Grows with each claim of the job: write it beside what you change elsewhere. */
    readonly fence: number;
    /** Aborted when the job is to stop; its reason is `Stopped`, which tells why. */
    readonly signal: AbortSignal;
    readonly #run: Run;

    constructor(run: Run) {
        const { claim } = run;
        this.id = claim.job;
        this.type = claim.type;
        this.payload = claim.payload;
        this.key = claim.key;
        this.headers = claim.headers ?? {};
        this.attempt = claim.attempt;
        this.attempts = claim.attempts;
        this.fence = claim.fence;
        this.signal = run.signal;
        this.#run = run;
    }

    /** How long this attempt may still take; undefined: without limit. */
    get remainingMs(): number | undefined {
        return this.#run.remainingMs;
    }

    /** Tells how far the job is, 0 to 100. Need not be awaited. */
    progress(percent: number, text = ""): Promise<void> {
        return this.#run.report("progress", { percent, text });
    }

    /** Adds lines to the job's log. Need not be awaited. */
    log(...messages: string[]): Promise<void> {
        return this.#run.report("log", { messages });
    }

    /** Lets this attempt run so long from now on, within the job's total timeout: `remainingMs`. */
    extend(runMs: number): Promise<number | undefined> {
        return this.#run.extend(runMs);
    }
}

/** One claim, from its coming to what the broker is told of its end. */
export class Run {
    readonly #controller = new AbortController();
    readonly #reports = new Set<Promise<void>>();
    #endsAt: number | undefined;
    /** The broker has taken the claim away. */
    #lost: Stopped | undefined;
    #end: Promise<Ending> | undefined;

    constructor(
        readonly claim: Claim,
        readonly requests: Requests,
    ) {
        this.remains(claim.remaining_ms);
    }

    get signal(): AbortSignal {
        return this.#controller.signal;
    }

    get remainingMs(): number | undefined {
        return this.#endsAt && Math.max(0, this.#endsAt - performance.now());
    }

    remains(remainingMs: number | undefined): void {
        this.#endsAt = remainingMs === undefined ? undefined : performance.now() + remainingMs;
    }

    /** Asks the function to stop. */
    stop(stopped: Stopped): void {
        const { how, graceMs = Infinity } = stopped;
        if (how === "cancelled") this.remains(Math.min(graceMs, this.remainingMs ?? Infinity));
        else if (how !== "released") this.#lost ??= stopped;
        this.#controller.abort(stopped);
    }

    report(tag: "progress" | "log", said: object): Promise<void> {
        const asked = this.#ask<void>(tag, { reports: [{ ...this.#proof, ...said }] });
        // Nobody needs to await it: a claim that is over is told by the signal.
        asked.catch(() => undefined).finally(() => this.#reports.delete(asked));
        this.#reports.add(asked);
        return asked;
    }

    async extend(runMs: number): Promise<number | undefined> {
        const claims = [{ ...this.#proof, run_ms: runMs }];
        const { remaining_ms } = await this.#ask<Extended>("extend", { claims });
        this.remains(remaining_ms);
        return remaining_ms;
    }

    async #ask<Answer>(tag: string, fields: object): Promise<Answer> {
        const entries = await this.requests.ask(tag, fields);
        try {
            return only<Answer>(entries);
        } catch (error) {
            if (isOver(error)) this.stop(new Stopped("stale", error.message));
            throw error;
        }
    }

    // -- its end, which is told once ---------------------------------------------------------

    /** Runs the function and tells the broker how it ended. */
    async execute(run: JobFunction): Promise<Ending> {
        try {
            const result = await run(new RunningJob(this));
            this.#end ??= this.#tell(() => this.#complete(result));
        } catch (thrown) {
            const stopped = this.signal.reason as Stopped | undefined;
            this.#end ??= this.#tell(() => this.#fail(thrown, stopped?.how));
        }
        return this.#end;
    }

    /** Whether nothing that its function does changes its end. */
    get over(): boolean {
        return this.#end !== undefined || this.#lost !== undefined;
    }

    /** Gives the claim back, if no other end of it is on its way. */
    release(): Promise<Ending> {
        return (this.#end ??= this.#tell(() => this.#giveBack()));
    }

    async #tell(end: () => Promise<Ending>): Promise<Ending> {
        // The broker takes what is asked side by side in any order.
        await Promise.allSettled(this.#reports);
        try {
            if (!this.#lost) return await end();
        } catch {
            // The broker takes no end of it from us: it ends the claim by itself.
        }
        return this.#lost?.how === "revoked" ? "revoked" : "stale";
    }

    async #complete(returned: Result): Promise<Ending> {
        const result = typeof returned === "string" ? Buffer.from(returned) : returned;
        try {
            await this.requests.insist("complete", { jobs: [{ ...this.#proof, result }] });
            return "complete";
        } catch (error) {
            const unfit =
                error instanceof PackhorseError && ["invalid", "too_large"].includes(error.code);
            if (unfit)
                return this.#fail(new Fail(error.message, { type: "UnfitResult", retry: false }));
            throw error;
        }
    }

    /** `stopped`: how the function had been asked to stop when it threw. */
    async #fail(thrown: unknown, stopped?: Stopped["how"]): Promise<Ending> {
        if (stopped === "released" && !(thrown instanceof Fail)) return this.#giveBack();
        const cancelled = stopped === "cancelled";
        const error = told(thrown);
        const failure = { ...this.#proof, error, ...(cancelled ? { retry: false } : {}) };
        if (thrown instanceof Fail) {
            const { retry = true, retryInMs } = thrown.options;
            const waitMs = retryInMs === undefined ? undefined : Math.max(0, Math.ceil(retryInMs));
            Object.assign(failure, { retry: retry && !cancelled, retry_in_ms: waitMs });
        }
        try {
            await this.requests.insist("fail", { jobs: [failure] });
        } catch (error) {
            if (!(error instanceof Invalid)) throw error;
            // What can't be said whole is said in short: else the claim would never end.
            const short = { type: "UnfitError", message: clip(error.message, 1_024) };
            await this.requests.insist("fail", { jobs: [{ ...this.#proof, error: short }] });
        }
        return cancelled ? "cancelled" : "failed";
    }

    async #giveBack(): Promise<Ending> {
        await this.requests.insist("release", { claims: [this.#proof] });
        return "released";
    }

    get #proof(): ClaimRef {
        const { job, token } = this.claim;
        return { job, token };
    }
}

function isOver(error: unknown): error is Refused {
    return error instanceof Refused && ["stale_claim", "not_found"].includes(error.code);
}

function told(thrown: unknown): NewJobError {
    if (thrown instanceof Stopped)
        return { type: "Cancelled", message: clip(thrown.message, 1_024) };
    if (!(thrown instanceof Error))
        return { type: typeof thrown, message: clip(format(thrown), 1_024) };
    const { name, message, stack = "" } = thrown;
    return {
        type: clip(String(name), 1_024),
        message: clip(String(message), 1_024),
        traceback: clip(String(stack), 32_768),
    };
}

/** At most so many code points, none of them half. */
function clip(text: string, most: number): string {
    const whole = text.toWellFormed();
    return whole.length <= most ? whole : [...whole].slice(0, most).join("");
}

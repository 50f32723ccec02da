import { setTimeout as sleep } from "node:timers/promises";

import { Invalid, Stopped } from "./errors.js";
import type { Cancellation, Claim, Revocation } from "./messages.js";
import type { Requests } from "./requests.js";
import { type Ending, type JobFunction, Run } from "./run.js";

/** How long functions have to stop before their claims are given back. */
const STOP_MS = 1_000;

/** How long a runner that stops waits until the broker knows what became of its claims. */
const SETTLE_MS = 5_000;

/** As many claims may wait for a place at least, before there are types too. */
const WAITING_CLAIMS = 1_000;

/** A type's function, with the most of its jobs at once and its share where several types wait. */
export interface TypeTerms {
    run: JobFunction;
    atMost?: number;
    weight?: number;
}

export interface RunnerOptions {
    /** Most jobs at once, in all. */
    credit?: number;
}

/** A type that is run. */
interface Type {
    readonly run: JobFunction;
    readonly atMost: number;
    running: number;
}

/** Runs the jobs of some types. Made by `client.run`. */
export class Runner {
    /** Undefined until it is known what will run. */
    #types: ReadonlyMap<string, Type> | undefined;
    #weights: Record<string, number> | undefined;
    #credit = 0;
    readonly #running = new Map<string, Run>();
    /** In the order in which they came: before it is known what will run, or beyond the credit, as
     * the broker gives the place of a revoked claim away while its function still stops. */
    readonly #waiting = new Map<string, Run>();
    /** Claims on their way back that were never begun. */
    readonly #returning = new Set<Promise<unknown>>();
    #draining = false;
    /** The answer to what is taken last: nothing. */
    #taken: Promise<void> | undefined;
    #idle: (() => void)[] = [];

    constructor(
        readonly requests: Requests,
        readonly ended: (job: string, how: Ending) => void,
    ) {}

    /** How many jobs run. */
    get running(): number {
        return this.#running.size;
    }

    /** Takes nothing more; resolves when nothing runs. */
    async drain(): Promise<void> {
        if (!this.#draining) {
            this.#draining = true;
            if (this.#types) this.#taken = this.#take().catch(() => undefined);
            this.#place();
        }
        await this.#taken;
        while (this.running > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    }

    /** Drains for so long; what runs then is asked to stop. What it returns soon is its result still;
     * what throws or goes on is given back, which costs no attempt. */
    async stop({ graceMs = 0 } = {}): Promise<void> {
        const drained = this.drain();
        await within(graceMs, drained);
        const left = [...this.#running.values()].filter((run) => !run.over);
        for (const run of left) run.stop(new Stopped("released", "the runner stops"));
        if (left.length > 0) await within(STOP_MS, drained);
        const ends = [...this.#running.values()].map((run) => run.release());
        await within(SETTLE_MS, Promise.all([...ends, this.#returned()]));
    }

    async #returned(): Promise<void> {
        // Until the broker has said that nothing comes any more, claims may.
        await this.#taken;
        await Promise.all(this.#returning);
    }

    // -- what the client tells ---------------------------------------------------------------

    async start(
        types: Record<string, JobFunction | TypeTerms>,
        { credit = 10 }: RunnerOptions,
    ): Promise<void> {
        if (this.#types) throw new Invalid("the client has a runner: connect another client");
        const terms = Object.entries(types).map(
            ([type, given]) =>
                [type, typeof given === "function" ? { run: given } : given] as const,
        );
        if (terms.length === 0) throw new Invalid("a runner takes at least one type");
        const weights = terms.flatMap(([type, { weight }]) =>
            weight === undefined ? [] : [[type, weight]],
        );
        this.#weights = weights.length > 0 ? Object.fromEntries(weights) : undefined;
        this.#credit = credit;
        this.#types = new Map(
            terms.map(([type, { run, atMost = credit }]) => [type, { run, atMost, running: 0 }]),
        );
        try {
            await this.#take();
        } catch (error) {
            this.#types = undefined;
            throw error;
        }
        this.#place();
    }

    async #take(): Promise<void> {
        await this.requests.subscribe("take", () => {
            if (this.#draining) return { types: {}, credit: 0 };
            const most = [...this.#types!].map(([type, { atMost }]) => [type, atMost]);
            const types = Object.fromEntries(most);
            return { types, credit: this.#credit, weights: this.#weights };
        });
    }

    connected(lost: boolean): void {
        // What the client still holds comes again.
        this.#waiting.clear();
        if (lost) this.#stale("the broker forgot us");
        if (this.#types && !this.#draining) this.#take().catch(() => undefined);
    }

    claimed(claims: readonly Claim[]): void {
        for (const claim of claims) {
            const key = keyOf(claim);
            const known = this.#running.get(key) ?? this.#waiting.get(key);
            if (known) known.remains(claim.remaining_ms);
            else if (this.#waiting.size < Math.max(WAITING_CLAIMS, this.#credit))
                this.#waiting.set(key, new Run(claim, this.requests));
            else this.#release(new Run(claim, this.requests));
        }
        this.#place();
    }

    cancelling(cancellations: readonly Cancellation[]): void {
        for (const told of cancellations) {
            const key = keyOf(told);
            const run = this.#running.get(key) ?? this.#waiting.get(key);
            const why = told.why || "the job is to be cancelled";
            run?.stop(new Stopped("cancelled", why, told.grace_ms));
        }
    }

    revoked(revocations: readonly Revocation[]): void {
        for (const told of revocations) {
            const key = keyOf(told);
            const stopped = new Stopped("revoked", `the claim is over: ${told.reason}`);
            if (!this.#waiting.delete(key)) this.#running.get(key)?.stop(stopped);
        }
    }

    /** There will be no further connection. */
    closed(): void {
        this.#waiting.clear();
        this.#stale("the client is closed");
    }

    #stale(why: string): void {
        for (const run of this.#running.values()) run.stop(new Stopped("stale", why));
    }

    /** Begins what there is room for, and gives back what will never run here. */
    #place(): void {
        if (!this.#types && !this.#draining) return;
        for (const [key, run] of this.#waiting) {
            const type = this.#types?.get(run.claim.type);
            const wanted = !this.#draining && type && Math.min(type.atMost, this.#credit) > 0;
            if (wanted && (this.running >= this.#credit || type.running >= type.atMost)) continue;
            this.#waiting.delete(key);
            if (wanted) void this.#begin(key, run, type);
            else this.#release(run);
        }
    }

    async #begin(key: string, run: Run, type: Type): Promise<void> {
        this.#running.set(key, run);
        type.running += 1;
        const how = await run.execute(type.run);
        this.#running.delete(key);
        type.running -= 1;
        this.ended(run.claim.job, how);
        this.#place();
        for (const resolve of this.#idle.splice(0)) resolve();
    }

    #release(run: Run): void {
        const returned: Promise<unknown> = run
            .release()
            .finally(() => this.#returning.delete(returned));
        this.#returning.add(returned);
    }
}

/** Waits for it, but no longer than so. */
async function within(ms: number, awaited: Promise<unknown>): Promise<void> {
    const cut = new AbortController();
    const late = sleep(ms, undefined, { signal: cut.signal }).catch(() => undefined);
    await Promise.race([awaited, late]);
    cut.abort();
}

function keyOf({ token }: { token: Uint8Array }): string {
    return Buffer.from(token).toString("latin1");
}

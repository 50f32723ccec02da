import { setTimeout as sleep } from "node:timers/promises";

import { Invalid, Stopped } from "./errors.js";
import type { Cancellation, Claim, Revocation } from "./messages.js";
import type { Requests } from "./requests.js";
import { type Ending, type JobFunction, Run } from "./run.js";

/** How long functions have to stop before their claims are given back. */
const STOP_MS = 1_000;

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

/** Runs the jobs of some types. Made by `client.run`. */
export class Runner {
    readonly #types: ReadonlyMap<string, TypeTerms>;
    readonly #credit: number;
    readonly #runs = new Map<string, Run>();
    #draining = false;
    /** The answer to what is taken last: nothing. */
    #taken: Promise<void> | undefined;
    /** Claims on their way back. */
    readonly #returning = new Set<Promise<unknown>>();
    #idle: (() => void)[] = [];

    constructor(
        readonly requests: Requests,
        types: Record<string, JobFunction | TypeTerms>,
        options: RunnerOptions,
        readonly ended: (job: string, how: Ending) => void,
    ) {
        const terms = Object.entries(types).map(
            ([type, given]) =>
                [type, typeof given === "function" ? { run: given } : given] as const,
        );
        if (terms.length === 0) throw new Invalid("a runner takes at least one type");
        this.#types = new Map(terms);
        this.#credit = options.credit ?? 10;
    }

    /** How many jobs run. */
    get running(): number {
        return this.#runs.size;
    }

    /** Takes nothing more; resolves when nothing runs. */
    async drain(): Promise<void> {
        if (!this.#draining) {
            this.#draining = true;
            this.#taken = this.take();
        }
        await this.#taken;
        while (this.#runs.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    }

    /** Drains for so long; what runs then is stopped and given back, which costs no attempt. */
    async stop({ graceMs = 0 } = {}): Promise<void> {
        const drained = this.drain();
        const cut = new AbortController();
        await Promise.race([
            drained,
            sleep(graceMs, undefined, { signal: cut.signal }).catch(() => undefined),
        ]);
        cut.abort();
        const left = [...this.#runs.values()].filter((run) => !run.lost);
        for (const run of left) run.stop(new Stopped("released", "the runner stops"));
        if (left.length > 0) await Promise.race([drained, sleep(STOP_MS)]);
        for (const run of left) this.#release(run.claim);
        // Until the broker has said that nothing comes any more, claims may: they are given back.
        await Promise.race([
            this.#taken?.catch(() => undefined),
            sleep(STOP_MS, undefined, { ref: false }),
        ]);
        await Promise.allSettled(this.#returning);
    }

    // -- what the client tells ---------------------------------------------------------------

    async take(): Promise<void> {
        await this.requests.subscribe("take", () => this.#terms());
    }

    #terms(): object {
        if (this.#draining) return { types: {}, credit: 0 };
        const types: Record<string, number> = {};
        const weights: Record<string, number> = {};
        for (const [type, { atMost, weight }] of this.#types) {
            types[type] = atMost ?? this.#credit;
            if (weight !== undefined) weights[type] = weight;
        }
        const weighted = Object.keys(weights).length > 0;
        return { types, credit: this.#credit, ...(weighted ? { weights } : {}) };
    }

    connected(lost: boolean): void {
        if (lost)
            for (const run of this.#runs.values())
                run.stop(new Stopped("stale", "the broker forgot us"));
        if (!this.#draining) this.take().catch(() => undefined);
    }

    claimed(claims: readonly Claim[]): void {
        for (const claim of claims) {
            const known = this.#runs.get(keyOf(claim));
            const terms = this.#types.get(claim.type);
            if (known) known.remains(claim.remaining_ms);
            else if (!terms || this.#draining) this.#release(claim);
            else void this.#begin(claim, terms.run);
        }
    }

    cancelling(cancellations: readonly Cancellation[]): void {
        for (const told of cancellations) {
            const why = told.why || "the job is to be cancelled";
            this.#runs.get(keyOf(told))?.stop(new Stopped("cancelled", why, told.grace_ms));
        }
    }

    revoked(revocations: readonly Revocation[]): void {
        for (const told of revocations)
            this.#runs
                .get(keyOf(told))
                ?.stop(new Stopped("revoked", `the claim is over: ${told.reason}`));
    }

    /** There will be no further connection. */
    closed(): void {
        for (const run of this.#runs.values())
            run.stop(new Stopped("stale", "the client is closed"));
    }

    async #begin(claim: Claim, run: JobFunction): Promise<void> {
        const begun = new Run(claim, this.requests);
        this.#runs.set(keyOf(claim), begun);
        let how: Ending = "stale";
        try {
            how = await begun.execute(run);
        } catch {
            // The broker takes no end of it from us: it ends the claim by itself.
        }
        this.#runs.delete(keyOf(claim));
        this.ended(claim.job, how);
        for (const resolve of this.#idle.splice(0)) resolve();
    }

    #release({ job, token }: Claim): void {
        const returned: Promise<unknown> = this.requests
            .ask("release", { claims: [{ job, token }] })
            .catch(() => undefined)
            .finally(() => this.#returning.delete(returned));
        this.#returning.add(returned);
    }
}

function keyOf({ token }: { token: Uint8Array }): string {
    return Buffer.from(token).toString("latin1");
}

import { Closed, type PackhorseError, Refused, TimedOut } from "./errors.js";
import type { Ended, JobView, Outcome } from "./messages.js";
import type { Requests } from "./requests.js";

/** Who waits asks again now and then: the news that a job was removed may get lost. */
const ASK_AGAIN_MS = 15_000;

/** So many outcomes that nobody has asked for: the broker may hold back those that are waited for,
 * so they are fetched. */
const CROWD = 200;

/** Deals with one outcome. When it has, the outcome is handled; when it throws, it comes again. */
export type OutcomeFunction = (outcome: Outcome) => void | Promise<void>;

interface Waiter {
    resolve(outcome: Outcome): void;
    reject(error: PackhorseError): void;
}

/** Outcomes that this client is owed, and who waits for them. */
export class Outcomes {
    #handle: OutcomeFunction | undefined;
    #groups: readonly string[] = [];
    readonly #waiters = new Map<string, Set<Waiter>>();
    /** Those that nobody has asked for yet. */
    readonly #early = new Map<string, Outcome>();
    /** Jobs whose create is not answered yet. */
    readonly #creating = new Map<string, Promise<unknown>>();
    /** Those that are being dealt with: pushed again, they are the same. */
    readonly #busy = new Set<string>();
    readonly #telling = new Set<Promise<unknown>>();
    #askAgain: NodeJS.Timeout | undefined;

    constructor(
        readonly requests: Requests,
        readonly failed: (error: unknown, outcome: Outcome) => void,
    ) {}

    /** From now on `handle` deals with what nobody waits for, and with what comes for the groups. */
    async handleBy(handle: OutcomeFunction, groups: readonly string[]): Promise<void> {
        this.#handle = handle;
        this.#groups = groups;
        if (groups.length > 0) await this.#join();
        const early = [...this.#early.values()];
        this.#early.clear();
        this.pushed(early);
    }

    async #join(): Promise<void> {
        await this.requests.subscribe("join", () => ({ groups: this.#groups }));
    }

    wait(job: string, timeoutMs?: number): Promise<Outcome> {
        return new Promise((resolve, reject) => {
            const late = () =>
                waiter.reject(new TimedOut(`job ${job} has not ended in ${timeoutMs} ms`));
            const timer = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs);
            const over = () => {
                clearTimeout(timer);
                this.#forget(job, waiter);
            };
            const waiter: Waiter = {
                resolve: (outcome) => (over(), resolve(outcome)),
                reject: (error) => (over(), reject(error)),
            };
            const waiters = this.#waiters.get(job) ?? new Set();
            this.#waiters.set(job, waiters.add(waiter));
            const early = this.#early.get(job);
            this.#early.delete(job);
            if (early) this.pushed([early]);
            else this.#become(job);
        });
    }

    #become(job: string): void {
        this.#askAgain ??= setInterval(() => this.#becomeAll(), ASK_AGAIN_MS).unref();
        this.#ask(job).catch((error: PackhorseError) => {
            for (const waiter of [...(this.#waiters.get(job) ?? [])]) waiter.reject(error);
        });
    }

    async #ask(job: string): Promise<void> {
        const { state } = await this.requests.insist<Ended>("handle", { jobs: [job] });
        const ended = state === "COMPLETE" || state === "FAILED";
        if (!ended || this.#early.size < CROWD || !this.#waiters.has(job)) return;
        const view = await this.requests.insist<JobView>("get", { jobs: [job] });
        this.pushed([{ ...view, job, state, attempt: view.current_attempt }]);
    }

    #becomeAll(): void {
        for (const job of this.#waiters.keys()) this.#become(job);
    }

    #forget(job: string, waiter: Waiter): void {
        const waiters = this.#waiters.get(job);
        waiters?.delete(waiter);
        if (waiters?.size === 0) this.#waiters.delete(job);
        if (this.#waiters.size > 0) return;
        clearInterval(this.#askAgain);
        this.#askAgain = undefined;
    }

    // -- what the client tells ---------------------------------------------------------------

    /** Outcomes of these jobs wait for the answer to their create: handled before, their job is gone,
     * and a create that is repeated makes it again. */
    creating(jobs: readonly string[], answer: Promise<unknown>): void {
        for (const job of jobs) {
            const answered = Promise.allSettled([this.#creating.get(job), answer]);
            this.#creating.set(job, answered);
            void answered.then(() => {
                if (this.#creating.get(job) === answered) this.#creating.delete(job);
            });
        }
    }

    connected(lost: boolean): void {
        if (this.#groups.length > 0) this.#join().catch(() => undefined);
        if (!lost) return;
        this.#early.clear();
        this.#becomeAll();
    }

    pushed(outcomes: readonly Outcome[]): void {
        for (const outcome of outcomes) {
            const { job, group, created_at, finished_at } = outcome;
            const creating = this.#creating.get(job);
            if (creating) {
                void creating.then(() => this.pushed([outcome]));
                continue;
            }
            // Not by its version, which may have grown since: as when another handler has left.
            const key = JSON.stringify([job, group, created_at, finished_at]);
            const waiters = group === undefined ? [...(this.#waiters.get(job) ?? [])] : [];
            if (this.#busy.has(key)) continue;
            if (waiters.length > 0)
                void this.#deal(key, outcome, () => waiters.forEach((one) => one.resolve(outcome)));
            else if (this.#handle) void this.#deal(key, outcome, this.#handle);
            else if (group === undefined) this.#early.set(job, outcome);
        }
    }

    /** A job was removed by hand: no outcome of it will come. */
    removed(job: string): void {
        this.#early.delete(job);
        const gone = { code: "not_found", message: `job ${job} was removed`, retryable: false };
        for (const waiter of [...(this.#waiters.get(job) ?? [])]) waiter.reject(new Refused(gone));
    }

    /** Resolves when the broker knows what was handled so far. */
    async settled(): Promise<void> {
        await Promise.all(this.#telling);
    }

    closed(cause: PackhorseError = new Closed()): void {
        this.#handle = undefined;
        for (const waiters of [...this.#waiters.values()])
            for (const waiter of [...waiters]) waiter.reject(cause);
    }

    async #deal(key: string, outcome: Outcome, handle: OutcomeFunction): Promise<void> {
        const { job, group } = outcome;
        this.#busy.add(key);
        try {
            await handle(outcome);
            // Refused for good, it is done: somebody has handled or removed it.
            const told = this.requests
                .insist("handled", { jobs: [job], group })
                .catch(() => undefined);
            this.#telling.add(told);
            await told;
            this.#telling.delete(told);
        } catch (error) {
            this.failed(error, outcome);
        }
        this.#busy.delete(key);
    }
}

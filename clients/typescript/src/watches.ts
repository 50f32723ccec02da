import { type Entry, isProblem } from "./checking.js";
import type { JobEvent, Watched } from "./messages.js";
import type { Requests } from "./requests.js";

export type WatchFunction = (event: JobEvent) => void;

/** Jobs whose events this client gets, across connections. */
export class Watches {
    readonly #watched = new Map<string, WatchFunction>();

    constructor(readonly requests: Requests) {}

    async watch(jobs: readonly string[], tell: WatchFunction): Promise<Entry<Watched>[]> {
        for (const job of jobs) this.#watched.set(job, tell);
        try {
            const entries = (await this.requests.ask("watch", { jobs })) as Entry<Watched>[];
            entries.forEach((entry, at) => isProblem(entry) && this.#watched.delete(jobs[at]!));
            return entries;
        } catch (error) {
            for (const job of jobs) this.#watched.delete(job);
            throw error;
        }
    }

    async unwatch(jobs: readonly string[]): Promise<void> {
        for (const job of jobs) this.#watched.delete(job);
        await this.requests.ask("unwatch", { jobs });
    }

    /** Watches all again, and tells how they are now. */
    async connected(): Promise<void> {
        if (this.#watched.size === 0) return;
        let jobs: string[] = [];
        const entries = await this.requests
            .subscribe("watch", () => ({ jobs: (jobs = [...this.#watched.keys()]) }))
            .catch(() => []);
        (entries as Entry<Watched>[]).forEach((entry, at) => {
            const job = jobs[at]!;
            if (!isProblem(entry)) {
                const { version, state, progress } = entry;
                this.pushed([{ job, version, state, progress, log: [], removed: false }]);
            } else if (entry.problem.code === "not_found")
                this.pushed([{ job, version: 0, log: [], removed: true }]);
        });
    }

    pushed(events: readonly JobEvent[]): void {
        for (const event of events) {
            this.#watched.get(event.job)?.(event);
            if (event.removed) this.#watched.delete(event.job);
        }
    }
}

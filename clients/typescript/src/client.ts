import { randomBytes } from "node:crypto";
import { EventEmitter } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { crc32 } from "node:zlib";

import type { Entry } from "./checking.js";
import type { Push } from "./connection.js";
import { Closed, Invalid, type PackhorseError } from "./errors.js";
import type * as messages from "./messages.js";
import { type OutcomeFunction, Outcomes } from "./outcomes.js";
import { only } from "./requests.js";
import type { Ending, JobFunction } from "./run.js";
import { Runner, type RunnerOptions, type TypeTerms } from "./runner.js";
import { Session, type SessionOptions } from "./session.js";
import { REQUESTS } from "./shapes.js";
import { type WatchFunction, Watches } from "./watches.js";

const MAX_ARRAY_ITEMS = 10_000;

/** How long a client that leaves waits until the broker knows what it did. */
const SETTLE_MS = 5_000;

/** A job to create. A payload that is a string is sent as UTF-8. */
export type JobToCreate = Omit<messages.NewJob, "payload"> & { payload?: Uint8Array | string };

/** Who is to be told how the jobs end: this client (`handle`), a group of handlers, or both. */
export interface CreateOptions {
    handle?: boolean;
    group?: string;
}

/** Its `durability` is there where that which was asked for did not come in time. */
export type CreatedJob = messages.Created & { durability?: "not_met" };

export interface ClientEvents {
    connected: [resumed: boolean];
    disconnected: [cause: PackhorseError];
    draining: [graceMs: number];
    /** The client is over: closed, or the broker wants it no more. */
    closed: [cause: PackhorseError];
    /** A job's run is over for this runner. */
    ended: [job: string, how: Ending];
    /** A function for outcomes threw; the outcome comes again after the next resume. */
    unhandled: [error: unknown, outcome: messages.Outcome];
}

/** Connects to the broker at `url`: `tcp://host:port`, `tls://` (TLS), `unix:///path`,
 * several with commas between them; else `PACKHORSE_URL`, else 127.0.0.1:7225. */
export async function connect(url?: string, options: SessionOptions = {}): Promise<Client> {
    const client = new Client(url, options);
    await client.open();
    return client;
}

/** A program registered with the broker. It connects again by itself, and is the same then. */
export class Client extends EventEmitter<ClientEvents> {
    readonly #session: Session;
    readonly #outcomes: Outcomes;
    readonly #watches: Watches;
    readonly #runner: Runner;

    /** Use `connect`. */
    constructor(url: string | undefined, options: SessionOptions) {
        super();
        this.#session = new Session(url, options, {
            connected: (resumed, lost) => this.#connected(resumed, lost),
            disconnected: (cause) => this.emit("disconnected", cause),
            draining: (graceMs) => this.emit("draining", graceMs),
            pushed: (push) => this.#pushed(push),
            closed: (cause) => this.#closed(cause),
        });
        const { requests } = this.#session;
        this.#outcomes = new Outcomes(requests, (error, outcome) =>
            this.emit("unhandled", error, outcome),
        );
        this.#watches = new Watches(requests);
        this.#runner = new Runner(requests, (job, how) => this.emit("ended", job, how));
    }

    /** Use `connect`. */
    open(): Promise<void> {
        return this.#session.open();
    }

    /** The newest welcome: limits, the broker's id and the like. */
    get welcome(): messages.Welcome {
        if (!this.#session.welcome) throw new Closed("the client is not connected");
        return this.#session.welcome;
    }

    /** The client's id; with `secret` it outlives this process. */
    get id(): string {
        return this.welcome.client;
    }

    /** What resumes this client: keep it like a password. */
    get secret(): Uint8Array {
        return this.welcome.secret;
    }

    // -- jobs --------------------------------------------------------------------------------

    /** Creates a job. What is created in one turn of the loop leaves in one frame. */
    async create(job: JobToCreate, options: CreateOptions = {}): Promise<CreatedJob> {
        return only(await this.createMany([job], options));
    }

    /** Creates jobs: for each what was created, or the `problem` why not. */
    async createMany(
        jobs: JobToCreate[],
        options: CreateOptions = {},
    ): Promise<Entry<CreatedJob>[]> {
        const entries: Promise<Entry<object>[]>[] = [];
        for (let at = 0; at < jobs.length; at += MAX_ARRAY_ITEMS) {
            const some = jobs.slice(at, at + MAX_ARRAY_ITEMS).map(withId);
            const answer = this.#session.requests.ask("create", { ...options, jobs: some });
            const ids = some.map(({ id }) => id);
            if (options.handle || options.group) this.#outcomes.creating(ids, answer);
            entries.push(answer);
        }
        return (await Promise.all(entries)).flat() as Entry<CreatedJob>[];
    }

    /** Waits until the job has ended, as a handler of it, and handles its outcome. */
    wait(job: string, { timeoutMs }: { timeoutMs?: number } = {}): Promise<messages.Outcome> {
        return this.#outcomes.wait(job, timeoutMs);
    }

    /** Shows a job. */
    async get(job: string): Promise<messages.JobView> {
        return only(await this.request("get", { jobs: [job] }));
    }

    /** Finds jobs, page by page as they are asked for. */
    async *list(
        filter: Omit<messages.ListJobs, "cursor"> = {},
    ): AsyncGenerator<messages.JobSummary> {
        let cursor: Uint8Array | undefined;
        do {
            const page = only<messages.JobPage>(await this.request("list", { ...filter, cursor }));
            yield* page.jobs;
            cursor = page.cursor;
        } while (cursor);
    }

    /** A job's log so far, from `offset` on. */
    async *logs(job: string, offset = 0): AsyncGenerator<messages.LogEntry> {
        for (;;) {
            const page = only<messages.LogPage>(
                await this.request("logs", { job, offset, limit: 1_000 }),
            );
            yield* page.entries;
            if (page.entries.length === 0) return;
            offset = page.entries.at(-1)!.offset + 1;
            if (offset >= page.end) return;
        }
    }

    /** Cancels a job: its state now. A running one has `graceMs` to end. */
    async cancel(
        job: string,
        { graceMs, why }: { graceMs?: number; why?: string } = {},
    ): Promise<messages.Ended> {
        return only(await this.request("cancel", { jobs: [job], grace_ms: graceMs, why }));
    }

    /** Tells of each change of these jobs, until `unwatch`, also over lost connections. */
    watch(jobs: string[], tell: WatchFunction): Promise<Entry<messages.Watched>[]> {
        return this.#watches.watch(jobs, tell);
    }

    unwatch(jobs: string[]): Promise<void> {
        return this.#watches.unwatch(jobs);
    }

    /** Any request of the protocol: for each item what came of it, or its `problem`. */
    async request<Tag extends keyof messages.Requests>(
        tag: Tag,
        fields: messages.Requests[Tag]["fields"],
    ): Promise<Entry<messages.Requests[Tag]["result"]>[]> {
        if (!Object.hasOwn(REQUESTS, tag) || !REQUESTS[tag]!.results)
            throw new Invalid(`${tag} is no request`);
        const entries = await this.#session.requests.ask(tag, fields);
        return entries as Entry<messages.Requests[Tag]["result"]>[];
    }

    // -- roles -------------------------------------------------------------------------------

    /** Runs jobs: a function, or its terms, for each type. A client has one runner. */
    async run(
        types: Record<string, JobFunction | TypeTerms>,
        options: RunnerOptions = {},
    ): Promise<Runner> {
        await this.#runner.start(types, options);
        return this.#runner;
    }

    /** Deals with outcomes of jobs that nobody waits for, and, as a member of `groups`, with theirs. */
    handleOutcomes(
        handle: OutcomeFunction,
        { groups = [] }: { groups?: string[] } = {},
    ): Promise<void> {
        return this.#outcomes.handleBy(handle, groups);
    }

    /** Gives back what runs and leaves. `bye` false: the client may come back by its secret. */
    async close({ bye = true } = {}): Promise<void> {
        if (this.#session.connected) {
            const settled = [this.#outcomes.settled(), bye && this.#runner.stop()];
            const late = sleep(SETTLE_MS, undefined, { ref: false });
            await Promise.race([Promise.allSettled(settled), late]);
        }
        await this.#session.close(bye);
    }

    // -- what the session tells --------------------------------------------------------------

    #connected(resumed: boolean, lost: boolean): void {
        this.#runner.connected(lost);
        this.#outcomes.connected(lost);
        void this.#watches.connected();
        this.emit("connected", resumed);
    }

    #pushed(push: Push): void {
        if (push.t === "claims") this.#runner.claimed(push.claims);
        else if (push.t === "revoke") this.#runner.revoked(push.claims);
        else if (push.t === "cancelling") this.#runner.cancelling(push.claims);
        else if (push.t === "outcomes") this.#outcomes.pushed(push.outcomes);
        else if (push.t === "events") {
            this.#watches.pushed(push.events);
            for (const { job, removed } of push.events) if (removed) this.#outcomes.removed(job);
        }
    }

    #closed(cause: PackhorseError): void {
        this.#runner.closed();
        this.#outcomes.closed(cause);
        this.emit("closed", cause);
    }
}

/** With an id of its own a create can be repeated; that of a unique job leads to its key. */
function withId(job: JobToCreate): JobToCreate & { id: string } {
    const payload = typeof job.payload === "string" ? Buffer.from(job.payload) : job.payload;
    if (job.id !== undefined) return { ...job, id: job.id, payload };
    const own = randomBytes(16).toString("hex");
    const key = job.unique && `${job.type}\0${job.unique.key}`;
    const tag = key === undefined ? "" : `~${crc32(key).toString(16).padStart(8, "0")}`;
    return { ...job, payload, id: own + tag };
}

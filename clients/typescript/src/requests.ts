import { setTimeout } from "node:timers/promises";

import { waitMs } from "./backoff.js";
import { checkRecord, type Entry, isProblem } from "./checking.js";
import type { Connection, Flight } from "./connection.js";
import { type Encoded, encode } from "./encoding.js";
import { Disconnected, Invalid, PackhorseError, Refused } from "./errors.js";
import type { Limits, Problem } from "./messages.js";
import { REQUESTS } from "./shapes.js";

/** Those of one turn of the loop leave in one frame; their items have nothing to do with each other. */
const GATHERED = new Set([
    "create",
    "complete",
    "fail",
    "release",
    "extend",
    "progress",
    "log",
    "handle",
    "handled",
]);

/** Section 18: asked twice, these do another thing, or are refused although they were done. */
const NOT_REPEATABLE = new Set(["take", "join", "claim", "retry", "run_now", "remove", "bye"]);

/** Keeps a frame's other fields within its limits. */
const SPARE_BYTES = 4_096;
const MAX_ELEMENTS = 199_000;

/** One item on its way; a request without items has one that is empty. */
export interface Item {
    readonly encoded: Encoded | null;
    /** Waits for a lost connection without end. */
    readonly patient: boolean;
    readonly repeatable: boolean;
    /** It left on a connection that was lost: it may have been done. */
    left?: boolean;
    resolve(entry: Entry<object>): void;
    reject(error: PackhorseError): void;
}

/** Requests with the same fields beside their items. */
export interface Group extends Flight {
    readonly key: string;
    readonly head: object;
    items: Item[];
}

export interface Asking {
    /** Waits for a connection without end. */
    patient?: boolean;
}

/** What was asked and is not answered, across connections. */
export class Requests {
    #waiting: Group[] = [];
    readonly #gathering = new Map<string, Group>();
    #connection: Connection<Group> | undefined;
    #limits: Limits | undefined;
    #pumping = false;
    #failure: PackhorseError | undefined;
    #over = false;
    #leaving: { connection: Connection<Group>; left: () => void } | undefined;

    /** The entries of the answer, one for each item. Rejects where all was refused as a whole. */
    ask(tag: string, fields: object, { patient = false }: Asking = {}): Promise<Entry<object>[]> {
        return new Promise((resolve, reject) => {
            const { record, items: itemsKey } = REQUESTS[tag]!;
            // The id is the connection's, which counts them.
            const { id: _, ...head } = checkRecord({ ...fields, id: 1 }, record, "sending");
            const asked = itemsKey ? (head[itemsKey] as unknown[]) : [null];
            if (itemsKey) delete head[itemsKey];
            const entries: Entry<object>[] = [];
            let left = asked.length;
            let refused = 0;
            const settle = (at: number, entry: Entry<object>, error?: PackhorseError) => {
                entries[at] = entry;
                left -= 1;
                if (error) refused += 1;
                if (left > 0) return;
                if (error && refused === asked.length) reject(error);
                else resolve(entries);
            };
            const items = asked.map((item, at): Item => ({
                encoded: itemsKey ? encode(item) : null,
                patient,
                repeatable: tag === "create" ? hasId(item) : !NOT_REPEATABLE.has(tag),
                resolve: (entry) => settle(at, entry),
                reject: (error) => settle(at, { problem: problemOf(error) }, error),
            }));
            this.#add(tag, head, items, patient);
        });
    }

    /** The one entry's result, however often it has to be asked: only a final refusal rejects. */
    insist<Result>(tag: string, fields: object): Promise<Result> {
        return this.#repeat(async () => only(await this.ask(tag, fields, { patient: true })));
    }

    /** What belongs to a connection, as it is by then. Where one is lost, the next is asked anew. */
    async subscribe(tag: "take" | "join" | "watch", now: () => object): Promise<Entry<object>[]> {
        return this.#repeat(() => this.ask(tag, now())).catch((error: PackhorseError) => {
            if (error.code === "disconnected") return [];
            throw error;
        });
    }

    async #repeat<Answer>(asking: () => Promise<Answer>): Promise<Answer> {
        for (let tries = 0; ; tries++) {
            try {
                return await asking();
            } catch (error) {
                const again = error instanceof PackhorseError && error.retryable;
                if (!again || error.code === "disconnected" || this.#over) throw error;
                await setTimeout(waitMs(tries, error.retryAfterMs));
            }
        }
    }

    #add(tag: string, head: object, items: Item[], patient: boolean): void {
        const failure = this.#over || !patient ? this.#failure : undefined;
        if (failure) {
            for (const item of items) item.reject(failure);
            return;
        }
        const key = GATHERED.has(tag) ? `${tag} ${JSON.stringify(head)}` : "";
        const same = this.#gathering.get(key);
        if (same) same.items.push(...items);
        else {
            const group = { tag, key, head, items, entries: items.length };
            this.#waiting.push(group);
            if (key) this.#gathering.set(key, group);
        }
        this.pumpSoon();
    }

    // -- the session's side ------------------------------------------------------------------

    connected(connection: Connection<Group>, limits: Limits): void {
        this.#connection = connection;
        this.#limits = limits;
        this.#failure = undefined;
        this.pumpSoon();
    }

    /** Nothing new is asked; resolves when all that was is answered. */
    pause(): Promise<void> {
        const connection = this.#connection;
        this.#connection = undefined;
        return new Promise((left) => {
            if (connection) this.#leaving = { connection, left };
            this.#settled();
        });
    }

    /** What may be repeated waits again, in its order; the rest fails. */
    disconnected(unanswered: Group[]): void {
        this.#connection = undefined;
        this.#leaving = undefined;
        for (const group of unanswered.reverse()) this.#again(group);
    }

    #again(group: Group): void {
        const lost = new Disconnected("the connection was lost before the answer came");
        for (const item of group.items) if (!item.repeatable) item.reject(lost);
        const items = group.items.filter((item) => item.repeatable);
        for (const item of items) item.left = true;
        if (items.length > 0) this.#waiting.unshift({ ...group, key: "", items });
    }

    /** The broker has forgotten this client. Of a job that it was to handle, and whose create had
     * left, it can't be told whether it was made, has run and is gone. */
    forgotten(): void {
        const lost = new Disconnected("the broker forgot this client before the answer came");
        this.#fail(lost, (item, { tag, head }) => {
            const { handle, group } = head as { handle?: boolean; group?: string };
            return item.left === true && tag === "create" && handle === true && !group;
        });
    }

    /** The outage lasts: what is not patient fails, now and until there is a connection. */
    giveUp(error: PackhorseError): void {
        this.#failure = error;
        this.#fail(error, (item) => !item.patient);
    }

    /** There will be no further connection. */
    end(error: PackhorseError): void {
        this.#failure = error;
        this.#over = true;
        this.#fail(error, () => true);
    }

    #fail(error: PackhorseError, which: (item: Item, group: Group) => boolean): void {
        for (const group of this.#waiting) {
            for (const item of group.items) if (which(item, group)) item.reject(error);
            group.items = group.items.filter((item) => !which(item, group));
        }
        this.#waiting = this.#waiting.filter((group) => group.items.length > 0);
        this.#gathering.clear();
    }

    answered(group: Group, entries: Entry<object>[]): void {
        group.items.forEach((item, at) => item.resolve(entries[at]!));
        this.#settled();
    }

    refused(group: Group, error: PackhorseError): void {
        // The drain overtook it: nothing was done, and the next broker is asked.
        if (error.code === "draining" && this.#leaving)
            this.#waiting.unshift({ ...group, key: "" });
        // One item spoilt the frame of all: each goes alone, so that only that one is refused.
        else if (error.code === "malformed" && group.items.length > 1)
            this.#waiting.unshift(
                ...group.items.map((item) => ({ ...group, key: "", items: [item] })),
            );
        else for (const item of group.items) item.reject(error);
        this.#settled();
    }

    #settled(): void {
        if (this.#leaving?.connection.unanswered === 0) this.#leaving.left();
        else this.pumpSoon();
    }

    // -- sending -----------------------------------------------------------------------------

    /** Sends what waits at the end of this turn of the loop. */
    pumpSoon(): void {
        if (this.#pumping || !this.#connection) return;
        this.#pumping = true;
        setImmediate(() => {
            this.#pumping = false;
            this.#pump();
        });
    }

    #pump(): void {
        while (this.#waiting.length > 0 && this.#connection) {
            if (this.#connection.unanswered >= this.#limits!.in_flight) return;
            if (!this.#connection.writable) {
                this.#connection.onWritable(() => this.#pump());
                return;
            }
            const group = this.#waiting[0]!;
            const items = this.#batch(group);
            if (group.items.length === 0) {
                this.#waiting.shift();
                this.#gathering.delete(group.key);
            }
            if (items.length > 0)
                this.#send(this.#connection, { ...group, items, entries: items.length });
        }
    }

    #send(connection: Connection<Group>, group: Group): void {
        const { items: itemsKey } = REQUESTS[group.tag]!;
        const items = itemsKey ? { [itemsKey]: group.items.map((item) => item.encoded) } : {};
        connection.send(group, { ...group.head, ...items });
    }

    /** The first items, as many as fit into one frame; what fits into none is refused here. */
    #batch(group: Group): Item[] {
        const { batch, frame_bytes } = this.#limits!;
        let count = 0;
        let bytes = SPARE_BYTES + encode(group.head).bytes.length;
        let elements = 0;
        for (const { encoded } of group.items) {
            bytes += encoded?.bytes.length ?? 0;
            elements += 1 + (encoded?.elements ?? 0);
            if (count === batch || bytes > frame_bytes || elements > MAX_ELEMENTS) break;
            count += 1;
        }
        if (count === 0) {
            const limit = { limit: String(frame_bytes) };
            const error = new PackhorseError(
                "too_large",
                "fits into no frame",
                false,
                undefined,
                limit,
            );
            group.items.shift()!.reject(error);
        }
        return group.items.splice(0, count);
    }
}

function problemOf(error: PackhorseError): Problem {
    const { code, message, retryable, retryAfterMs, details } = error;
    return { code, message, retryable, retry_after_ms: retryAfterMs, details: { ...details } };
}

function hasId(job: unknown): boolean {
    return typeof job === "object" && job !== null && "id" in job;
}

/** The only entry's result. Throws what it was refused with. */
export function only<Result>(entries: Entry<object>[]): Result {
    const entry = entries[0];
    if (!entry) throw new Invalid("the answer is empty");
    if (isProblem(entry)) throw new Refused(entry.problem);
    return entry as Result;
}

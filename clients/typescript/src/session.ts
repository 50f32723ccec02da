import type { ConnectionOptions } from "node:tls";

import { type Address, addresses, named } from "./address.js";
import { waitMs } from "./backoff.js";
import type { Entry } from "./checking.js";
import { Connection, type Owner, type Push } from "./connection.js";
import { Closed, Disconnected, type PackhorseError, Refused } from "./errors.js";
import type { Hello, Welcome } from "./messages.js";
import { type Group, Requests } from "./requests.js";

const HANDSHAKE_MS = 5_000;
const BYE_MS = 5_000;
/** A connection that lived so long was a good one: the next outage begins with short waits. */
const STEADY_MS = 10_000;
const LIBRARY = "packhorse-typescript 0.1.0";

export interface SessionOptions {
    /** The id to register or to resume; without one the broker chooses. */
    client?: string;
    /** What proves that the id is ours: `client.secret` of an earlier connection. */
    secret?: Uint8Array;
    /** What this client will ask for; without it all that the broker grants. */
    roles?: Hello["roles"];
    /** Silence of so long means dead: a wish, the broker decides. */
    timeoutMs?: number;
    /** How long the first connection is tried. 0: each address once. */
    connectTimeoutMs?: number;
    /** How long a request waits for a lost connection to come back. */
    outageTimeoutMs?: number;
    /** For `tls://`: `ca`, `cert`, `key`, `servername` and the like. */
    tls?: ConnectionOptions;
}

/** What a session tells its client. */
export interface Listener {
    /** `lost`: the broker had forgotten this client, with its claims and handler entries. */
    connected(resumed: boolean, lost: boolean): void;
    disconnected(cause: PackhorseError): void;
    draining(graceMs: number): void;
    pushed(push: Push): void;
    closed(cause: PackhorseError): void;
}

/** One connection after another, the same client. */
export class Session implements Owner<Group> {
    readonly requests = new Requests();
    /** The newest welcome. */
    welcome: Welcome | undefined;
    readonly #addresses: Address[];
    #next = 0;
    #connection: Connection<Group> | undefined;
    #state: "connecting" | "open" | "closed" = "connecting";
    #welcomedAt = 0;
    #tries = 0;
    #retry: NodeJS.Timeout | undefined;
    #outage: NodeJS.Timeout | undefined;
    #opening:
        | { resolve: () => void; reject: (error: PackhorseError) => void; untilMs: number }
        | undefined;

    constructor(
        url: string | undefined,
        readonly options: SessionOptions,
        readonly listener: Listener,
    ) {
        this.#addresses = addresses(url);
    }

    /** Resolves with the first welcome. */
    async open(): Promise<void> {
        const opened = new Promise<void>((resolve, reject) => {
            const untilMs = performance.now() + (this.options.connectTimeoutMs ?? 0);
            this.#opening = { resolve, reject, untilMs };
            this.#connect();
        });
        try {
            await opened;
        } catch (error) {
            if (!(error instanceof Disconnected)) throw error;
            // Made here, so that its stack shows who asked.
            throw new Disconnected(
                `no broker was reached at ${this.#tried}: ${error.message} ` +
                    "(start one by `packhorse serve`, or name another by its URL or PACKHORSE_URL)",
            );
        }
    }

    get #tried(): string {
        return this.#addresses.map(named).join(", ");
    }

    get connected(): boolean {
        return this.#state === "open";
    }

    get #closed(): boolean {
        return this.#state === "closed";
    }

    /** Leaves; with `bye` the broker forgets the client at once. */
    async close(bye: boolean): Promise<void> {
        if (this.#state === "open" && bye) {
            const late = new Promise((resolve) => setTimeout(resolve, BYE_MS).unref());
            await Promise.race([this.requests.ask("bye", {}).catch(() => undefined), late]);
        }
        this.#over(new Closed());
    }

    #connect(): void {
        const { client, secret, roles, timeoutMs, connectTimeoutMs, tls } = this.options;
        const hello: Hello = {
            versions: [1],
            client: this.welcome?.client ?? client,
            secret: this.welcome?.secret ?? secret,
            roles,
            timeout_ms: timeoutMs,
            library: LIBRARY,
        };
        const address = this.#addresses[this.#next % this.#addresses.length]!;
        const leftMs =
            connectTimeoutMs && this.#opening
                ? this.#opening.untilMs - performance.now()
                : Infinity;
        const handshakeMs = Math.min(HANDSHAKE_MS, Math.max(1, leftMs));
        try {
            this.#connection = new Connection(address, tls, hello, handshakeMs, this);
        } catch (error) {
            this.#over(error as PackhorseError);
        }
    }

    // -- what the connection tells -----------------------------------------------------------

    welcomed(connection: Connection<Group>, welcome: Welcome): void {
        if (this.#closed) {
            connection.close(new Closed());
            return;
        }
        const before = this.welcome;
        // A welcome may be lost with its connection: then only `registered_at` tells.
        const anew = before !== undefined && before.registered_at !== welcome.registered_at;
        const known = before !== undefined || this.options.secret !== undefined;
        this.welcome = welcome;
        this.#state = "open";
        this.#welcomedAt = performance.now();
        clearTimeout(this.#outage);
        this.#outage = undefined;
        const lost = anew || (known && !welcome.resumed);
        if (lost) this.requests.forgotten();
        // Before the listener is told, for what it asks anew.
        this.requests.connected(connection, welcome.limits);
        this.listener.connected(welcome.resumed, lost);
        this.#opening?.resolve();
        this.#opening = undefined;
    }

    pushed(push: Push): void {
        if (push.t === "drain") this.#leave(push.grace_ms);
        else this.listener.pushed(push);
    }

    answered(group: Group, entries: Entry<object>[]): void {
        this.requests.answered(group, entries);
    }

    refused(group: Group, error: PackhorseError): void {
        this.requests.refused(group, error);
    }

    ended(cause: PackhorseError, unanswered: Group[]): void {
        if (this.#closed) {
            for (const group of unanswered) this.requests.refused(group, new Closed());
            return;
        }
        const wasOpen = this.#state === "open";
        this.#state = "connecting";
        this.requests.disconnected(unanswered);
        if (wasOpen) this.listener.disconnected(cause);
        if (this.#closed) return; // by the listener
        if (cause instanceof Refused && !cause.retryable && cause.code !== "client_gone")
            this.#over(cause);
        else this.#again(cause, wasOpen);
    }

    // -- coming back -------------------------------------------------------------------------

    #again(cause: PackhorseError, wasOpen: boolean): void {
        const steady = wasOpen && performance.now() - this.#welcomedAt >= STEADY_MS;
        this.#tries = steady ? 0 : this.#tries + 1;
        if (!wasOpen) this.#next += 1;
        const allTried = this.#tries >= this.#addresses.length;
        if (this.#opening && allTried && performance.now() >= this.#opening.untilMs) {
            this.#over(cause);
            return;
        }
        if (!this.#opening) this.#startOutage();
        const rounds = Math.floor(this.#tries / this.#addresses.length);
        const afterMs = waitMs(rounds, cause.retryAfterMs);
        this.#retry = setTimeout(() => this.#connect(), afterMs);
    }

    #startOutage(): void {
        const outageMs = this.options.outageTimeoutMs ?? 30_000;
        const lasts = () => {
            const why = `no broker was reached at ${this.#tried} within ${outageMs} ms`;
            this.requests.giveUp(new Disconnected(why));
        };
        this.#outage ??= setTimeout(lasts, outageMs);
    }

    /** The broker is going away: what was asked is answered yet, then another one is looked for. */
    #leave(graceMs: number): void {
        const connection = this.#connection;
        this.listener.draining(graceMs);
        void this.requests.pause().then(() => {
            this.#next += 1;
            connection?.close(new Disconnected("the broker is draining"));
        });
    }

    #over(cause: PackhorseError): void {
        if (this.#state === "closed") return;
        this.#state = "closed";
        clearTimeout(this.#retry);
        clearTimeout(this.#outage);
        const opening = this.#opening;
        this.#opening = undefined;
        this.requests.end(cause);
        this.#connection?.close(cause);
        if (opening) opening.reject(cause);
        else this.listener.closed(cause);
    }
}

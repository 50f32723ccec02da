import type { Socket } from "node:net";
import type { ConnectionOptions } from "node:tls";

import { type Address, dial } from "./address.js";
import { checkMessage, checkRecord, checkResults, type Entry } from "./checking.js";
import { decode } from "./decoding.js";
import { encode } from "./encoding.js";
import { Disconnected, Invalid, PackhorseError, Refused } from "./errors.js";
import { FrameCutter, frame } from "./frames.js";
import type * as messages from "./messages.js";

const VERSION = 1;
const HANDSHAKE_FRAME_BYTES = 16_384;
const MAX_FRAME_BYTES = 67_108_864;

/** What the broker says without having been asked. */
export type Push =
    | ({ t: "claims" } & messages.Claims)
    | ({ t: "revoke" } & messages.Revoke)
    | ({ t: "cancelling" } & messages.Cancelling)
    | ({ t: "outcomes" } & messages.Outcomes)
    | ({ t: "events" } & messages.Events)
    | ({ t: "drain" } & messages.Drain);

/** A request that is not answered. */
export interface Flight {
    readonly tag: string;
    /** How many entries its `results` has. */
    readonly entries: number;
}

/** Who uses a connection. */
export interface Owner<F extends Flight> {
    /** Called while the welcome is read, before anything that stands behind it. */
    welcomed(connection: Connection<F>, welcome: messages.Welcome): void;
    pushed(push: Push): void;
    answered(flight: F, entries: Entry<object>[]): void;
    refused(flight: F, error: PackhorseError): void;
    /** Called once; `unanswered` in the order in which they were sent. */
    ended(cause: PackhorseError, unanswered: F[]): void;
}

/** One connection: its handshake, its frames, its signs of life, what is unanswered on it. */
export class Connection<F extends Flight> {
    readonly #socket: Socket;
    readonly #cutter = new FrameCutter(HANDSHAKE_FRAME_BYTES);
    readonly #flights = new Map<number, F>();
    #lastId = 0;
    #state: "HANDSHAKE" | "OPEN" | "CLOSED" = "HANDSHAKE";
    #sentAt = performance.now();
    #heardAt = performance.now();
    #timers: NodeJS.Timeout[] = [];

    constructor(
        address: Address,
        tls: ConnectionOptions | undefined,
        hello: messages.Hello,
        handshakeMs: number,
        readonly owner: Owner<F>,
    ) {
        // First, so that what can't be said is thrown here.
        const greeting = { t: "hello", ...checkRecord(hello, "Hello", "sending") };
        this.#socket = dial(address, tls);
        const ready = "encrypted" in address && address.encrypted ? "secureConnect" : "connect";
        this.#socket
            .once(ready, () => this.#write(greeting))
            .on("data", (chunk) => this.#read(chunk))
            .on("error", (error: NodeJS.ErrnoException) =>
                // Where a host has several addresses the message is empty.
                this.close(new Disconnected(error.message || error.code || "the stream failed")),
            )
            .on("close", () => this.close(new Disconnected("the broker closed the connection")));
        const late = () => this.close(new Disconnected(`no welcome within ${handshakeMs} ms`));
        this.#timers.push(setTimeout(late, handshakeMs));
    }

    /** Requests that are not answered. */
    get unanswered(): number {
        return this.#flights.size;
    }

    /** Whether the system takes bytes as fast as they are written. */
    get writable(): boolean {
        return this.#state === "OPEN" && !this.#socket.writableNeedDrain;
    }

    /** Calls `resume` when it is again. */
    onWritable(resume: () => void): void {
        if (this.#socket.listenerCount("drain") === 0) this.#socket.once("drain", resume);
    }

    send(flight: F, fields: object): void {
        this.#lastId += 1;
        this.#flights.set(this.#lastId, flight);
        this.#write({ t: flight.tag, id: this.#lastId, ...fields });
    }

    close(cause: PackhorseError): void {
        if (this.#state === "CLOSED") return;
        this.#state = "CLOSED";
        this.#timers.forEach(clearTimeout);
        this.#socket.destroy();
        const unanswered = [...this.#flights.values()];
        this.#flights.clear();
        this.owner.ended(cause, unanswered);
    }

    #write(message: object): void {
        this.#sentAt = performance.now();
        this.#socket.write(frame(encode(message)));
    }

    // -- what arrives ------------------------------------------------------------------------

    #read(chunk: Buffer): void {
        this.#heardAt = performance.now();
        this.#cutter.push(chunk);
        try {
            for (let body = this.#next(); body; body = this.#next()) this.#take(decode(body));
        } catch (error) {
            if (!(error instanceof Invalid)) throw error;
            // What was lost with it comes again after a resume; read on, and it would be missed.
            this.close(error);
        }
    }

    #next(): Buffer | undefined {
        return this.#state === "CLOSED" ? undefined : this.#cutter.next();
    }

    #take(value: unknown): void {
        const message = checkMessage(value);
        if (message === null || message.t === "beat") return;
        if (message.t === "error") this.#refused(message as unknown as messages.Refused);
        else if (this.#state === "HANDSHAKE") this.#welcomed(message);
        else if (message.t === "ok") this.#answered(message);
        else if (message.t === "welcome") throw new Invalid("a second welcome");
        else this.owner.pushed(message as unknown as Push);
    }

    #welcomed(message: { t: string }): void {
        if (message.t !== "welcome") throw new Invalid(`${message.t} came before the welcome`);
        const welcome = message as unknown as messages.Welcome;
        const { frame_bytes, payload_bytes, result_bytes, batch, in_flight } = welcome.limits;
        if (welcome.version !== VERSION) throw new Invalid("was not offered", "version");
        if (frame_bytes > MAX_FRAME_BYTES || frame_bytes < payload_bytes + result_bytes + 524_288)
            throw new Invalid("is out of bounds", "limits.frame_bytes");
        if (batch < 1 || in_flight < 1) throw new Invalid("leaves no room for a request", "limits");
        this.#timers.forEach(clearTimeout);
        this.#cutter.limitBytes = frame_bytes;
        this.#state = "OPEN";
        this.#timers = [];
        this.#beatAfter(welcome.heartbeat_ms);
        this.#closeAfter(welcome.timeout_ms);
        this.owner.welcomed(this, welcome);
    }

    #answered(message: { [key: string]: unknown }): void {
        const flight = this.#landed(message["id"] as number);
        let entries: Entry<object>[];
        try {
            entries = checkResults(message["results"], flight.tag, flight.entries);
        } catch (error) {
            this.owner.refused(flight, error as Invalid);
            return;
        }
        if (message["durability"] === "not_met")
            entries = entries.map((entry) => ({ ...entry, durability: "not_met" }));
        this.owner.answered(flight, entries);
    }

    #refused(message: messages.Refused): void {
        const error = new Refused(message);
        if (message.closing || this.#state === "HANDSHAKE") this.close(error);
        else if (message.id !== undefined) this.owner.refused(this.#landed(message.id), error);
    }

    #landed(id: number): F {
        const flight = this.#flights.get(id);
        if (!flight) throw new Invalid("answers no request", "id");
        this.#flights.delete(id);
        return flight;
    }

    // -- signs of life -----------------------------------------------------------------------

    /** Says `beat` when nothing was said for so long. */
    #beatAfter(ms: number): void {
        const leftMs = this.#sentAt + ms - performance.now();
        if (leftMs <= 0) this.#write({ t: "beat" });
        this.#timers[0] = setTimeout(() => this.#beatAfter(ms), bounded(leftMs > 0 ? leftMs : ms));
    }

    /** Closes when nothing was heard for so long. */
    #closeAfter(ms: number): void {
        const leftMs = this.#heardAt + ms - performance.now();
        const again = bounded(leftMs > 0 ? leftMs : ms);
        this.#timers[1] = setTimeout(() => this.#closeAfter(ms), again);
        if (leftMs > 0) return;
        // The loop may have been held up: what came meanwhile is read before this is judged.
        setImmediate(() => {
            if (performance.now() - this.#heardAt >= ms)
                this.close(new Disconnected(`nothing was heard for ${ms} ms`));
        });
    }
}

/** What a timer can wait. */
function bounded(ms: number): number {
    return Math.min(Math.max(ms, 1), 2 ** 31 - 1);
}

import { once } from "node:events";
import * as net from "node:net";
import * as tls from "node:tls";

import { decode } from "../src/decoding.js";
import { encode } from "../src/encoding.js";
import { FrameCutter, frame } from "../src/frames.js";

export const WELCOME = {
    t: "welcome",
    version: 1,
    client: "c-1",
    secret: new Uint8Array(32).fill(7),
    resumed: false,
    roles: ["create", "run", "handle", "read", "admin"],
    heartbeat_ms: 10_000,
    timeout_ms: 30_000,
    limits: {
        frame_bytes: 1_048_576,
        payload_bytes: 65_536,
        result_bytes: 65_536,
        log_message_bytes: 8_192,
        batch: 100,
        in_flight: 4,
    },
    features: [],
    broker: "b-1",
    store: "s-1",
    now_ms: 1_790_000_000_000,
};

export type Said = { t: string; id: number } & Record<string, any>;

/** Maps as objects. */
function plain(value: unknown): any {
    if (value instanceof Map) return Object.fromEntries([...value].map(([k, v]) => [k, plain(v)]));
    return Array.isArray(value) ? value.map(plain) : value;
}

/** A client's connection, as the script sees it. */
export class Peer {
    readonly #cutter = new FrameCutter(2 ** 26);
    readonly #said: Said[] = [];
    #news: (() => void)[] = [];
    readonly closed: Promise<unknown>;

    constructor(readonly socket: net.Socket) {
        this.closed = new Promise((resolve) => socket.once("close", resolve));
        const wake = () => this.#news.splice(0).forEach((resolve) => resolve());
        socket.on("error", () => undefined).on("close", wake);
        socket.on("data", (chunk) => {
            this.#cutter.push(chunk);
            for (let body = this.#cutter.next(); body; body = this.#cutter.next())
                this.#said.push(plain(decode(body)));
            wake();
        });
    }

    /** The next message, which has to be of this tag; beats are passed over unless asked for. */
    async next(t: string): Promise<Said> {
        for (;;) {
            const said = this.#said.shift();
            if (said?.t === "beat" && t !== "beat") continue;
            if (said) {
                if (said.t !== t) throw new Error(`the client said ${said.t}, not ${t}`);
                return said;
            }
            if (this.socket.destroyed) throw new Error(`the client left before it said ${t}`);
            await new Promise<void>((resolve) => this.#news.push(resolve));
        }
    }

    /** What came and nobody has asked for. */
    get unread(): string[] {
        return this.#said.map(({ t }) => t).filter((t) => t !== "beat");
    }

    bytes(...messages: object[]): Buffer {
        return Buffer.concat(messages.map((message) => frame(encode(message))));
    }

    say(...messages: object[]): void {
        this.socket.write(this.bytes(...messages));
    }

    async greet(changes: object = {}): Promise<Said> {
        const hello = await this.next("hello");
        this.say({ ...WELCOME, ...changes });
        return hello;
    }

    ok({ id }: Said, ...results: object[]): void {
        this.say({ t: "ok", id, results });
    }
}

/** A broker that says what the test wants. */
export class Scripted {
    readonly #peers: Peer[] = [];
    #news: (() => void)[] = [];
    /** Connections so far. */
    count = 0;

    private constructor(
        readonly server: net.Server,
        readonly url: string,
    ) {
        const event = server instanceof tls.Server ? "secureConnection" : "connection";
        server.on(event, (socket: net.Socket) => {
            this.count += 1;
            this.#peers.push(new Peer(socket));
            this.#news.splice(0).forEach((resolve) => resolve());
        });
    }

    static async start(encrypted?: tls.TlsOptions): Promise<Scripted> {
        const server = encrypted ? tls.createServer(encrypted) : net.createServer();
        server.listen(0, "127.0.0.1");
        await once(server, "listening");
        const { port } = server.address() as net.AddressInfo;
        return new Scripted(server, `${encrypted ? "tls" : "tcp"}://127.0.0.1:${port}`);
    }

    /** The next connection. */
    async peer(): Promise<Peer> {
        while (this.#peers.length === 0)
            await new Promise<void>((resolve) => this.#news.push(resolve));
        return this.#peers.shift()!;
    }

    stop(): void {
        this.server.close();
    }
}

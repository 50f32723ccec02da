import { Invalid } from "./errors.js";
import type { Encoded } from "./encoding.js";

const HEADER_BYTES = 4;

/** A body with its length before it. */
export function frame(body: Encoded): Buffer {
    const framed = Buffer.allocUnsafe(HEADER_BYTES + body.bytes.length);
    framed.writeUInt32BE(body.bytes.length);
    framed.set(body.bytes, HEADER_BYTES);
    return framed;
}

/** Cuts a stream of bytes into bodies. */
export class FrameCutter {
    #chunks: Buffer[] = [];
    #held = 0;
    #body: number | null = null;

    constructor(
        /** The largest body that is taken. */
        public limitBytes: number,
    ) {}

    push(chunk: Buffer): void {
        this.#chunks.push(chunk);
        this.#held += chunk.length;
    }

    /** The next whole body, undefined until there is one. Throws `Invalid` for a bad length. */
    next(): Buffer | undefined {
        if (this.#body === null) {
            if (this.#held < HEADER_BYTES) return undefined;
            const bytes = this.#take(HEADER_BYTES).readUInt32BE();
            if (bytes === 0) throw new Invalid("frame_malformed: a frame has the length 0");
            if (bytes > this.limitBytes)
                throw new Invalid(
                    `frame_too_large: a frame of ${bytes} bytes, ${this.limitBytes} allowed`,
                );
            this.#body = bytes;
        }
        if (this.#held < this.#body) return undefined;
        const body = this.#take(this.#body);
        this.#body = null;
        return body;
    }

    #take(bytes: number): Buffer {
        const whole = this.#chunks[0]!;
        const joined = whole.length >= bytes ? whole : Buffer.concat(this.#chunks, this.#held);
        if (joined !== whole) this.#chunks = [joined];
        if (joined.length > bytes) this.#chunks[0] = joined.subarray(bytes);
        else this.#chunks.shift();
        this.#held -= bytes;
        return joined.subarray(0, bytes);
    }
}

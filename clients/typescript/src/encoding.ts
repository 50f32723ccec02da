import { Invalid } from "./errors.js";

/** A value that was encoded before, and goes into a message as it is. */
export class Encoded {
    constructor(
        readonly bytes: Uint8Array,
        /** Array items and map entries in it. */
        readonly elements: number,
    ) {}
}

const MIN_INTEGER = -(2n ** 63n);
const MAX_INTEGER = 2n ** 63n - 1n;

class Writer {
    #buffer = Buffer.allocUnsafe(1024);
    #length = 0;
    elements = 0;

    get bytes(): Buffer {
        return this.#buffer.subarray(0, this.#length);
    }

    /** Room for so many bytes more: where they begin. */
    #grow(bytes: number): number {
        const at = this.#length;
        this.#length += bytes;
        if (this.#length > this.#buffer.length) {
            const larger = Buffer.allocUnsafe(Math.max(this.#length, this.#buffer.length * 2));
            this.#buffer.copy(larger, 0, 0, at);
            this.#buffer = larger;
        }
        return at;
    }

    #uint(tag: number, width: 0 | 1 | 2 | 4, value = 0): void {
        const at = this.#grow(1 + width);
        this.#buffer[at] = tag;
        if (width > 0) this.#buffer.writeUIntBE(value, at + 1, width as 1 | 2 | 4);
    }

    /** A length, by its tags for 1, 2 and 4 bytes. */
    #size(size: number, tag8: number, tag16: number, tag32: number): void {
        if (size < 0x100 && tag8) this.#uint(tag8, 1, size);
        else if (size < 0x10000) this.#uint(tag16, 2, size);
        else this.#uint(tag32, 4, size);
    }

    #integer(value: number): void {
        if (value >= 0) {
            if (value < 0x80) this.#uint(value, 0);
            else if (value < 0x1_0000_0000) this.#size(value, 0xcc, 0xcd, 0xce);
            else this.#long(BigInt(value));
        } else if (value >= -0x20) this.#uint(0x100 + value, 0);
        else if (value >= -0x80) this.#uint(0xd0, 1, 0x100 + value);
        else if (value >= -0x8000) this.#uint(0xd1, 2, 0x1_0000 + value);
        else if (value >= -0x8000_0000) this.#uint(0xd2, 4, 0x1_0000_0000 + value);
        else this.#long(BigInt(value));
    }

    #long(value: bigint): void {
        const at = this.#grow(9);
        this.#buffer[at] = value < 0n ? 0xd3 : 0xcf;
        this.#buffer.writeBigInt64BE(value, at + 1);
    }

    #raw(bytes: Uint8Array): void {
        const at = this.#grow(bytes.length);
        this.#buffer.set(bytes, at);
    }

    #text(text: string): void {
        if (!text.isWellFormed()) throw new Invalid("a text holds half a surrogate pair");
        const bytes = Buffer.byteLength(text);
        if (bytes < 0x20) this.#uint(0xa0 + bytes, 0);
        else this.#size(bytes, 0xd9, 0xda, 0xdb);
        const at = this.#grow(bytes);
        this.#buffer.write(text, at, "utf8");
    }

    #map(entries: readonly (readonly [string, unknown])[]): void {
        this.elements += entries.length || 1;
        if (entries.length < 0x10) this.#uint(0x80 + entries.length, 0);
        else this.#size(entries.length, 0, 0xde, 0xdf);
        for (const [key, value] of entries) {
            this.#text(key);
            this.write(value);
        }
    }

    #array(items: readonly unknown[]): void {
        this.elements += items.length || 1;
        if (items.length < 0x10) this.#uint(0x90 + items.length, 0);
        else this.#size(items.length, 0, 0xdc, 0xdd);
        for (const item of items) this.write(item);
    }

    write(value: unknown): void {
        if (typeof value === "string") this.#text(value);
        else if (typeof value === "number") {
            if (!Number.isSafeInteger(value)) throw new Invalid(`${value} is no exact integer`);
            this.#integer(value);
        } else if (typeof value === "boolean") this.#uint(value ? 0xc3 : 0xc2, 0);
        else if (value === null) this.#uint(0xc0, 0);
        else if (typeof value === "bigint") {
            if (value < MIN_INTEGER || value > MAX_INTEGER)
                throw new Invalid(`${value} is too large`);
            if (Number.isSafeInteger(Number(value))) this.#integer(Number(value));
            else this.#long(value);
        } else if (value instanceof Encoded) {
            this.elements += value.elements;
            this.#raw(value.bytes);
        } else if (value instanceof Uint8Array) {
            this.#size(value.length, 0xc4, 0xc5, 0xc6);
            this.#raw(value);
        } else if (Array.isArray(value)) this.#array(value);
        else if (value instanceof Map) this.#map([...value]);
        else if (typeof value === "object")
            this.#map(Object.entries(value).filter(([, held]) => held !== undefined));
        else throw new Invalid(`a ${typeof value} can't be sent`);
    }
}

/** One value in the protocol's subset of msgpack, as short as it can be. */
export function encode(value: unknown): Encoded {
    const writer = new Writer();
    writer.write(value);
    return new Encoded(writer.bytes, writer.elements);
}

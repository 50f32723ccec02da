import { Invalid } from "./errors.js";

/** A floating point number: allowed only below keys that nobody knows. */
export class Float {
    constructor(readonly value: number) {}
}

const MAX_DEPTH = 64;
const MAX_ELEMENTS = 200_000;
const MAX_ARRAY_ITEMS = 10_000;
const MAX_MAP_ITEMS = 1_024;
const MAX_TEXT_BYTES = 131_072;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads one body. Nothing is allocated by an announced length before its bytes are seen. */
class Reader {
    readonly #view: DataView;
    #at = 0;
    #elements = 0;

    constructor(readonly bytes: Uint8Array) {
        this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }

    get ended(): boolean {
        return this.#at === this.bytes.length;
    }

    #skip(bytes: number): number {
        const at = this.#at;
        if (bytes > this.bytes.length - at) throw new Invalid("the body ends within a value");
        this.#at = at + bytes;
        return at;
    }

    #uint(width: 1 | 2 | 4): number {
        const at = this.#skip(width);
        if (width === 1) return this.#view.getUint8(at);
        return width === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
    }

    #long(signed: boolean): number | bigint {
        const at = this.#skip(8);
        const value = signed ? this.#view.getBigInt64(at) : this.#view.getBigUint64(at);
        if (value > 0x7fff_ffff_ffff_ffffn) throw new Invalid("an integer is over 2^63-1");
        const number = Number(value);
        return Number.isSafeInteger(number) ? number : value;
    }

    #binary(length: number): Uint8Array {
        const at = this.#skip(length);
        // A copy: a view would keep the whole frame in memory.
        return new Uint8Array(this.bytes.subarray(at, at + length));
    }

    #text(length: number): string {
        if (length > MAX_TEXT_BYTES) throw new Invalid("a text is too long");
        const at = this.#skip(length);
        try {
            return utf8.decode(this.bytes.subarray(at, at + length));
        } catch {
            throw new Invalid("a text is no UTF-8");
        }
    }

    #count(items: number, most: number, depth: number): void {
        this.#elements += items || 1;
        if (items > most || this.#elements > MAX_ELEMENTS) throw new Invalid("too many elements");
        if (items > this.bytes.length - this.#at) throw new Invalid("the body ends within a value");
        if (depth >= MAX_DEPTH) throw new Invalid("nested too deep");
    }

    #array(items: number, depth: number): unknown[] {
        this.#count(items, MAX_ARRAY_ITEMS, depth);
        const array: unknown[] = [];
        for (let left = items; left > 0; left--) array.push(this.value(depth + 1));
        return array;
    }

    #map(items: number, depth: number): Map<string, unknown> {
        this.#count(items, MAX_MAP_ITEMS, depth);
        const map = new Map<string, unknown>();
        for (let left = items; left > 0; left--) {
            const key = this.value(depth + 1);
            if (typeof key !== "string") throw new Invalid("a key is no text");
            map.set(key, this.value(depth + 1));
        }
        return map;
    }

    value(depth: number): unknown {
        const tag = this.#uint(1);
        if (tag < 0x80) return tag;
        if (tag < 0x90) return this.#map(tag - 0x80, depth);
        if (tag < 0xa0) return this.#array(tag - 0x90, depth);
        if (tag < 0xc0) return this.#text(tag - 0xa0);
        if (tag >= 0xe0) return tag - 0x100;
        // prettier-ignore
        switch (tag) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return this.#binary(this.#uint(1));
      case 0xc5: return this.#binary(this.#uint(2));
      case 0xc6: return this.#binary(this.#uint(4));
      case 0xca: return new Float(this.#view.getFloat32(this.#skip(4)));
      case 0xcb: return new Float(this.#view.getFloat64(this.#skip(8)));
      case 0xcc: return this.#uint(1);
      case 0xcd: return this.#uint(2);
      case 0xce: return this.#uint(4);
      case 0xcf: return this.#long(false);
      case 0xd0: return this.#view.getInt8(this.#skip(1));
      case 0xd1: return this.#view.getInt16(this.#skip(2));
      case 0xd2: return this.#view.getInt32(this.#skip(4));
      case 0xd3: return this.#long(true);
      case 0xd9: return this.#text(this.#uint(1));
      case 0xda: return this.#text(this.#uint(2));
      case 0xdb: return this.#text(this.#uint(4));
      case 0xdc: return this.#array(this.#uint(2), depth);
      case 0xdd: return this.#array(this.#uint(4), depth);
      case 0xde: return this.#map(this.#uint(2), depth);
      case 0xdf: return this.#map(this.#uint(4), depth);
      default: throw new Invalid("an extension, or no msgpack");
    }
    }
}

/** The one value of a body: maps are `Map`, integers beyond 2^53 `bigint`, floats `Float`. */
export function decode(body: Uint8Array): unknown {
    const reader = new Reader(body);
    const value = reader.value(0);
    if (!reader.ended) throw new Invalid("bytes stand behind the value");
    return value;
}

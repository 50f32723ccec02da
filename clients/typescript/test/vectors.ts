import { readFileSync } from "node:fs";

const folder = new URL("../../../../protocol/vectors/", import.meta.url);

/** A file of `protocol/vectors/`. */
export function read(name: string): any {
    return JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8"));
}

type Part = { hex?: string; parts?: Part[]; times?: number };

/** The bytes of a list of parts. */
export function bytes(parts: Part[]): Buffer {
    return Buffer.concat(
        parts.flatMap(({ hex, parts: inner, times = 1 }) =>
            Array<Buffer>(times).fill(hex === undefined ? bytes(inner!) : Buffer.from(hex, "hex")),
        ),
    );
}

/** A vector's value as it is decoded: maps, plain binary, large integers. */
export function decoded(value: any): unknown {
    if (Array.isArray(value)) return value.map(decoded);
    if (typeof value !== "object" || value === null) return value;
    if ("$bin" in value) return new Uint8Array(Buffer.from(value.$bin, "hex"));
    if ("$int" in value) return BigInt(value.$int);
    return new Map(Object.entries(value).map(([key, held]) => [key, decoded(held)]));
}

/** What a frame holds behind its length. */
export function body(hex: string): Buffer {
    return Buffer.from(hex, "hex").subarray(4);
}

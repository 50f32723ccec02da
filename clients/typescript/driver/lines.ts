/** Keys whose values are binary, and stand in base64 in a line. */
const BINARY = new Set(["payload", "result", "token", "secret", "cursor", "schema"]);

/** What JSON can't hold, in base64. */
export function readable(value: unknown): unknown {
    if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
    if (Array.isArray(value)) return value.map(readable);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, held]) => [key, readable(held)]));
}

/** The opposite, by the names of the keys. */
export function wire(value: any, key = ""): any {
    if (typeof value === "string" && BINARY.has(key)) return Buffer.from(value, "base64");
    if (Array.isArray(value)) return value.map((item) => wire(item));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
        Object.entries(value).map(([name, held]) => [name, wire(held, name)]),
    );
}

/** Writes a line. */
export function say(line: object): void {
    process.stdout.write(`${JSON.stringify(readable(line))}\n`);
}

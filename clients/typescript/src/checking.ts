import { Invalid } from "./errors.js";
import type { Problem } from "./messages.js";
import { BROKER_MESSAGES, RECORDS, REQUESTS } from "./shapes.js";

/** What may stand in a place, as in `schema.json`. */
export interface Shape {
    readonly type: string;
    readonly min?: number;
    readonly max?: number;
    readonly items?: Shape;
    readonly keys?: Shape;
    readonly values?: Shape | readonly string[];
    readonly record?: string;
}

export interface Field extends Shape {
    readonly name: string;
    readonly required: boolean;
    readonly default?: unknown;
}

/** A request's record, that of its results, and the key of its items, if it has any. */
export interface Request {
    readonly record: string;
    readonly results?: string;
    readonly items?: string;
}

/** `receiving` fills defaults in and passes over unknown keys; `sending` does the opposite. */
type Way = "sending" | "receiving";
type Fields = Record<string, unknown>;

const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

function inBounds(size: number | bigint, shape: Shape, what: string, path: string): void {
    if (size < (shape.min ?? -Infinity) || size > (shape.max ?? Infinity))
        throw new Invalid(`${what} of ${size} is not within ${shape.min}..${shape.max}`, path);
}

function text(value: unknown, shape: Shape, path: string): string {
    if (typeof value !== "string") throw new Invalid("is no text", path);
    // A text has at most as many code points as UTF-16 units, and at least half as many.
    const long = value.length > (shape.max ?? Infinity);
    inBounds(long ? [...value].length : value.length, shape, "a length", path);
    if (shape.type === "name" && (CONTROL.test(value) || value.trim() === ""))
        throw new Invalid("is no name", path);
    if (!value.isWellFormed()) throw new Invalid("holds half a surrogate pair", path);
    return value;
}

function integer(value: unknown, shape: Shape, way: Way, path: string): number | bigint {
    const whole = typeof value === "bigint" || Number.isSafeInteger(value);
    if (!whole) throw new Invalid("is no integer", path);
    inBounds(value as number | bigint, shape, "a number", path);
    return way === "receiving" ? Number(value) : (value as number | bigint);
}

function entriesOf(value: unknown, path: string): [string, unknown][] {
    if (value instanceof Map) return [...value];
    if (typeof value !== "object" || value === null || Array.isArray(value))
        throw new Invalid("is no map", path);
    return Object.entries(value);
}

function map(value: unknown, shape: Shape, way: Way, path: string): Fields {
    const entries = entriesOf(value, path);
    inBounds(entries.length, shape, "a size", path);
    return Object.fromEntries(
        entries.map(([key, held]) => [
            check(key, shape.keys!, way, path),
            check(held, shape.values as Shape, way, `${path}['${key}']`),
        ]),
    );
}

function check(value: unknown, shape: Shape, way: Way, path: string): unknown {
    switch (shape.type) {
        case "integer":
            return integer(value, shape, way, path);
        case "boolean":
            if (typeof value !== "boolean") throw new Invalid("is no boolean", path);
            return value;
        case "binary":
            if (!(value instanceof Uint8Array)) throw new Invalid("is no binary", path);
            inBounds(value.length, shape, "a length", path);
            return value;
        case "choice":
            if (!(shape.values as readonly unknown[]).includes(value))
                throw new Invalid(`is none of ${shape.values}`, path);
            return value;
        case "array":
            if (!Array.isArray(value)) throw new Invalid("is no array", path);
            inBounds(value.length, shape, "a length", path);
            return value.map((item, at) => check(item, shape.items!, way, `${path}[${at}]`));
        case "map":
            return map(value, shape, way, path);
        case "record":
            return checkRecord(value, shape.record!, way, path);
        default:
            return text(value, shape, path);
    }
}

function filledIn(field: Field): unknown {
    if (field.default === null) return undefined;
    return field.type === "binary" ? new Uint8Array() : structuredClone(field.default);
}

function isDefault(value: unknown, field: Field): boolean {
    const empty = value instanceof Uint8Array || Array.isArray(value);
    return empty ? value.length === 0 && field.default !== null : value === field.default;
}

/** A record's known fields, in the order of the schema. Throws `Invalid` with the place. */
export function checkRecord(value: unknown, record: string, way: Way, path = ""): Fields {
    const entries = new Map(entriesOf(value, path));
    const checked: Fields = {};
    for (const field of RECORDS[record]!) {
        const given = entries.get(field.name);
        entries.delete(field.name);
        const at = path ? `${path}.${field.name}` : field.name;
        if (given === undefined || (given === null && field.default === null && !field.required)) {
            if (field.required) throw new Invalid("is missing", at);
            const held = way === "receiving" ? filledIn(field) : undefined;
            if (held !== undefined) checked[field.name] = held;
        } else {
            const held = check(given, field, way, at);
            const leftOut = way === "sending" && !field.required && isDefault(held, field);
            if (!leftOut) checked[field.name] = held;
        }
    }
    if (way === "sending")
        for (const [unknown, held] of entries)
            if (held !== undefined)
                throw new Invalid("is not known", path ? `${path}.${unknown}` : unknown);
    return checked;
}

/** The entries of an `ok` to a request with so many items: each a result or a `problem`. */
export function checkResults(results: unknown, tag: string, items: number): Fields[] {
    if (!Array.isArray(results) || results.length !== items)
        throw new Invalid(`is no array of ${items} entries`, "results");
    return results.map((entry: unknown, at) => {
        const path = `results[${at}]`;
        const problem = entry instanceof Map ? entry.get("problem") : undefined;
        if (problem !== undefined)
            return { problem: checkRecord(problem, "Problem", "receiving", path) };
        return checkRecord(entry, REQUESTS[tag]!.results!, "receiving", path);
    });
}

/** A message of the broker. An `ok` keeps its `results` unchecked; an unknown tag is null. */
export function checkMessage(value: unknown): ({ t: string } & Fields) | null {
    if (!(value instanceof Map)) throw new Invalid("a message is a map");
    const tag = value.get("t");
    if (typeof tag !== "string") throw new Invalid("is no text", "t");
    if (tag === "ok") {
        const id = integer(value.get("id"), { type: "integer", min: 1 }, "receiving", "id");
        return { t: tag, id, results: value.get("results"), durability: value.get("durability") };
    }
    const record = Object.hasOwn(BROKER_MESSAGES, tag) ? BROKER_MESSAGES[tag] : undefined;
    return record ? { t: tag, ...checkRecord(value, record, "receiving") } : null;
}

/** An entry of results that was refused. */
export type Entry<Result> = Result | { problem: Problem };

export function isProblem(entry: object): entry is { problem: Problem } {
    return "problem" in entry;
}

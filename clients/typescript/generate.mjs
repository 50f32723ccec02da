// Writes src/messages.ts and src/shapes.ts from protocol/schema.json: `npm run generate`.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const HEADER = "// Generated from protocol/schema.json by generate.mjs: do not edit.\n\n";

/** Names that would hide a global one. */
const RENAMED = { Error: "JobError", Event: "JobEvent" };

const nameOf = (record) => RENAMED[record] ?? record;

/** The records that `start` leads to. */
function reached(schema, start) {
    const found = new Set();
    const field = (shape) => {
        if (shape.record) record(shape.record);
        if (shape.items) field(shape.items);
        if (typeof shape.values === "object" && !Array.isArray(shape.values)) field(shape.values);
    };
    const record = (name) => {
        if (found.has(name)) return;
        found.add(name);
        schema.records[name].fields.forEach(field);
    };
    start.forEach(record);
    return found;
}

function typeOf(shape, recordName) {
    switch (shape.type) {
        case "integer":
            return "number";
        case "boolean":
            return "boolean";
        case "binary":
            return "Uint8Array";
        case "choice":
            return shape.values.map((value) => JSON.stringify(value)).join(" | ");
        case "array": {
            const items = typeOf(shape.items, recordName);
            return items.includes("|") ? `(${items})[]` : `${items}[]`;
        }
        case "map": {
            const keys = shape.keys.type === "choice" ? typeOf(shape.keys, recordName) : "string";
            const map = `Record<${keys}, ${typeOf(shape.values, recordName)}>`;
            return keys === "string" ? map : `Partial<${map}>`;
        }
        case "record":
            return recordName(shape.record);
        default:
            return "string";
    }
}

/** Of what is received, fields with a default are always there; of what is sent, never needed. */
function interfaceOf(schema, record, name, recordName, received) {
    const fields = schema.records[record].fields
        .filter((field) => received || field.name !== "id" || record === "NewJob")
        .map((field) => {
            const needed = field.required || (received && field.default !== null);
            return `    ${field.name}${needed ? "" : "?"}: ${typeOf(field, recordName)};\n`;
        });
    return fields.length === 0
        ? `export type ${name} = Record<string, never>;\n\n`
        : `export interface ${name} {\n${fields.join("")}}\n\n`;
}

function messages(schema) {
    const requests = Object.entries(schema.client_messages).filter(([, told]) => told.results);
    const results = requests.map(([, told]) => told.results);
    const pushes = Object.values(schema.broker_messages).map((told) => told.record);
    const received = reached(schema, [
        ...[...results, ...pushes].filter((name) => schema.records[name]),
        "Problem",
    ]);
    const sent = reached(schema, ["Hello", ...requests.map(([, told]) => told.record)]);
    const sentName = (name) => (received.has(name) ? `New${nameOf(name)}` : nameOf(name));

    let text = HEADER;
    for (const name of received) text += interfaceOf(schema, name, nameOf(name), nameOf, true);
    for (const name of sent) text += interfaceOf(schema, name, sentName(name), sentName, false);
    text += "/** Each request's fields, and what an entry of its results holds. */\n";
    text += "export interface Requests {\n";
    for (const [tag, told] of requests)
        text += `    ${tag}: { fields: ${sentName(told.record)}; result: ${nameOf(told.results)} };\n`;
    return `${text}}\n`;
}

function shapes(schema) {
    const lines = (entries) =>
        Object.entries(entries)
            .map(([key, value]) => `    ${key}: ${JSON.stringify(value)},\n`)
            .join("");
    let text = HEADER;
    text += 'import type { Field, Request } from "./checking.js";\n\n';
    text += "export const RECORDS: Record<string, readonly Field[]> = {\n";
    for (const [name, record] of Object.entries(schema.records)) {
        const fields = record.fields.map((field) => `        ${JSON.stringify(field)},\n`).join("");
        text += fields ? `    ${name}: [\n${fields}    ],\n` : `    ${name}: [],\n`;
    }
    text += "};\n\n/** What a client asks, by tag. */\n";
    text += `export const REQUESTS: Record<string, Request> = {\n${lines(schema.client_messages)}};\n\n`;
    text += "/** The record of what a broker says, by tag. */\n";
    const told = Object.entries(schema.broker_messages).map(([tag, { record }]) => [tag, record]);
    return `${text}export const BROKER_MESSAGES: Record<string, string> = {\n${lines(Object.fromEntries(told))}};\n`;
}

/** The two files' names and texts, as they should be. */
export function generated() {
    const path = fileURLToPath(new URL("../../protocol/schema.json", import.meta.url));
    const schema = JSON.parse(readFileSync(path, "utf8"));
    return { "src/messages.ts": messages(schema), "src/shapes.ts": shapes(schema) };
}

if (process.argv[1] === fileURLToPath(import.meta.url))
    for (const [name, text] of Object.entries(generated()))
        writeFileSync(new URL(name, import.meta.url), text);

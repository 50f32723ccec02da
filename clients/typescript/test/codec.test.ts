import assert from "node:assert/strict";
import { test } from "node:test";

import { checkMessage, checkRecord, checkResults } from "../src/checking.js";
import { decode, Float } from "../src/decoding.js";
import { encode } from "../src/encoding.js";
import { Invalid } from "../src/errors.js";
import { FrameCutter, frame } from "../src/frames.js";
import { REQUESTS } from "../src/shapes.js";
import { body, bytes, decoded, read } from "./vectors.js";

/** What only a connection can judge: connection.test.ts. */
const BY_CONNECTION = new Set([
    "broker: ok to a request that was never sent",
    "broker: error to a request that was never sent",
    "broker: welcome once more",
    "broker: a push before the welcome",
    "broker: welcome with a version that was not offered",
    "broker: welcome with frames of 1 byte",
]);

/** Reads a broker's message as a connection does that has asked `answers` with so many items. */
function received(from: Uint8Array, answers?: string, entries = 1): any {
    const message = checkMessage(decode(from));
    if (message?.t !== "ok" || answers === undefined) return message;
    return { ...message, results: checkResults(message["results"], answers, entries) };
}

for (const { name, frame: hex, value } of read("client").vectors)
    test(`a client's message: ${name}`, () => {
        assert.deepEqual(decode(body(hex)), decoded(value));
        assert.equal(frame(encode(decoded(value))).toString("hex"), hex);
        const { t, ...fields } = Object.fromEntries(decoded(value) as Map<string, unknown>);
        const sent = { t, ...checkRecord(fields, REQUESTS[t as string]!.record, "sending") };
        assert.equal(frame(encode(sent)).toString("hex"), hex);
    });

for (const { name, frame: hex, value, answers } of read("broker").vectors)
    test(`a broker's message: ${name}`, () => {
        assert.deepEqual(decode(body(hex)), decoded(value));
        assert.equal(frame(encode(decoded(value))).toString("hex"), hex);
        assert.equal(received(body(hex), answers, value.results?.length)?.t, value.t);
    });

for (const { name, from, frame: hex, same_as } of read("accepted").vectors)
    test(`accepted: ${name}`, () => {
        const value = decode(body(hex)) as Map<string, unknown>;
        if (from === "client") return;
        const answers = /time left/.test(name) ? "extend" : "complete";
        const entries = (value.get("results") as unknown[]).length;
        assert.deepEqual(
            received(body(hex), answers, entries),
            received(body(same_as), answers, entries),
        );
    });

for (const { name, from, body: parts, answers, error } of read("malformed").vectors) {
    if (BY_CONNECTION.has(name) || (from === "client" && !name.startsWith("msgpack"))) continue;
    test(`refused: ${name}`, () => {
        if (error.code === "unsupported") assert.equal(received(bytes(parts)), null);
        else assert.throws(() => received(bytes(parts), answers), Invalid);
    });
}

for (const { name, limit_bytes, stream, bodies, error } of read("framing").vectors) {
    const whole = bytes(stream);
    const cut = (chunks: Buffer[]) => {
        const cutter = new FrameCutter(limit_bytes);
        const found: string[] = [];
        let code: string | null = null;
        try {
            for (const chunk of chunks) {
                cutter.push(chunk);
                for (let next = cutter.next(); next; next = cutter.next())
                    found.push(next.toString("hex"));
            }
        } catch (thrown) {
            code = (thrown as Invalid).message.split(":")[0]!;
        }
        assert.deepEqual([found, code], [bodies, error]);
    };
    test(`frames: ${name}`, () => {
        cut([whole]);
        for (let at = 0; at <= whole.length; at++) cut([whole.subarray(0, at), whole.subarray(at)]);
        cut([...whole].map((byte) => Buffer.from([byte])));
    });
}

test("a floating point number is refused as the value of a known key, and passed over elsewhere", () => {
    const drain = (entries: string) =>
        Buffer.from(`83a174a5647261696ea867726163655f6d73${entries}`, "hex");
    const half = "cb3fe0000000000000";
    assert.deepEqual(decode(Buffer.from(half, "hex")), new Float(0.5));
    assert.throws(() => received(drain(`cb4014000000000000a17805`)), /grace_ms: is no integer/);
    assert.equal(received(drain(`05a178${half}`)).grace_ms, 5);
});

test("what can't be sent is refused before it is", () => {
    for (const value of [0.5, Number.NaN, 2 ** 53, 2n ** 63n, "\ud800", undefined, () => 1])
        assert.throws(() => encode(value), Invalid);
    assert.equal(Buffer.from(encode(-(2n ** 63n)).bytes).toString("hex"), "d38000000000000000");
    assert.throws(
        () => checkRecord({ jobs: [{ type: "a", delay: 1 }], id: 1 }, "Create", "sending"),
        {
            message: "jobs[0].delay: is not known",
        },
    );
});

test("hostile lengths cost nothing, depth is survived", () => {
    for (const hex of ["ddffffffff", "dfffffffff", "dbffffffff", "c6ffffffff"])
        assert.throws(() => decode(Buffer.from(hex, "hex")), Invalid);
    assert.throws(() => decode(Buffer.alloc(1_000_000, 0x91)), Invalid);
});

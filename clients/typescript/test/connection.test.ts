import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { Encoded } from "../src/encoding.js";
import { connect } from "../src/index.js";
import { BOUND, pair } from "./pair.js";
import { Scripted, WELCOME } from "./scripted.js";
import { bytes, read } from "./vectors.js";

/** A floating point number, which the encoder refuses. */
const HALF = new Encoded(Buffer.from("cb3fe0000000000000", "hex"), 0);
const created = (job: string) => ({ job, state: "QUEUED" });

test("creates of one turn leave in one frame, with ids that can be repeated", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const creating = Promise.all(["a", "b", "c"].map((type) => client.create({ type })));
    const said = await peer.next("create");
    assert.deepEqual(
        said["jobs"].map((job: any) => job.type),
        ["a", "b", "c"],
    );
    assert.ok(said["jobs"].every((job: any) => /^[0-9a-f]{32}$/.test(job.id)));
    peer.ok(said, ...said["jobs"].map((job: any) => created(job.id)));
    assert.deepEqual(
        (await creating).map(({ job }) => job),
        said["jobs"].map((job: any) => job.id),
    );
});

test("the id of a unique job ends in the tag of its key", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    void client.create({ type: "invoice", unique: { key: "customer-7" } }).catch(() => undefined);
    assert.match((await peer.next("create"))["jobs"][0].id, /~10162034$/);
});

test("batches and unanswered requests keep to the limits", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const jobs = Array.from({ length: 1_000 }, (_, at) => ({ type: "many", id: `job-${at}` }));
    const creating = client.createMany(jobs);
    const first = [];
    for (let sent = 0; sent < 4; sent++) first.push(await peer.next("create"));
    assert.deepEqual(peer.unread, []);
    assert.ok(first.every((said) => said["jobs"].length === 100));
    const answer = (said: any) => peer.ok(said, ...said.jobs.map((job: any) => created(job.id)));
    first.reverse().forEach(answer);
    for (let sent = 4; sent < 10; sent++) answer(await peer.next("create"));
    const entries = await creating;
    assert.deepEqual(
        entries.map((entry: any) => entry.job),
        jobs.map(({ id }) => id),
    );
});

test("what fits into no frame is refused by itself", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const payload = new Uint8Array(1_048_576);
    const creating = client.createMany([{ type: "small" }, { type: "large", payload }]);
    const said = await peer.next("create");
    peer.ok(said, created("small"));
    const [small, large] = (await creating) as any[];
    assert.equal(small.job, "small");
    assert.equal(large.problem.code, "too_large");
});

test(
    "frames are read byte by byte, and several in one piece; unknown tags are passed over",
    BOUND,
    async (t) => {
        const { client, peer } = await pair(t);
        const asked = [client.get("a"), client.get("b")];
        const said = [await peer.next("get"), await peer.next("get")];
        const view = (id: string) => ({
            id,
            type: "x",
            state: "QUEUED",
            version: 1,
            later: [HALF],
        });
        const answers = peer.bytes(
            { t: "beat" },
            { t: "later", of: 2 },
            { t: "ok", id: said[1]!.id, results: [view("b")] },
            { t: "ok", id: said[0]!.id, results: [view("a")] },
        );
        for (const byte of answers) peer.socket.write(Buffer.from([byte]));
        assert.deepEqual(
            (await Promise.all(asked)).map(({ id }) => id),
            ["a", "b"],
        );
        const again = client.get("c");
        const { id } = await peer.next("get");
        peer.say({ t: "beat" }, { t: "beat" }, { t: "ok", id, results: [view("c")] });
        const found = await again;
        assert.equal(found.attempts, 1, "defaults are filled in");
        assert.equal("later" in found, false);
    },
);

test("an answer that can't be read fails its request alone", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const asked = [client.get("a"), client.get("b")];
    const [first, second] = [await peer.next("get"), await peer.next("get")];
    peer.ok(first, { id: "a", type: "x", state: "NONE", version: 1 });
    peer.ok(second, { problem: { code: "not_found", message: "there is no such job" } });
    await assert.rejects(asked[0]!, { code: "invalid" });
    await assert.rejects(asked[1]!, { code: "not_found", retryable: false });
});

test("refusals carry what the broker said", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const asked = client.create({ type: "a" });
    const { id } = await peer.next("create");
    const details = { limit: "5" };
    peer.say({
        t: "error",
        id,
        code: "new_code",
        message: "no",
        retryable: true,
        retry_after_ms: 70,
        details,
    });
    await assert.rejects(asked, {
        code: "new_code",
        message: "no",
        retryable: true,
        retryAfterMs: 70,
        details,
    });
});

test("arguments that break the protocol are refused before they leave", BOUND, async (t) => {
    const { client } = await pair(t);
    await assert.rejects(client.create({ type: "" }), {
        code: "invalid",
        details: { path: "jobs[0].type" },
    });
    await assert.rejects(client.create({ type: "a", priority: 1.5 }), { code: "invalid" });
    await assert.rejects(client.request("nothing" as "get", { jobs: [] }), { code: "invalid" });
});

test(
    "a connection that is silent is left and resumed, and beats go out by themselves",
    BOUND,
    async (t) => {
        const { client, peer, broker } = await pair(t, { heartbeat_ms: 20, timeout_ms: 200 });
        await peer.next("beat");
        const [cause] = await once(client, "disconnected");
        assert.equal(cause.code, "disconnected");
        const hello = await (await broker.peer()).greet({ resumed: true });
        assert.equal(hello["client"], "c-1");
        assert.deepEqual(hello["secret"], new Uint8Array(32).fill(7));
    },
);

test("after a lost connection the repeatable is asked again, the rest fails", BOUND, async (t) => {
    const { client, peer, broker } = await pair(t);
    const creating = client.create({ type: "a" });
    const first = await peer.next("create");
    const claiming = client.request("claim", { jobs: ["x"] });
    await peer.next("claim");
    peer.socket.destroy();
    await assert.rejects(claiming, { code: "disconnected", retryable: true });
    const later = await broker.peer();
    await later.greet({ resumed: true });
    const again = await later.next("create");
    assert.deepEqual(again["jobs"], first["jobs"]);
    later.ok(again, { job: again["jobs"][0].id, state: "QUEUED", existed: true });
    assert.equal((await creating).existed, true);
});

test("a forgotten client repeats no create that it was to handle", BOUND, async (t) => {
    const { client, peer, broker } = await pair(t);
    const handled = client.create({ type: "x", payload: "h" }, { handle: true });
    const plain = client.create({ type: "x", payload: "p" });
    for (let frames = 0; frames < 2; frames += 1) await peer.next("create");
    const failed = assert.rejects(handled, { code: "disconnected" });
    peer.socket.destroy();
    const later = await broker.peer();
    await later.greet({ resumed: false, registered_at: 2 });
    await failed;
    const again = await later.next("create");
    assert.equal(again["handle"], undefined);
    later.ok(again, { job: again["jobs"][0].id, state: "QUEUED" });
    await plain;
    assert.deepEqual(later.unread, []);
});

test("an outage that lasts fails what waits, until there is a broker again", BOUND, async (t) => {
    const { client, peer, broker } = await pair(t, {}, { outageTimeoutMs: 50 });
    const failed = assert.rejects(client.get("a"), { code: "disconnected" });
    await peer.next("get");
    peer.socket.destroy();
    // It is let in, and not greeted.
    const silent = await broker.peer();
    await failed;
    await assert.rejects(client.get("b"), { code: "disconnected" });
    silent.socket.destroy();
    const later = await broker.peer();
    await later.greet({ resumed: true });
    await once(client, "connected");
    const back = client.get("c");
    later.ok(await later.next("get"), { id: "c", type: "x", state: "QUEUED", version: 1 });
    assert.equal((await back).id, "c");
});

for (const { code, retryable, over } of [
    { code: "superseded", retryable: false, over: true },
    { code: "client_gone", retryable: false, over: false },
    { code: "silent", retryable: true, over: false },
])
    test(
        `${code} ${over ? "ends the client" : "is followed by another connection"}`,
        BOUND,
        async (t) => {
            const { client, peer, broker } = await pair(t);
            const asked = client.get("a");
            await peer.next("get");
            const ended = once(client, over ? "closed" : "disconnected");
            peer.say({ t: "error", code, message: "so it is", retryable, closing: true });
            const [cause] = await ended;
            assert.equal(cause.code, code);
            if (over) {
                await assert.rejects(asked, { code });
                await assert.rejects(client.get("b"), { code });
            } else {
                const later = await broker.peer();
                await later.greet();
                later.ok(await later.next("get"), {
                    id: "a",
                    type: "x",
                    state: "QUEUED",
                    version: 1,
                });
                await asked;
            }
        },
    );

test("a hello that is refused for good is thrown", BOUND, async () => {
    const broker = await Scripted.start();
    const connecting = connect(broker.url, { client: "taken", connectTimeoutMs: 60_000 });
    const peer = await broker.peer();
    const hello = await peer.next("hello");
    assert.deepEqual([hello["client"], hello["versions"]], ["taken", [1]]);
    peer.say({ t: "error", code: "secret_wrong", message: "another secret", closing: true });
    await assert.rejects(connecting, { code: "secret_wrong" });
    broker.stop();
});

test("a drain: what was asked is answered, then another broker is looked for", BOUND, async (t) => {
    const { client, peer, broker } = await pair(t);
    const first = client.get("a");
    const said = await peer.next("get");
    const draining = once(client, "draining");
    peer.say({ t: "drain", grace_ms: 60_000 });
    assert.deepEqual(await draining, [60_000]);
    const second = client.get("b");
    peer.ok(said, { id: "a", type: "x", state: "QUEUED", version: 1 });
    await first;
    const later = await broker.peer();
    await later.greet({ resumed: true });
    later.ok(await later.next("get"), { id: "b", type: "x", state: "QUEUED", version: 1 });
    assert.equal((await second).id, "b");
    assert.deepEqual(peer.unread, []);
});

const malformed: any[] = read("malformed").vectors;
const vector = (name: string) =>
    bytes(malformed.find((found) => found.name === `broker: ${name}`).body);
const framed = (body: Buffer) =>
    Buffer.concat([Buffer.from([0, 0, body.length >> 8, body.length]), body]);

for (const name of [
    "ok to a request that was never sent",
    "error to a request that was never sent",
    "welcome once more",
])
    test(`${name}: the connection is left, and the client comes back`, BOUND, async (t) => {
        const { client, peer, broker } = await pair(t);
        const ended = once(client, "disconnected");
        peer.socket.write(framed(vector(name)));
        assert.equal((await ended)[0].code, "invalid");
        await (await broker.peer()).greet({ resumed: true });
        await once(client, "connected");
    });

for (const name of [
    "a push before the welcome",
    "welcome with a version that was not offered",
    "welcome with frames of 1 byte",
])
    test(`${name}: the client does not connect`, BOUND, async () => {
        const broker = await Scripted.start();
        const connecting = connect(broker.url);
        const peer = await broker.peer();
        await peer.next("hello");
        peer.socket.write(framed(vector(name)));
        await assert.rejects(connecting, { code: "invalid" });
        broker.stop();
    });

for (const [name, hex] of [
    ["too large", "ffffffff"],
    ["empty", "00000000"],
    ["no msgpack", "00000001c1"],
] as const)
    test(`a frame that is ${name} ends the connection`, BOUND, async (t) => {
        const { client, peer } = await pair(t);
        const ended = once(client, "disconnected");
        peer.socket.write(Buffer.from(hex, "hex"));
        assert.equal((await ended)[0].code, "invalid");
        await peer.closed;
    });

test("TLS: by a certificate that is trusted, not by another", BOUND, async () => {
    const folder = mkdtempSync(join(tmpdir(), "packhorse-ts-"));
    const [keyFile, certFile] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"];
    const made = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ];
    execFileSync(
        "openssl",
        ["req", "-x509", ...made, ...names, "-keyout", keyFile, "-out", certFile],
        { stdio: "ignore" },
    );
    const cert = readFileSync(certFile);
    const broker = await Scripted.start({ key: readFileSync(keyFile), cert });
    await assert.rejects(connect(broker.url), { code: "disconnected" });
    const connecting = connect(broker.url, { tls: { ca: cert } });
    const peer = await broker.peer();
    await peer.greet();
    const client = await connecting;
    assert.equal(client.id, WELCOME.client);
    await client.close({ bye: false });
    broker.stop();
    rmSync(folder, { recursive: true });
});

test("one item that spoils a frame is refused by itself", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const creating = Promise.allSettled(["good", "bad"].map((type) => client.create({ type })));
    const malformed = { t: "error", code: "malformed", message: "no" };
    peer.say({ ...malformed, id: (await peer.next("create")).id });
    peer.ok(await peer.next("create"), created("good"));
    peer.say({ ...malformed, id: (await peer.next("create")).id });
    const [good, bad] = (await creating) as any[];
    assert.equal(good.value.job, "good");
    assert.equal(bad.reason.code, "malformed");
});

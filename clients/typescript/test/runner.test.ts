import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { connect, Fail, type RunningJob } from "../src/index.js";
import { BOUND, pair } from "./pair.js";
import { claim, token } from "./records.js";
import { hold, taken } from "./running.js";

test(
    "types, weights and credit are asked for; completions of one turn leave in one frame",
    BOUND,
    async (t) => {
        const { client, peer } = await pair(t);
        const echo = (job: RunningJob) => job.payload;
        const running = client.run(
            { a: echo, b: { run: echo, atMost: 2, weight: 3 } },
            { credit: 5 },
        );
        const take = await peer.next("take");
        assert.deepEqual(
            [take["types"], take["weights"], take["credit"]],
            [{ a: 5, b: 2 }, { b: 3 }, 5],
        );
        peer.say({
            t: "claims",
            claims: [claim(1, { payload: token(9) }), claim(2, { type: "b" })],
        });
        peer.ok(take, {});
        await running;
        const said = await peer.next("complete");
        assert.deepEqual(said["jobs"], [
            { job: "job-1", token: token(1), result: token(9) },
            { job: "job-2", token: token(2) },
        ]);
        const ended = once(client, "ended");
        peer.ok(said, { state: "COMPLETE" }, { state: "COMPLETE" });
        assert.deepEqual(await ended, ["job-1", "complete"]);
    },
);

test("reports are known before the end is told", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const running = client.run({
        async a(job) {
            void job.progress(50, "half");
            void job.log("one", "two");
            assert.equal(await job.extend(1_000), 900);
            assert.ok(job.remainingMs! <= 900);
            return "done";
        },
    });
    await taken(peer);
    await running;
    peer.say({ t: "claims", claims: [claim(1)] });
    const progress = await peer.next("progress");
    assert.deepEqual(progress["reports"], [
        { job: "job-1", token: token(1), percent: 50, text: "half" },
    ]);
    const log = await peer.next("log");
    assert.deepEqual(log["reports"][0].messages, ["one", "two"]);
    peer.ok(await peer.next("extend"), { remaining_ms: 900 });
    peer.ok(progress, {});
    peer.ok(log, {});
    assert.equal(Buffer.from((await peer.next("complete"))["jobs"][0].result).toString(), "done");
});

test("what a function throws is told; `Fail` says how it goes on", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const running = client.run({
        a: () => {
            throw new RangeError("x".repeat(2_000));
        },
        b: () => {
            throw new Fail("never", { type: "Bad", retry: false });
        },
        c: () => {
            throw new Fail("later", { retryInMs: 4.5 });
        },
    });
    await taken(peer);
    await running;
    peer.say({ t: "claims", claims: [claim(1), claim(2, { type: "b" }), claim(3, { type: "c" })] });
    const [range, bad, later] = (await peer.next("fail"))["jobs"];
    assert.equal(range.error.type, "RangeError");
    assert.equal(range.error.message.length, 1_024);
    assert.deepEqual([bad.retry, bad.error.type, bad.error.message], [false, "Bad", "never"]);
    assert.deepEqual([later.retry, later.retry_in_ms], [undefined, 5]);
});

test("a revoked claim aborts its function, and nothing more is told of it", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const { run, began } = hold();
    const running = client.run({ a: run });
    await taken(peer);
    const runner = await running;
    peer.say({ t: "claims", claims: [claim(1)] });
    const job = await began;
    const ended = once(client, "ended");
    peer.say({ t: "revoke", claims: [{ job: "job-1", token: token(1), reason: "removed" }] });
    assert.deepEqual(await ended, ["job-1", "revoked"]);
    assert.equal(job.signal.reason.how, "revoked");
    assert.equal(runner.running, 0);
    assert.deepEqual(peer.unread, []);
});

test(
    "a cancelled job ends as the function does, by default as failed for good",
    BOUND,
    async (t) => {
        const { client, peer } = await pair(t);
        const { run, began } = hold();
        const running = client.run({ a: run });
        await taken(peer);
        await running;
        peer.say({ t: "claims", claims: [claim(1)] });
        const job = await began;
        const ended = once(client, "ended");
        peer.say({
            t: "cancelling",
            claims: [{ job: "job-1", token: token(1), grace_ms: 70, why: "wrong" }],
        });
        const said = await peer.next("fail");
        assert.deepEqual([job.signal.reason.how, job.signal.reason.graceMs], ["cancelled", 70]);
        assert.deepEqual(said["jobs"][0].error, { type: "Cancelled", message: "wrong" });
        peer.ok(said, { state: "FAILED" });
        assert.deepEqual(await ended, ["job-1", "cancelled"]);
    },
);

test(
    "a claim that is stale stops its function; an end that is stale is told as such",
    BOUND,
    async (t) => {
        const { client, peer } = await pair(t);
        const running = client.run({
            async a(job) {
                await assert.rejects(job.progress(1), { code: "stale_claim" });
                assert.equal(job.signal.reason.how, "stale");
            },
            b: () => "late",
        });
        await taken(peer);
        await running;
        const stale = { problem: { code: "stale_claim", message: "it is another's" } };
        for (const [type, t, of] of [
            ["a", "progress", 1],
            ["b", "complete", 2],
        ] as const) {
            const ended = once(client, "ended");
            peer.say({ t: "claims", claims: [claim(of, { type })] });
            peer.ok(await peer.next(t), stale);
            assert.deepEqual(await ended, [`job-${of}`, "stale"]);
        }
    },
);

test(
    "a result that is not taken fails its job; what is refused for a while is told again",
    BOUND,
    async (t) => {
        const { client, peer } = await pair(t);
        const running = client.run({ a: () => "large" });
        await taken(peer);
        await running;
        peer.say({ t: "claims", claims: [claim(1)] });
        const first = await peer.next("complete");
        peer.say({
            t: "error",
            id: first.id,
            code: "unavailable",
            message: "the store is away",
            retryable: true,
        });
        peer.ok(await peer.next("complete"), {
            problem: { code: "too_large", message: "too large" },
        });
        const { jobs } = await peer.next("fail");
        assert.deepEqual([jobs[0].retry, jobs[0].error.message], [false, "too large"]);
    },
);

test(
    "after a resume what runs goes on, claims that come again are ignored, ends are repeated",
    BOUND,
    async (t) => {
        const { client, peer, broker } = await pair(t);
        const attempts: string[] = [];
        let finish: (result: string) => void = () => undefined;
        const running = client.run({
            a: (job) => {
                attempts.push(job.id);
                return job.id === "job-1" ? "first" : new Promise((resolve) => (finish = resolve));
            },
        });
        await taken(peer);
        await running;
        peer.say({ t: "claims", claims: [claim(1), claim(2)] });
        const first = await peer.next("complete");
        peer.socket.destroy();
        const later = await broker.peer();
        await later.greet({ resumed: true });
        later.say({ t: "claims", claims: [claim(1), claim(2)] });
        const again = await later.next("complete");
        await taken(later);
        assert.deepEqual(again["jobs"], first["jobs"]);
        later.ok(again, { state: "COMPLETE" });
        finish("second");
        assert.equal((await later.next("complete"))["jobs"][0].job, "job-2");
        assert.deepEqual(attempts, ["job-1", "job-2"]);
    },
);

for (const [title, before, after] of [
    ["resumed false", {}, { resumed: false }],
    [
        "resumed true of another registration",
        { registered_at: 1 },
        { resumed: true, registered_at: 2 },
    ],
] as const)
    test(`${title}: what runs is stopped`, BOUND, async (t) => {
        const { client, peer, broker } = await pair(t, before);
        const { run, began } = hold();
        const running = client.run({ a: run });
        await taken(peer);
        await running;
        peer.say({ t: "claims", claims: [claim(1)] });
        await began;
        const ended = once(client, "ended");
        peer.socket.destroy();
        const later = await broker.peer();
        await later.greet(after);
        await taken(later);
        assert.deepEqual(await ended, ["job-1", "stale"]);
    });

test("an end that can't be said whole is said in short", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const running = client.run({
        a: () => {
            throw new Fail("no", { retryInMs: 1e15 });
        },
    });
    await taken(peer);
    await running;
    peer.say({ t: "claims", claims: [claim(1)] });
    const fail = await peer.next("fail");
    assert.equal(fail["jobs"][0].error.type, "UnfitError");
    const ended = once(client, "ended");
    peer.ok(fail, { state: "FAILED" });
    assert.deepEqual(await ended, ["job-1", "failed"]);
});

test(
    "a claim that comes before the answer to its last take is back before bye",
    BOUND,
    async (t) => {
        const { client, peer } = await pair(t);
        const running = client.run({ a: () => undefined });
        await taken(peer);
        await running;
        const closing = client.close();
        const last = await peer.next("take");
        assert.equal(last["credit"], 0);
        peer.say({ t: "claims", claims: [claim(1)] });
        peer.ok(last, {});
        peer.ok(await peer.next("release"), { state: "QUEUED" });
        peer.ok(await peer.next("bye"), {});
        await closing;
    },
);

test("a runner takes again after an outage that lasted", BOUND, async (t) => {
    const { client, peer, broker } = await pair(t, {}, { outageTimeoutMs: 20 });
    const running = client.run({ a: () => undefined });
    await taken(peer);
    await running;
    peer.socket.destroy();
    const silent = await broker.peer();
    await assert.rejects(client.get("b"), { code: "disconnected" });
    silent.socket.destroy();
    const later = await broker.peer();
    await later.greet({ resumed: true });
    await taken(later);
});

test("a client that is closed by its listener does not come back", BOUND, async (t) => {
    const { client, peer, broker } = await pair(t);
    client.on("disconnected", () => void client.close());
    const closed = once(client, "closed");
    peer.socket.destroy();
    await closed;
    await client.close();
    // Another client's connection is the next that comes.
    const other = connect(broker.url);
    await (await broker.peer()).greet({ client: "other" });
    assert.equal((await other).id, "other");
    assert.equal(broker.count, 2);
    await (await other).close({ bye: false });
});

test("a drain takes nothing more and waits; a stop gives back what runs", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const { run, began } = hold();
    const running = client.run({ a: run });
    await taken(peer);
    const runner = await running;
    peer.say({ t: "claims", claims: [claim(1)] });
    await began;
    const drained = runner.drain();
    await taken(peer, 0);
    peer.say({ t: "claims", claims: [claim(2)] });
    const late = await peer.next("release");
    assert.equal(late["claims"][0].job, "job-2");
    peer.ok(late, { state: "QUEUED" });
    const ended = once(client, "ended");
    const stopped = runner.stop();
    const release = await peer.next("release");
    assert.deepEqual(release["claims"], [{ job: "job-1", token: token(1) }]);
    peer.ok(release, { state: "QUEUED" });
    await Promise.all([drained, stopped]);
    assert.deepEqual(await ended, ["job-1", "released"]);
});

test(
    "a take that is refused for a while is asked again, also on a new connection",
    BOUND,
    async (t) => {
        const { client, peer, broker } = await pair(t);
        const running = client.run({ a: () => undefined });
        await taken(peer);
        const runner = await running;
        peer.socket.destroy();
        const later = await broker.peer();
        await later.greet({ resumed: true });
        const { id } = await later.next("take");
        later.say({ t: "error", id, code: "unavailable", message: "no store", retryable: true });
        await taken(later);
        const draining = runner.drain();
        await taken(later, 0);
        await draining;
    },
);

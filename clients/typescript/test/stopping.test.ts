import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import type { RunningJob } from "../src/index.js";
import { Deferred } from "./deferred.js";
import { BOUND, pair, read } from "./pair.js";
import { claim, token } from "./records.js";
import { hold, taken } from "./running.js";

test("what a function returns when it is asked to stop is its result", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const began = new Deferred<void>();
    const running = client.run({
        async a(job) {
            began.resolve();
            await once(job.signal, "abort");
            assert.equal(job.signal.reason.how, "released");
            return "just in time";
        },
    });
    await taken(peer);
    await running;
    peer.say({ t: "claims", claims: [claim(1)] });
    await began.promise;
    const ended = once(client, "ended");
    const closing = client.close();
    await taken(peer, 0);
    const complete = await peer.next("complete");
    assert.equal(Buffer.from(complete["jobs"][0].result).toString(), "just in time");
    peer.ok(complete, { state: "COMPLETE" });
    assert.deepEqual(await ended, ["job-1", "complete"]);
    peer.ok(await peer.next("bye"), {});
    await closing;
});

test("an end that is on its way is not overtaken by a release", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const running = client.run({ a: () => "done" });
    await taken(peer);
    const runner = await running;
    peer.say({ t: "claims", claims: [claim(1)] });
    const { id } = await peer.next("complete");
    const stopped = runner.stop();
    await taken(peer, 0);
    // Longer than functions have to stop.
    const away = { code: "unavailable", message: "no store", retryable: true };
    peer.say({ t: "error", id, ...away, retry_after_ms: 1_500 });
    const again = await peer.next("complete");
    const ended = once(client, "ended");
    peer.ok(again, { state: "COMPLETE" });
    assert.deepEqual(await ended, ["job-1", "complete"]);
    await stopped;
    assert.deepEqual(peer.unread, []);
});

test("a job that failed before its runner stopped has failed", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const running = client.run({
        a(job) {
            void job.log("about to fail");
            throw new Error("no");
        },
    });
    await taken(peer);
    const runner = await running;
    peer.say({ t: "claims", claims: [claim(1)] });
    const log = await peer.next("log");
    const stopped = runner.stop();
    await taken(peer, 0);
    await read(client, peer);
    peer.ok(log, {});
    const fail = await peer.next("fail");
    assert.equal(fail["jobs"][0].error.message, "no");
    peer.ok(fail, { state: "FAILED" });
    await stopped;
});

test(
    "a function that does not stop is given back; what it returns is not told",
    BOUND,
    async (t) => {
        const { client, peer } = await pair(t);
        const [began, end] = [new Deferred<RunningJob>(), new Deferred<void>()];
        const running = client.run({ a: (job) => (began.resolve(job), end.promise) });
        await taken(peer);
        const runner = await running;
        peer.say({ t: "claims", claims: [claim(1)] });
        await began.promise;
        const stopped = runner.stop();
        await taken(peer, 0);
        const release = await peer.next("release");
        assert.deepEqual(release["claims"], [{ job: "job-1", token: token(1) }]);
        peer.ok(release, { state: "QUEUED" });
        await stopped;
        const ended = once(client, "ended");
        end.resolve();
        assert.deepEqual(await ended, ["job-1", "released"]);
        assert.deepEqual(peer.unread, []);
    },
);

test("a revoked job is not given back", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const { run, began } = hold();
    const end = new Deferred<void>();
    const running = client.run({ a: (job) => run(job).catch(() => end.promise) });
    await taken(peer);
    const runner = await running;
    peer.say({ t: "claims", claims: [claim(1)] });
    const job = await began;
    peer.say({ t: "revoke", claims: [{ job: "job-1", token: token(1), reason: "timeout" }] });
    await once(job.signal, "abort");
    const stopped = runner.stop();
    await taken(peer, 0);
    await stopped;
    assert.deepEqual(peer.unread, []);
    end.resolve();
});

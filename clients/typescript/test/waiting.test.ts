import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import type { RunningJob } from "../src/index.js";
import { Deferred } from "./deferred.js";
import { BOUND, pair, read } from "./pair.js";
import { claim, token } from "./records.js";
import { taken } from "./running.js";

const revocation = (of: number) => ({ job: `job-${of}`, token: token(of), reason: "timeout" });

/** Jobs that run until the test lets them end. */
function tasks() {
    const begun: RunningJob[] = [];
    const ends = new Map<string, Deferred<void>>();
    const run = (job: RunningJob) => {
        begun.push(job);
        const end = new Deferred<void>();
        ends.set(job.id, end);
        return end.promise;
    };
    const names = () => begun.map(({ id }) => id);
    return { run, begun, names, end: (of: number) => ends.get(`job-${of}`)!.resolve() };
}

test("claims that come before there is a runner wait for it", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const { run, begun, end } = tasks();
    peer.say({ t: "claims", claims: [1, 2, 3].map((of) => claim(of)) });
    peer.say({ t: "claims", claims: [claim(4, { type: "nobody's" })] });
    peer.say({ t: "revoke", claims: [revocation(2)] });
    const told = { job: "job-3", token: token(3), grace_ms: 70, why: "wrong" };
    peer.say({ t: "cancelling", claims: [told] });
    await read(client, peer);
    const running = client.run({ a: run });
    await taken(peer);
    await running;
    assert.deepEqual(
        begun.map(({ id, signal }) => [id, signal.reason?.how]),
        [
            ["job-1", undefined],
            ["job-3", "cancelled"],
        ],
    );
    const release = await peer.next("release");
    assert.deepEqual(release["claims"], [{ job: "job-4", token: token(4) }]);
    end(1);
    end(3);
});

test("claims that wait are forgotten with their connection", BOUND, async (t) => {
    const { client, peer, broker } = await pair(t);
    const { run, names, end } = tasks();
    peer.say({ t: "claims", claims: [claim(1), claim(2)] });
    await read(client, peer);
    peer.socket.destroy();
    const later = await broker.peer();
    await later.greet({ resumed: true });
    later.say({ t: "claims", claims: [claim(2)] });
    await read(client, later);
    const running = client.run({ a: run });
    await taken(later);
    await running;
    assert.deepEqual(names(), ["job-2"]);
    end(2);
});

test("claims beyond the credit, or beyond what their type may have, wait", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const { run, names, end } = tasks();
    const running = client.run({ a: { run, atMost: 1 }, b: run }, { credit: 2 });
    await taken(peer, 2);
    const runner = await running;
    const claims = [1, 2, 3, 4].map((of) => claim(of, { type: of < 3 ? "a" : "b" }));
    peer.say({ t: "claims", claims });
    await read(client, peer);
    assert.deepEqual(names(), ["job-1", "job-3"]);
    assert.equal(runner.running, 2);
    const ended = once(client, "ended");
    end(3);
    peer.ok(await peer.next("complete"), { state: "COMPLETE" });
    await ended;
    assert.deepEqual(names(), ["job-1", "job-3", "job-4"]);
    // The revoked one never begins, and its neighbour does when there is room.
    peer.say({ t: "claims", claims: [claim(5, { type: "b" })] });
    peer.say({ t: "revoke", claims: [revocation(2)] });
    await read(client, peer);
    end(1);
    peer.ok(await peer.next("complete"), { state: "COMPLETE" });
    end(4);
    peer.ok(await peer.next("complete"), { state: "COMPLETE" });
    await read(client, peer);
    assert.deepEqual(names(), ["job-1", "job-3", "job-4", "job-5"]);
    end(5);
});

test("a runner that stops gives back what waits", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const { run, end } = tasks();
    const running = client.run({ a: run }, { credit: 1 });
    await taken(peer, 1);
    await running;
    peer.say({ t: "claims", claims: [claim(1), claim(2)] });
    await read(client, peer);
    const closing = client.close();
    await taken(peer, 0);
    const release = await peer.next("release");
    assert.deepEqual(release["claims"], [{ job: "job-2", token: token(2) }]);
    peer.ok(release, { state: "QUEUED" });
    end(1);
    peer.ok(await peer.next("complete"), { state: "COMPLETE" });
    peer.ok(await peer.next("bye"), {});
    await closing;
});

test("a client without a runner gives its claims back before bye", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    peer.say({ t: "claims", claims: [claim(1)] });
    await read(client, peer);
    const closing = client.close();
    peer.ok(await peer.next("release"), { state: "QUEUED" });
    peer.ok(await peer.next("bye"), {});
    await closing;
});

test("of claims that nobody asked for only so many wait", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const claims = Array.from({ length: 1_001 }, (_, at) => {
        const own = new Uint8Array(16);
        new DataView(own.buffer).setUint32(0, at);
        return { ...claim(0), job: `job-${at}`, token: own };
    });
    peer.say({ t: "claims", claims });
    const release = await peer.next("release");
    assert.deepEqual(
        release["claims"].map(({ job }: { job: string }) => job),
        ["job-1000"],
    );
    await client.close({ bye: false });
});

import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { test } from "node:test";

import type { Outcome } from "../src/index.js";
import { BOUND, pair } from "./pair.js";
import { outcome } from "./records.js";

test(
    "who waits for a job becomes its handler, gets the outcome and has handled it",
    BOUND,
    async (t) => {
        const { client, peer } = await pair(t);
        const waiting = client.wait("job-1");
        const handle = await peer.next("handle");
        assert.deepEqual(handle["jobs"], ["job-1"]);
        peer.say({ t: "outcomes", outcomes: [outcome("job-1")] });
        peer.ok(handle, { state: "COMPLETE" });
        assert.deepEqual((await waiting).result, new Uint8Array([1]));
        const handled = await peer.next("handled");
        assert.deepEqual([handled["jobs"], handled["group"]], [["job-1"], undefined]);
        peer.ok(handled, {});
    },
);

test("an outcome that came before anybody waited is kept for who does", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    const asked = client.get("fence");
    const { id } = await peer.next("get");
    peer.say({ t: "outcomes", outcomes: [outcome("job-1")] });
    peer.say({ t: "ok", id, results: [{ problem: { code: "not_found", message: "no" } }] });
    await assert.rejects(asked);
    assert.equal((await client.wait("job-1")).version, 3);
    peer.ok(await peer.next("handled"), {});
});

test(
    "a job that is not there, is removed, or takes too long is not waited for",
    BOUND,
    async (t) => {
        const { client, peer } = await pair(t);
        const unknown = client.wait("job-1");
        peer.ok(await peer.next("handle"), {
            problem: { code: "not_found", message: "no such job" },
        });
        await assert.rejects(unknown, { code: "not_found" });
        const removed = client.wait("job-2");
        peer.ok(await peer.next("handle"), { state: "QUEUED" });
        peer.say({ t: "events", events: [{ job: "job-2", version: 9, removed: true }] });
        await assert.rejects(removed, { code: "not_found" });
        await assert.rejects(client.wait("job-3", { timeoutMs: 1 }), { code: "timeout" });
    },
);

test(
    "a handler joins its groups, also after a lost connection, and answers for them",
    BOUND,
    async (t) => {
        const { client, peer, broker } = await pair(t);
        const seen: Outcome[] = [];
        const handling = client.handleOutcomes((found) => void seen.push(found), {
            groups: ["mail"],
        });
        const join = await peer.next("join");
        assert.deepEqual(join["groups"], ["mail"]);
        peer.ok(join, {});
        await handling;
        peer.say({
            t: "outcomes",
            outcomes: [outcome("job-1", { group: "mail" }), outcome("job-1")],
        });
        const [forGroup, own] = [await peer.next("handled"), await peer.next("handled")];
        assert.deepEqual([forGroup["group"], own["group"]], ["mail", undefined]);
        peer.socket.destroy();
        const later = await broker.peer();
        await later.greet({ resumed: true });
        // Not answered before: it comes again, and is no news, though another handler has left.
        const grown = outcome("job-1", { group: "mail", version: 4 });
        later.say({ t: "outcomes", outcomes: [grown] });
        const again = [await later.next("handled"), await later.next("handled")];
        later.ok(await later.next("join"), {});
        assert.deepEqual(again.map(({ group }) => group).sort(), ["mail", undefined]);
        assert.equal(seen.length, 2);
        for (const said of again) later.ok(said, {});
    },
);

test("an outcome whose function throws is not handled", BOUND, async (t) => {
    const { client, peer } = await pair(t);
    await client.handleOutcomes(() => {
        throw new Error("not now");
    });
    const unhandled = once(client, "unhandled");
    peer.say({ t: "outcomes", outcomes: [outcome("job-1")] });
    assert.equal((await unhandled)[0].message, "not now");
    assert.deepEqual(peer.unread, []);
});

test("a registration that was lost: who waits becomes a handler once more", BOUND, async (t) => {
    const { client, peer, broker } = await pair(t);
    const waiting = client.wait("job-1");
    peer.ok(await peer.next("handle"), { state: "QUEUED" });
    peer.socket.destroy();
    const later = await broker.peer();
    await later.greet({ resumed: false });
    later.ok(await later.next("handle"), { state: "COMPLETE" });
    later.say({ t: "outcomes", outcomes: [outcome("job-1")] });
    await waiting;
    later.ok(await later.next("handled"), {});
});

test("what is watched is watched again, and its state told", BOUND, async (t) => {
    const { client, peer, broker } = await pair(t);
    const news = new EventEmitter();
    const watching = client.watch(["job-1", "job-2"], (event) => news.emit(event.state!, event));
    const gone = { problem: { code: "not_found", message: "no" } };
    peer.ok(await peer.next("watch"), { state: "QUEUED", version: 1 }, gone);
    assert.equal((await watching).length, 2);
    const started = once(news, "STARTED");
    peer.say({ t: "events", events: [{ job: "job-1", version: 2, state: "STARTED" }] });
    await started;
    peer.socket.end();
    const later = await broker.peer();
    await later.greet({ resumed: true });
    const again = await later.next("watch");
    assert.deepEqual(again["jobs"], ["job-1"]);
    const complete = once(news, "COMPLETE");
    later.ok(again, { state: "COMPLETE", version: 3 });
    await complete;
    const unwatching = client.unwatch(["job-1"]);
    later.ok(await later.next("unwatch"), {});
    await unwatching;
});

test(
    "in a crowd of outcomes that nobody asked for, the one that is waited for is fetched",
    BOUND,
    async (t) => {
        const { client, peer } = await pair(t);
        const crowd = Array.from({ length: 200 }, (_, at) => outcome(`other-${at}`));
        peer.say({ t: "outcomes", outcomes: crowd });
        const waiting = client.wait("job-1");
        peer.ok(await peer.next("handle"), { state: "COMPLETE" });
        const view = { id: "job-1", type: "a", state: "COMPLETE", version: 4, current_attempt: 2 };
        peer.ok(await peer.next("get"), { ...view, result: new Uint8Array([8]) });
        const { result, attempt } = await waiting;
        assert.deepEqual([result, attempt], [new Uint8Array([8]), 2]);
        const handled = await peer.next("handled");
        assert.deepEqual(handled["jobs"], ["job-1"]);
        peer.ok(handled, {});
    },
);

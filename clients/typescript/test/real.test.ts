import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test, type TestContext } from "node:test";

import { type Client, connect, type JobEvent, type RunningJob } from "../src/index.js";
import { Broker } from "./broker.js";
import { Deferred } from "./deferred.js";

const BOUND = { timeout: 60_000 };

let broker: Broker;
let client: Client;

before(async () => {
    broker = await Broker.start();
    client = await connect(broker.url);
}, BOUND);

after(async () => {
    await client.close();
    await broker.stop();
}, BOUND);

/** A client that is closed with its test, however that ends. */
async function opened(t: TestContext, ...how: Parameters<typeof connect>): Promise<Client> {
    const other = await connect(...how);
    t.after(() => other.close());
    return other;
}

/** Another client, as long as `use` takes. */
async function another<T>(use: (other: Client) => Promise<T>): Promise<T> {
    const other = await connect(broker.socketUrl);
    try {
        return await use(other);
    } finally {
        await other.close();
    }
}

const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes!).toString();

test("jobs of several types are created, run, and their outcomes handled", BOUND, async () => {
    await another(async (other) => {
        const runner = await other.run(
            {
                up: (job) => text(job.payload).toUpperCase(),
                size: { run: (job) => `${job.payload.length}`, atMost: 2 },
            },
            { credit: 20 },
        );
        const created = await Promise.all(
            Array.from({ length: 500 }, (_, at) => {
                return client.create(
                    { type: at % 2 ? "up" : "size", payload: `payload ${at}` },
                    { handle: true },
                );
            }),
        );
        const outcomes = await Promise.all(created.map(({ job }) => client.wait(job)));
        assert.equal(text(outcomes[499]!.result), "PAYLOAD 499");
        assert.equal(text(outcomes[0]!.result), "9");
        await runner.drain();
    });
});

test(
    "a create with a chosen id is repeatable, with other content it is a conflict",
    BOUND,
    async () => {
        const job = {
            type: "nobody",
            id: "chosen-1",
            payload: new Uint8Array([0, 255]),
            labels: ["x"],
        };
        assert.equal((await client.create(job)).existed, false);
        assert.equal((await client.create(job)).existed, true);
        await assert.rejects(client.create({ ...job, priority: 5 }), {
            code: "conflict",
            details: { state: "QUEUED" },
        });
        assert.deepEqual((await client.get("chosen-1")).payload, job.payload);
        const listed = [];
        for await (const found of client.list({ label: "x", limit: 1 })) listed.push(found.id);
        assert.deepEqual(listed, ["chosen-1"]);
        assert.equal((await client.cancel("chosen-1", { why: "enough" })).state, "FAILED");
    },
);

test("more jobs are created than one request may hold", BOUND, async () => {
    const entries = await client.createMany(
        Array.from({ length: 12_000 }, (_, at) => ({ type: "many", id: `many-${at}` })),
    );
    assert.deepEqual(entries.at(-1), { job: "many-11999", state: "QUEUED", existed: false });
});

test("progress and log are read, and watched", BOUND, async () => {
    await another(async (other) => {
        const { job } = await client.create({ type: "report", persistent: true }, { handle: true });
        const seen: JobEvent[] = [];
        const watched = await client.watch([job], (event) => seen.push(event));
        assert.equal("state" in watched[0]! && watched[0].state, "QUEUED");
        await other.run({
            async report(running) {
                await running.log("first", "second \u2713");
                await running.progress(40, "half");
            },
        });
        await client.wait(job);
        const lines = [];
        for await (const { type, message, percent } of client.logs(job))
            lines.push([type, message, percent]);
        assert.deepEqual(lines, [
            ["log", "first", undefined],
            ["log", "second \u2713", undefined],
            ["progress", "half", 40],
        ]);
        assert.deepEqual((await client.get(job)).progress, { percent: 40, text: "half" });
        assert.ok(seen.some(({ state }) => state === "STARTED"));
        await client.unwatch([job]);
        await client.request("remove", { jobs: [job] });
    });
});

test("a cancelled job is stopped, and its outcome says so", BOUND, async () => {
    await another(async (other) => {
        const began = new Deferred<RunningJob>();
        await other.run({
            async hold(job) {
                began.resolve(job);
                await once(job.signal, "abort");
                throw job.signal.reason;
            },
        });
        const { job } = await client.create({ type: "hold", attempts: 3 }, { handle: true });
        await began.promise;
        await client.cancel(job, { graceMs: 60_000, why: "wrong" });
        const { state, reason, error } = await client.wait(job);
        assert.deepEqual([state, reason, error?.message], ["FAILED", "CANCELLED", "wrong"]);
    });
});

test("a group's outcomes go to a member of it", BOUND, async () => {
    await another(async (other) => {
        const handled = new Deferred<string>();
        await other.handleOutcomes(({ job, group }) => handled.resolve(`${job} ${group}`), {
            groups: ["mail"],
        });
        await other.run({ sent: () => undefined });
        const { job } = await client.create({ type: "sent", id: "mail-1" }, { group: "mail" });
        assert.equal(await handled.promise, `${job} mail`);
    });
});

test("a client that comes back with its secret has its claims", BOUND, async (t) => {
    const first = await opened(t, broker.url);
    const began = new Deferred<void>();
    await first.run({ kept: () => (began.resolve(), new Promise<void>(() => undefined)) });
    const { job } = await client.create({ type: "kept" }, { handle: true });
    await began.promise;
    const { id, secret } = first;
    await first.close({ bye: false });
    const second = await opened(t, broker.url, { client: id, secret });
    assert.equal(second.welcome.resumed, true);
    await second.run({ kept: ({ attempt }) => `attempt ${attempt}` });
    assert.equal(text((await client.wait(job)).result), "attempt 1");
});

test("two clients of one id: the newer one wins", BOUND, async (t) => {
    const older = await opened(t, broker.url);
    const closed = once(older, "closed");
    await opened(t, broker.url, { client: older.id, secret: older.secret });
    assert.equal((await closed)[0].code, "superseded");
});

test("every other request can be asked", BOUND, async () => {
    const [info] = await client.request("info", {});
    assert.equal("broker" in info! && info.broker, client.welcome.broker);
    await client.request("configure", { types: [{ type: "quiet", paused: true }], why: "a test" });
    const { job } = await client.create({ type: "quiet" });
    const [why] = await client.request("why", { jobs: [job] });
    assert.ok("causes" in why! && why.causes.some(({ code }) => code === "paused"));
    const [types] = await client.request("types", { types: ["quiet"] });
    assert.equal("types" in types! && types.types[0]!.counts.QUEUED, 1);
    assert.deepEqual(await client.request("remove", { jobs: [job, "never"] }), [
        {},
        { problem: { code: "not_found", message: "there is no such job", retryable: false } },
    ]);
});

test("a broker that is killed while jobs run loses none of them", BOUND, async (t) => {
    const mortal = await Broker.start();
    t.after(() => mortal.stop());
    const producer = await opened(t, mortal.socketUrl);
    const runner = await opened(t, mortal.socketUrl);
    const ran = new Set<string>();
    const half = new Deferred<void>();
    await runner.run(
        {
            async slow(job) {
                await job.log("begun");
                ran.add(job.id);
                if (ran.size === 150) half.resolve();
            },
        },
        { credit: 10 },
    );
    const created = Promise.all(
        Array.from({ length: 300 }, () =>
            producer.create({ type: "slow", attempts: 3 }, { handle: true }),
        ),
    );
    const outcomes = created.then((jobs) => Promise.all(jobs.map(({ job }) => producer.wait(job))));
    await half.promise;
    await mortal.crash();
    assert.ok((await outcomes).every(({ state }) => state === "COMPLETE"));
    assert.equal(ran.size, 300);
});

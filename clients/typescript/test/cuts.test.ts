import assert from "node:assert/strict";
import { once } from "node:events";
import * as net from "node:net";
import { test, type TestContext } from "node:test";

import { connect } from "../src/index.js";
import { Broker } from "./broker.js";
import { Deferred } from "./deferred.js";

const CUTS = 8;

/** Passes bytes on to the broker, and cuts the connections: each after some more of them. */
async function cutter(t: TestContext, port: number): Promise<{ url: string; cuts: () => number }> {
    let cuts = 0;
    const server = net.createServer((near) => {
        const far = net.connect({ host: "127.0.0.1", port });
        let leftBytes = cuts < CUTS ? 15_000 + 5_000 * cuts : Infinity;
        const pass = (from: net.Socket, to: net.Socket) => {
            from.on("error", () => undefined).on("close", () => to.destroy());
            from.on("data", (chunk) => {
                to.write(chunk.subarray(0, leftBytes));
                leftBytes -= chunk.length;
                if (leftBytes > 0) return;
                cuts += 1;
                near.resetAndDestroy();
            });
        };
        pass(near, far);
        pass(far, near);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    const { port: own } = server.address() as net.AddressInfo;
    return { url: `tcp://127.0.0.1:${own}`, cuts: () => cuts };
}

test(
    "over connections that are cut each job runs once, and its outcome is handled once",
    { timeout: 60_000 },
    async (t) => {
        const broker = await Broker.start();
        t.after(() => broker.stop());
        const { url, cuts } = await cutter(t, Number(new URL(broker.url).port));
        const [producer, worker] = await Promise.all([connect(url), connect(url)]);
        const runs: string[] = [];
        await worker.run(
            {
                async cut(job) {
                    runs.push(job.id);
                    await job.progress(50);
                    return job.payload;
                },
            },
            { credit: 20 },
        );
        const wanted = Array.from({ length: 300 }, (_, at) => `job-${at}`);
        const outcomes: string[] = [];
        const all = new Deferred<void>();
        await producer.handleOutcomes(({ job }) => {
            if (outcomes.push(job) === wanted.length) all.resolve();
        });
        await Promise.all(
            wanted.map((id) => producer.create({ type: "cut", id }, { handle: true })),
        );
        await all.promise;
        await Promise.all([producer.close(), worker.close()]);
        assert.deepEqual(runs.sort(), [...wanted].sort());
        assert.deepEqual(outcomes.sort(), [...wanted].sort());
        assert.ok(cuts() > 3, `${cuts()} cuts`);
    },
);

import assert from "node:assert/strict";
import { test } from "node:test";

import { BOUND, pair, read } from "./pair.js";
import { outcome } from "./records.js";

test("an outcome that overtakes the answer to its create waits for it", BOUND, async (t) => {
    const { client, peer, broker } = await pair(t);
    const seen: string[] = [];
    await client.handleOutcomes(({ job }) => void seen.push(job));
    const creating = client.create({ type: "a", id: "job-1" }, { handle: true });
    await peer.next("create");
    peer.say({ t: "outcomes", outcomes: [outcome("job-1"), outcome("job-2")] });
    await read(client, peer);
    assert.deepEqual(seen, ["job-2"]);
    assert.deepEqual((await peer.next("handled"))["jobs"], ["job-2"]);
    peer.socket.destroy();
    const later = await broker.peer();
    await later.greet({ resumed: true });
    later.say({ t: "outcomes", outcomes: [outcome("job-1")] });
    const again = await later.next("create");
    later.ok(await later.next("handled"), {});
    await read(client, later);
    assert.deepEqual(seen, ["job-2"]);
    later.ok(again, { job: "job-1", state: "COMPLETE", existed: true });
    assert.equal((await creating).existed, true);
    later.ok(await later.next("handled"), {});
    await read(client, later);
    assert.deepEqual(seen, ["job-2", "job-1"]);
});

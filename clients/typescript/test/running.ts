import assert from "node:assert/strict";
import { once } from "node:events";

import type { RunningJob } from "../src/index.js";
import type { Peer } from "./scripted.js";

/** Answers the next take. */
export async function taken(peer: Peer, credit = 10): Promise<void> {
    const take = await peer.next("take");
    assert.equal(take["credit"], credit);
    peer.ok(take, {});
}

/** A function that runs until it is told to stop. */
export function hold(): { run: (job: RunningJob) => Promise<void>; began: Promise<RunningJob> } {
    let begin: (job: RunningJob) => void;
    const began = new Promise<RunningJob>((resolve) => (begin = resolve));
    const run = async (job: RunningJob) => {
        begin(job);
        await once(job.signal, "abort");
        throw job.signal.reason;
    };
    return { run, began };
}

import assert from "node:assert/strict";
import { once } from "node:events";

import type { RunningJob } from "../src/index.js";
import type { Peer } from "./scripted.js";

export const token = (of: number) => new Uint8Array(16).fill(of);
export const claim = (of: number, changes: object = {}) => {
    return { job: `job-${of}`, token: token(of), fence: 1, type: "a", attempt: 1, ...changes };
};

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

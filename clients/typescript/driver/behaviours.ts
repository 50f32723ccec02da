import { once } from "node:events";

import { Fail, type JobFunction } from "../src/index.js";

const failing =
    (retry: boolean): JobFunction =>
    (job) => {
        throw new Fail(Buffer.from(job.payload).toString(), { type: "DriverError", retry });
    };

/** What a job's function does, by the name that a test gives it. */
export const BEHAVIOURS: Record<string, JobFunction> = {
    echo: (job) => job.payload,
    reverse: (job) => job.payload.toReversed(),
    async report(job) {
        await job.progress(0, "begin");
        await job.log("first");
        await job.progress(50, "half");
        await job.log("second \u2713");
        await job.progress(100, "end");
        return job.payload;
    },
    fail: failing(true),
    fail_for_good: failing(false),
    async hold(job) {
        if (!job.signal.aborted) await once(job.signal, "abort");
        throw job.signal.reason;
    },
};

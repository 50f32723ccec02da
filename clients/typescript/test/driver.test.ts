import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { Broker } from "./broker.js";

const DRIVER = fileURLToPath(new URL("../driver/driver.js", import.meta.url));
const base64 = (text: string) => Buffer.from(text).toString("base64");

test("the driver does what it is told, and ends with its input", { timeout: 60_000 }, async (t) => {
    const broker = await Broker.start();
    t.after(() => broker.stop());
    const child = spawn(process.execPath, [DRIVER], { stdio: ["pipe", "pipe", "inherit"] });
    t.after(() => child.kill());
    const exited = once(child, "exit");
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const events: any[] = [];
    let last = 0;
    const ask = async (what: string, told: object = {}): Promise<any> => {
        child.stdin.write(`${JSON.stringify({ id: ++last, do: what, ...told })}\n`);
        for (;;) {
            const line = JSON.parse((await lines.next()).value);
            if (line.id === last) return line.ok ?? line.error;
            events.push(line);
        }
    };
    assert.equal((await ask("get", { jobs: ["a"] })).code, "closed");
    assert.equal((await ask("juggle")).code, "unsupported");
    assert.equal((await ask("connect", { url: broker.url, timeout_ms: 20_000 })).resumed, false);
    const how = { a: "reverse", b: "report", c: "fail_for_good", d: "hold" };
    await ask("run", { types: { a: 2, b: 2, c: 2, d: 2 }, credit: 4, how });
    const jobs = ["a", "b", "c", "d"].map((type) => ({
        type,
        payload: base64("abc"),
        persistent: true,
    }));
    const created = (await ask("create", { jobs, handle: true })).jobs.map(({ job }: any) => job);
    assert.equal((await ask("wait", { job: created[0] })).result, base64("cba"));
    assert.equal((await ask("wait", { job: created[1] })).state, "COMPLETE");
    const { error } = await ask("wait", { job: created[2] });
    assert.deepEqual([error.type, error.message], ["DriverError", "abc"]);
    assert.deepEqual(await ask("watch", { jobs: [created[3]] }), {});
    await ask("cancel", { job: created[3], why: "enough" });
    assert.equal((await ask("wait", { job: created[3] })).reason, "CANCELLED");
    const { entries } = await ask("logs", { job: created[1] });
    assert.deepEqual(
        entries.map(({ message }: any) => message),
        ["begin", "first", "half", "second \u2713", "end"],
    );
    const [got, none] = (await ask("get", { jobs: [created[0], "none"] })).jobs;
    assert.deepEqual([got.payload, none.problem.code], [base64("abc"), "not_found"]);
    const counted = await ask("request", { message: { t: "counts", types: ["a"] } });
    assert.deepEqual(counted.results[0].types.a.COMPLETE, 1);
    assert.deepEqual(await ask("drain"), {});
    const ended = events.filter(({ event }) => event === "ended").map(({ how }) => how);
    assert.deepEqual(ended.sort(), ["cancelled", "complete", "complete", "failed"]);
    child.stdin.end();
    assert.deepEqual(await exited, [0, null]);
});

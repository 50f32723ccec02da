import assert from "node:assert/strict";
import { test } from "node:test";

import { addresses } from "../src/address.js";
import { connect, Disconnected } from "../src/index.js";

test("addresses are written as for the other clients, and `tls` for TLS", () => {
    const plain = { port: 7225, encrypted: false };
    for (const [url, found] of [
        ["tcp://broker", { ...plain, host: "broker" }],
        ["broker:80", { ...plain, host: "broker", port: 80 }],
        ["tcp://[::1]:80/", { ...plain, host: "::1", port: 80 }],
        ["tls://broker", { ...plain, host: "broker", encrypted: true }],
        ["unix:///run/broker.sock", { path: "/run/broker.sock" }],
    ] as const)
        assert.deepEqual(addresses(url), [found]);
    assert.equal(addresses("a, b:1 ,unix:///c").length, 3);
});

test("without an address PACKHORSE_URL is taken, else this machine's", () => {
    delete process.env["PACKHORSE_URL"];
    assert.deepEqual(addresses(), [{ host: "127.0.0.1", port: 7225, encrypted: false }]);
    process.env["PACKHORSE_URL"] = "elsewhere:1";
    assert.deepEqual(addresses(), [{ host: "elsewhere", port: 1, encrypted: false }]);
    delete process.env["PACKHORSE_URL"];
});

test("what is no address, or no identity, is refused before anybody is called", async () => {
    for (const url of ["", "http://a", "unix://a", "::1", "a:0", "a:65536", "a b", "a/b"])
        await assert.rejects(connect(url), { code: "invalid" }, url);
    for (const options of [{ client: "" }, { timeoutMs: 1.5 }, { secret: new Uint8Array(3) }])
        await assert.rejects(connect("127.0.0.1:1", options), { code: "invalid" });
});

test("a client that reaches no broker says where it looked, and how one is started", async () => {
    const urls = ["tcp://127.0.0.1:1", "tcp://[::1]:1", "unix:///nowhere/broker.sock"];
    const failed = await connect(urls.join(",")).catch((error) => error);
    assert.ok(failed instanceof Disconnected);
    for (const url of urls) assert.ok(failed.message.includes(url), failed.message);
    assert.match(failed.message, /ENOENT.*`packhorse serve`/);
    assert.match(failed.stack!, /address\.test\.js/);
});

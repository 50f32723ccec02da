import assert from "node:assert/strict";
import type { TestContext } from "node:test";

import { type Client, connect, type SessionOptions } from "../src/index.js";
import { type Peer, Scripted } from "./scripted.js";

/** Every test ends. */
export const BOUND = { timeout: 20_000 };

/** A client, and the broker's side of its connection. */
export async function pair(
    t: TestContext,
    welcome: object = {},
    options: SessionOptions = {},
): Promise<{ client: Client; peer: Peer; broker: Scripted }> {
    const broker = await Scripted.start();
    const connecting = connect(broker.url, options);
    const peer = await broker.peer();
    await peer.greet(welcome);
    const client = await connecting;
    t.after(async () => {
        await client.close({ bye: false });
        broker.stop();
    });
    return { client, peer, broker };
}

/** Resolves when the client has read all that was said to it. */
export async function read(client: Client, peer: Peer): Promise<void> {
    const asked = client.get("fence");
    peer.ok(await peer.next("get"), { problem: { code: "not_found", message: "no" } });
    await assert.rejects(asked, { code: "not_found" });
}

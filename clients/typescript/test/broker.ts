import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const FOUND = fileURLToPath(new URL("../../../../.venv/bin/packhorse", import.meta.url));

/** A real broker with an embedded store of its own, on a free port and a Unix socket. */
export class Broker {
  private constructor(
    readonly url: string,
    readonly socketUrl: string,
    readonly process: ChildProcess,
    readonly folder: string,
  ) {}

  static async start(): Promise<Broker> {
    const folder = await mkdtemp(join(tmpdir(), "packhorse-ts-"));
    const socketUrl = `unix://${folder}/broker.sock`;
    const command = process.env["PACKHORSE_BIN"] ?? FOUND;
    const args = ["serve", "--listen", `tcp://127.0.0.1:0,${socketUrl}`, "--data-dir", `${folder}/data`];
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
    let url = "";
    for await (const line of createInterface(child.stdout!)) {
      url = /broker (tcp:\/\/\S+)/.exec(line)?.[1] ?? url;
      if (line.startsWith("ready")) break;
    }
    child.stdout!.resume();
    return new Broker(url, socketUrl, child, folder);
  }

  async stop(): Promise<void> {
    if (this.process.exitCode === null) {
      this.process.kill("SIGTERM");
      await once(this.process, "exit");
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}

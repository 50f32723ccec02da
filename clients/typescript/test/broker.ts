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
        readonly folder: string,
        public process: ChildProcess,
        public url: string,
    ) {}

    static async start(): Promise<Broker> {
        const folder = await mkdtemp(join(tmpdir(), "packhorse-ts-"));
        return new Broker(folder, ...(await serve(folder)));
    }

    get socketUrl(): string {
        return socketIn(this.folder);
    }

    /** Kills it, and starts another one with its data: at the same socket, but another port. */
    async crash(): Promise<void> {
        await this.#end("SIGKILL");
        [this.process, this.url] = await serve(this.folder);
    }

    async stop(): Promise<void> {
        await this.#end("SIGTERM");
        await rm(this.folder, { recursive: true, force: true });
    }

    async #end(signal: NodeJS.Signals): Promise<void> {
        const { process } = this;
        if (process.exitCode !== null || process.signalCode !== null) return;
        process.kill(signal);
        await once(process, "exit");
    }
}

function socketIn(folder: string): string {
    return `unix://${folder}/broker.sock`;
}

async function serve(folder: string): Promise<[ChildProcess, string]> {
    // The broker takes each PACKHORSE_ variable for a setting of its own.
    const { PACKHORSE_BIN: command = FOUND, ...env } = process.env;
    const listen = ["--listen", `tcp://127.0.0.1:0,${socketIn(folder)}`];
    const args = ["serve", ...listen, "--data-dir", `${folder}/data`, "--log-level", "error"];
    const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "inherit"] });
    let url = "";
    for await (const line of createInterface(child.stdout!)) {
        url = /broker (tcp:\/\/\S+)/.exec(line)?.[1] ?? url;
        if (line.startsWith("ready")) break;
    }
    child.stdout!.resume();
    return [child, url];
}

// Does what a test tells it, line by line, with the public API: see the driver's contract.
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";

import {
    type Client,
    type CreateOptions,
    connect,
    isProblem,
    type JobFunction,
    PackhorseError,
    Refused,
    type Runner,
} from "../src/index.js";
import { BEHAVIOURS } from "./behaviours.js";
import { readable, say, wire } from "./lines.js";

type Instruction = { id: number; do: string } & Record<string, unknown>;

let client: Client | undefined;
let runner: Runner | undefined;
let closing = false;

function open(): Client {
    if (!client) throw new PackhorseError("closed", "there is no connection");
    return client;
}

function tell(told: Client): void {
    told.on("ended", (job, how) => say({ event: "ended", job, how }));
    told.on("disconnected", () => say({ event: "disconnected" }));
    told.on("connected", (resumed) => say({ event: "connected", resumed }));
    told.on("draining", () => say({ event: "draining" }));
    told.on("closed", ({ code }) => {
        if (!closing) say({ event: "closed", code });
    });
}

function announced(run: JobFunction): JobFunction {
    return (job) => {
        say({ event: "running", job: job.id, type: job.type, attempt: job.attempt });
        return run(job);
    };
}

const DOES: Record<string, (told: any) => Promise<object>> = {
    async connect({ url, client: id, secret, timeout_ms, connect_timeout_ms, ca_file }) {
        client = await connect(url, {
            client: id,
            secret: secret && Buffer.from(secret, "base64"),
            timeoutMs: timeout_ms,
            connectTimeoutMs: connect_timeout_ms,
            tls: ca_file && { ca: readFileSync(ca_file) },
        });
        tell(client);
        return { client: client.id, secret: client.secret, resumed: client.welcome.resumed };
    },
    async create({ jobs, handle, group }) {
        return { jobs: await open().createMany(wire(jobs), { handle, group } as CreateOptions) };
    },
    async run({ types, credit, how }) {
        const terms = Object.entries(types as Record<string, number>).map(([type, atMost]) => {
            const run = BEHAVIOURS[how[type]];
            if (!run) throw new PackhorseError("unsupported", `no behaviour ${how[type]}`);
            return [type, { run: announced(run), atMost }] as const;
        });
        runner = await open().run(Object.fromEntries(terms), { credit });
        return {};
    },
    async handle_outcomes({ groups }) {
        await open().handleOutcomes((outcome) => say({ event: "outcome", outcome }), { groups });
        return {};
    },
    wait: ({ job }) => open().wait(job),
    async get({ jobs }) {
        return { jobs: await open().request("get", { jobs }) };
    },
    async logs({ job }) {
        const entries = [];
        for await (const entry of open().logs(job)) entries.push(entry);
        return { entries };
    },
    async cancel({ job, grace_ms, why }) {
        const { state } = await open().cancel(job, { graceMs: grace_ms, why });
        return { state };
    },
    async watch({ jobs }) {
        const entries = await open().watch(jobs, (news) => say({ event: "news", news }));
        const refused = entries.find(isProblem);
        if (refused) throw new Refused(refused.problem);
        return {};
    },
    async drain() {
        await runner?.drain();
        return {};
    },
    async request({ message: { t, ...fields } }) {
        return { results: await open().request(t, wire(fields)) };
    },
    async close() {
        closing = true;
        await client?.close();
        return {};
    },
};

async function obey({ id, do: what, ...told }: Instruction): Promise<void> {
    try {
        const act = Object.hasOwn(DOES, what) ? DOES[what] : undefined;
        if (!act) throw new PackhorseError("unsupported", `${what} is not known`);
        say({ id, ok: readable(await act(told)) });
    } catch (error) {
        const { code = "invalid", message, retryable = false } = error as PackhorseError;
        say({ id, error: { code, message, retryable } });
    }
}

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => void obey(JSON.parse(line)));
lines.on("close", () => {
    closing = true;
    void client?.close();
});

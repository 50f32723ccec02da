// Runs jobs until Ctrl-C or SIGTERM, then lets them end: node dist/examples/runner.js
import { connect, Fail } from "packhorse";

const client = await connect();
const runner = await client.run(
    {
        async square(job) {
            const number = Number(Buffer.from(job.payload).toString());
            if (Number.isNaN(number)) throw new Fail("that is no number", { retry: false });
            await job.log(`squaring ${number}`);
            // What takes long is given `job.signal`: it is aborted when the job is to stop.
            await job.progress(100, "done");
            return String(number * number);
        },
    },
    { credit: 5 },
);
client.on("ended", (job, how) => console.log(job, how));
console.log(`${client.id} takes jobs; stop it with Ctrl-C`);

for (const signal of ["SIGINT", "SIGTERM"])
    process.once(signal, async () => {
        await runner.stop({ graceMs: 10_000 });
        await client.close();
    });

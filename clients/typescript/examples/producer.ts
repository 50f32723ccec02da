// Creates ten jobs at once and waits for their results: node dist/examples/producer.js
import { connect } from "packhorse";

const client = await connect();
const numbers = Array.from({ length: 10 }, (_, at) => at + 1);
const created = await Promise.all(
    numbers.map((number) => {
        return client.create(
            { type: "square", payload: String(number), attempts: 3 },
            { handle: true },
        );
    }),
);
for (const { job } of created) {
    const { state, result, error } = await client.wait(job);
    console.log(job, state, result ? Buffer.from(result).toString() : error?.message);
}
await client.close();

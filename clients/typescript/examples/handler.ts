// Handles outcomes as a member of a group, until Ctrl-C: node dist/examples/handler.js
import { connect } from "packhorse";

const client = await connect();
await client.handleOutcomes(
    // When this has returned the outcome is handled; if it throws, it comes again.
    ({ job, state, result, reason }) => {
        console.log(job, state, result ? Buffer.from(result).toString() : reason);
    },
    { groups: ["squares"] },
);
const { job } = await client.create({ type: "square", payload: "12" }, { group: "squares" });
console.log(`created ${job}; its outcome goes to one member of the group`);

process.once("SIGINT", () => void client.close());

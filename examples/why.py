"""Why does this job not run?

Prints:

    no_runner: no connected runner takes the type 'fax'
    paused: the type 'fax' is paused, by 'ops': no paper
    no_runner: no connected runner takes the type 'fax'
    behind: 1 job is before it in the queue of 'fax'
    delayed: it is delayed: due in ...
    retry_wait: it is tried again in ..., at ...: attempt 1 of 2 failed (ZeroDivisionError: ...)
"""

import asyncio

from packhorse import Client, Worker
from packhorse_broker.local import LocalBroker


async def explain(client: Client, job_id: str) -> None:
    for cause in (await client.why(job_id)).causes:
        print(f"{cause.code}: {cause.message}")


async def main() -> None:
    async with LocalBroker() as broker, broker.connect(client_id="ops") as client:
        await explain(client, (await client.create("fax")).id)
        await client.pause("fax", why="no paper")
        await explain(client, (await client.create("fax")).id)
        await explain(client, (await client.create("mail", delay="1h")).id)
        worker = Worker(dial=broker.dial, concurrency=1)
        worker.job("mail")(lambda: 1 / 0)
        async with worker:
            job = await client.create("mail", attempts=2, backoff="fixed:1h")
            async for event in job.events():
                if event.state == "PENDING":
                    break
        await explain(client, job.id)


asyncio.run(main())

"""A type that is paused takes jobs and gives out none, until it is resumed.

Prints:

    paused: QUEUED, because the type 'copy' is paused, by 'ops': disk is full
    resumed: done
"""

import asyncio

from packhorse import Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect(client_id="ops") as client:
        worker = Worker(dial=broker.dial)
        worker.job("copy")(lambda: "done")
        await client.pause("copy", why="disk is full")  # until=... resumes it by itself
        job = await client.create("copy", handle=True)
        async with worker:
            found = await job.why()
            print(f"paused: {found.state}, because {found.causes[0].message}")
            await client.resume("copy")
            print("resumed:", await job.result())


asyncio.run(main())

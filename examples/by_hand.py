"""What people do to jobs by hand, and the record of who did it and why.

Prints:

    retried: QUEUED
    retried, all that match: 2 of 2
    run now: QUEUED
    removed: 1 of 1
    ops: remove late, because: not needed
    ops: run_now late, because: it can't wait
"""

import asyncio

from packhorse import NewJob, Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect(client_id="ops") as client:
        worker = Worker(dial=broker.dial)
        worker.job("mail")(lambda: 1 / 0)
        jobs = await client.create_many([NewJob("mail") for _ in range(3)], handle=True)
        async with worker:
            await client.wait(jobs, handled=False)
        print("retried:", await jobs[0].retry(why="the server is back"))
        retried = await client.retry_matching("mail", why="the server is back")
        print(f"retried, all that match: {retried.changed} of {retried.found}")
        late = await client.create("mail", job_id="late", delay="1h", labels=["late"])
        print("run now:", await late.run_now(why="it can't wait"))
        removed = await client.remove_matching("mail", label="late", why="not needed")
        print(f"removed: {removed.changed} of {removed.found}")
        async for action in client.actions(limit=2):  # the newest come first
            print(f"{action.by}: {action.action} {action.job}, because: {action.why}")


asyncio.run(main())

"""Three bounds of a job's time: each wait in the queue, each attempt, and all of it.

Prints:

    idle: FAILED by JOB_TIMEOUT (idle) at attempt 0
    run: FAILED by JOB_TIMEOUT (run) at attempt 2
    total: FAILED by JOB_TIMEOUT (total) at attempt 1
"""

import asyncio

from packhorse import Job, Worker
from packhorse_broker.local import LocalBroker


async def show(name: str, job: Job) -> None:
    outcome = await job.outcome()
    how = f"{outcome.state} by {outcome.reason} ({outcome.expired})"
    print(f"{name}: {how} at attempt {outcome.attempt}")


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)

        @worker.job("sleep")
        async def sleep() -> None:
            await asyncio.sleep(60)  # cut short by CancelledError

        async with worker:
            await show("idle", await client.create("nobody", idle_timeout="50ms", handle=True))
            job = await client.create("sleep", run_timeout="50ms", attempts=2, handle=True)
            await show("run", job)
            job = await client.create("sleep", total_timeout="250ms", attempts=9, handle=True)
            await show("total", job)


asyncio.run(main())

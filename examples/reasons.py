"""Why a job has failed, as an exception and as a word.

Prints:

    JobFailed FAILED: ZeroDivisionError: division by zero
    JobTimedOut JOB_TIMEOUT: its idle timeout passed
    JobCancelled CANCELLED: it was cancelled
"""

import asyncio

from packhorse import Job, JobFailed, Worker
from packhorse_broker.local import LocalBroker


async def explain(job: Job) -> None:
    try:
        await job.result()
    except JobFailed as error:  # also RunnerLost, reason RUNNER_TIMEOUT: see lost.py
        print(f"{type(error).__name__} {error.reason}: {error.said()}")


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)
        worker.job("divide")(lambda by: 1 / by)
        async with worker:
            await explain(await client.create("divide", {"by": 0}, handle=True))
        await explain(await client.create("divide", {"by": 1}, idle_timeout="50ms", handle=True))
        job = await client.create("divide", {"by": 2}, handle=True)
        await job.cancel()
        await explain(job)


asyncio.run(main())

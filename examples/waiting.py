"""Ways to wait for jobs, none of which asks again and again.

Prints:

    run: 1
    any of two: 10
    all of two: 300 10
    not in time; the job goes on: 200
"""

import asyncio

from packhorse import OutcomeTimeout, Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)

        @worker.job("sleep")
        async def sleep(ms: int) -> int:
            await asyncio.sleep(ms / 1000)
            return ms

        async with worker:
            print("run:", await client.run("sleep", {"ms": 1}))
            jobs = [await client.create("sleep", {"ms": ms}, handle=True) for ms in (300, 10)]
            first = await client.wait(jobs, "any", handled=False)
            print("any of two:", *[outcome.result() for outcome in first])
            print("all of two:", *[outcome.result() for outcome in await client.wait(jobs)])
            job = await client.create("sleep", {"ms": 200}, handle=True)
            try:
                await job.result(timeout="20ms")
            except OutcomeTimeout:
                print("not in time; the job goes on:", await job.result())


asyncio.run(main())

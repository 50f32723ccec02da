"""A type with a bound on its jobs: above it a create is refused, and can be repeated later.

Prints:

    refused: quota, worth repeating: True
    room again: 3
"""

import asyncio

from packhorse import QuotaExceeded, Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)
        worker.job("mail")(lambda number: number)
        await client.set_limits("mail", max_jobs=2, max_bytes=1_000_000)
        jobs = [await client.create("mail", {"number": n}, handle=True) for n in (1, 2)]
        try:
            await client.create("mail", {"number": 3})
        except QuotaExceeded as error:
            print(f"refused: {error.code}, worth repeating: {error.retryable}")
        async with worker:
            for job in jobs:
                await (await job.outcome()).handled()  # then it is gone
            print("room again:", await client.run("mail", {"number": 3}))


asyncio.run(main())

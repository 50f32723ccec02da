"""A job that is tried again, and the record that each attempt leaves.

Prints:

    done at attempt 3
    1 failed ConnectionError: no answer
    2 failed ConnectionError: no answer
    3 completed
"""

import asyncio

from packhorse import Context, Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)

        @worker.job("mail")
        async def mail(ctx: Context) -> str:
            if ctx.attempt < 3:
                raise ConnectionError("no answer")
            return f"done at attempt {ctx.attempt}"

        job = await client.create("mail", attempts=5, handle=True, persistent=True)
        async with worker:
            print(await job.result())
        for attempt in (await job.attempts()).attempts:
            error = f" {attempt.error.type}: {attempt.error.message}" if attempt.error else ""
            print(f"{attempt.attempt} {attempt.ended}{error}")


asyncio.run(main())

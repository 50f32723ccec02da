"""A job that sees how much time it has left, and asks for more.

Prints:

    began with 400 ms or less: True
    took longer than that: True
"""

import asyncio
import time

from packhorse import Context, Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)

        @worker.job("copy")
        async def copy(ctx: Context, parts: int) -> float:
            began = time.monotonic()
            print("began with 400 ms or less:", ctx.remaining is not None and ctx.remaining <= 0.4)
            for _ in range(parts):
                await ctx.extend("400ms")  # from now on, but never past the total timeout
                await asyncio.sleep(0.1)
            return time.monotonic() - began

        async with worker:
            seconds = await client.run("copy", {"parts": 5}, run_timeout="400ms")
            print("took longer than that:", seconds > 0.4)


asyncio.run(main())

"""A worker that stops gives back what it can't end in time, which costs no attempt.

Prints:

    first worker began attempt 1
    given back: QUEUED, released 1, failed 0
    second worker did attempt 1
"""

import asyncio

from packhorse import Context, Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        first = Worker(dial=broker.dial, shutdown_timeout="50ms")
        second = Worker(dial=broker.dial)

        @first.job("work")
        async def slow(ctx: Context) -> None:
            print("first worker began attempt", ctx.attempt)
            await ctx.progress(0)
            await asyncio.sleep(60)

        second.job("work")(lambda ctx: f"second worker did attempt {ctx.attempt}")
        job = await client.create("work", handle=True)
        async with first:  # or first.run(), until SIGTERM
            async for event in job.events():
                if event.progress:
                    break
        view = await job.get()
        print(f"given back: {view.state}, released {view.released}, failed {view.failed}")
        async with second:
            print(await job.result())


asyncio.run(main())

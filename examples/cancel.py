"""A job that is cancelled: at once where it waits, within a grace time where it runs.

Prints:

    waiting: FAILED CANCELLED
    running: cleaned up
    running: FAILED CANCELLED
    by me: True, because: wrong input
"""

import asyncio

from packhorse import Context, Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)

        @worker.job("sleep")
        async def sleep(ctx: Context) -> None:
            await ctx.progress(0)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                print("running: cleaned up")
                raise

        job = await client.create("sleep", handle=True)
        print("waiting:", await job.cancel(), (await job.outcome()).reason)
        async with worker:
            job = await client.create("sleep", handle=True, persistent=True)
            async for event in job.events():
                if event.progress:
                    await job.cancel(grace="5s", why="wrong input")
        print("running:", event.state, (await job.outcome()).reason)
        if (request := (await job.get()).cancel) is not None:
            print(f"by me: {request.by == client.id}, because: {request.why}")


asyncio.run(main())

"""A job's log, followed while it runs, and read again from an offset.

Prints:

    0 log: opening cat.png
    1 progress: 50% 64px
    2 log: written
    again from 2: written
"""

import asyncio

from packhorse import Context, Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)

        @worker.job("thumb")
        async def thumb(ctx: Context, url: str) -> None:
            await ctx.log(f"opening {url}")
            await ctx.progress(50, "64px")
            await ctx.log("written")

        job = await client.create("thumb", {"url": "cat.png"}, persistent=True)
        async with worker:
            async for entry in job.logs(follow=True):
                percent = f"{entry.percent}% " if entry.type == "progress" else ""
                print(f"{entry.offset} {entry.type}: {percent}{entry.message}")
        async for entry in job.logs(offset=2):
            print("again from 2:", entry.message)


asyncio.run(main())

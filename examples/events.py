"""What happens to a job, as it happens.

Prints:

    state: QUEUED
    log: opened
    progress: 50% half of it
    state: COMPLETE
"""

import asyncio

from packhorse import Context, Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)

        @worker.job("thumb")
        async def thumb(ctx: Context) -> None:
            await ctx.log("opened")
            await ctx.progress(50, "half of it")

        job = await client.create("thumb", handle=True)
        events = job.events()
        print("state:", (await anext(events)).state)
        async with worker:
            async for event in events:
                for entry in event.log:
                    percent = f"{entry.percent}% " if entry.type == "progress" else ""
                    print(f"{entry.type}: {percent}{entry.message}")
        print("state:", event.state)


asyncio.run(main())

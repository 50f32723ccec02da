"""Plain functions run in threads; one that is cancelled notices where it asks.

Prints:

    counted to 1000
    stopped: Cancelled: the job was cancelled: enough
"""

import asyncio

from packhorse import Cancelled, ThreadContext, Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)

        @worker.job("count")
        def count(ctx: ThreadContext, to: int | None = None) -> str:
            number = 0
            ctx.progress(0)
            while number != to:
                number += 1
                try:
                    ctx.check_cancelled()
                except Cancelled as error:
                    print(f"stopped: Cancelled: {error}")
                    raise
            return f"counted to {number}"

        async with worker:
            print(await client.run("count", {"to": 1000}))
            job = await client.create("count", handle=True)
            async for event in job.events():
                if event.progress:
                    await job.cancel(why="enough")


asyncio.run(main())

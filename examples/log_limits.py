"""What is kept of a long log: the newest lines, under the numbers they always had.

Prints:

    kept of 10 lines: 7 8 9
    the first one kept, the next one to come: 7 10
"""

import asyncio

from packhorse import Context, Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker(max_log_entries=3) as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)

        @worker.job("count")
        async def count(ctx: Context, to: int) -> None:
            for number in range(to):
                await ctx.log(f"line {number}")

        job = await client.create("count", {"to": 10}, handle=True, persistent=True)
        async with worker:
            await job.result()
        print("kept of 10 lines:", *[entry.offset async for entry in job.logs()])
        view = await job.get()
        print("the first one kept, the next one to come:", view.log_first, view.log_end)


asyncio.run(main())

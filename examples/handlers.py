"""Several handlers of one job, one of which comes late; the job goes when all have handled it.

Prints:

    creator: 42
    kept for the other one: COMPLETE
    late handler: 42
    left: 0
"""

import asyncio

from packhorse import Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client, broker.connect() as late:
        worker = Worker(dial=broker.dial)
        worker.job("answer")(lambda: 42)
        job = await client.create("answer", handle=True)
        same = late.job(job.id)
        await same.handle()  # at any time, while the job is there
        async with worker:
            print("creator:", await job.result())
        print("kept for the other one:", (await late.get(job.id)).state)
        outcome = await same.outcome(handled=False)
        print("late handler:", outcome.result())
        await outcome.handled()  # until then it would come again after a reconnect
        print("left:", len([job async for job in client.list()]))


asyncio.run(main())

"""A group of handlers outlives its members: whoever joins it gets the outcome.

Prints:

    with no member there: COMPLETE
    mailers: 42
    left: 0
"""

import asyncio

from packhorse import Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)
        worker.job("answer")(lambda: 42)
        job = await client.create("answer", group="mailers")
        async with worker:
            async for _ in job.events():
                pass  # until it has ended
        print("with no member there:", (await job.get()).state)
        async with broker.connect() as member:
            async for outcome in member.outcomes(group="mailers", auto=False):
                print(f"{outcome.group}: {outcome.result()}")
                await outcome.handled()
                break
        print("left:", len([job async for job in client.list()]))


asyncio.run(main())

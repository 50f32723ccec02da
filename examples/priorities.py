"""Higher priorities are served first, and lower ones still get a share.

Prints:

    UNNNNNNNNNNNNNNBNNNN
"""

import asyncio

from packhorse import NewJob, Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial, concurrency=1)
        order = []

        @worker.job("parcel")
        async def parcel(kind: str) -> None:
            order.append(kind)

        bulk = NewJob("parcel", {"kind": "B"}, priority=-10)
        normal = [NewJob("parcel", {"kind": "N"}) for _ in range(18)]
        urgent = NewJob("parcel", {"kind": "U"}, priority=10)
        jobs = await client.create_many([bulk, *normal, urgent], handle=True)
        async with worker:
            await client.wait(jobs)
        print("".join(order))


asyncio.run(main())

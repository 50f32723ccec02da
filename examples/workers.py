"""One worker for several types: how its places are shared, and bounded.

Prints:

    of the first 20 turns mail had about 15: True
    most reports at once: 2
"""

import asyncio

from packhorse import NewJob, Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial, concurrency=4)
        began: list[str] = []
        reports_at_once = [0]

        @worker.job("mail", weight=3)
        async def mail() -> None:
            began.append("mail")

        @worker.job("report", weight=1, concurrency=2)
        async def report() -> None:
            began.append("report")
            reports_at_once.append(reports_at_once[-1] + 1)
            await asyncio.sleep(0.01)
            reports_at_once.append(reports_at_once[-1] - 1)

        both = [NewJob(name) for name in ("mail", "report") for _ in range(20)]
        jobs = await client.create_many(both, handle=True)
        async with worker:
            await client.wait(jobs)
        print("of the first 20 turns mail had about 15:", 12 <= began[:20].count("mail") <= 18)
        print("most reports at once:", max(reports_at_once))


asyncio.run(main())

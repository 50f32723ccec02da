"""How a type is doing: jobs by state, the wait at the head of its queue, the last minutes.

Prints:

    mail: 1 queued, its head has waited for a while: True, 0 runners
    mail: 3 created, 2 completed
"""

import asyncio

from packhorse import NewJob, Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)
        worker.job("mail")(str.upper)
        jobs = await client.create_many([NewJob("mail", to) for to in ("ada", "bob")], handle=True)
        async with worker:
            await client.wait(jobs)
        await client.create("mail", "eve")
        async for found in client.types():
            waited = f"its head has waited for a while: {found.latency_ms >= 0}"
            print(
                f"{found.type}: {found.counts['QUEUED']} queued, {waited}, {found.runners} runners"
            )
        minutes = await client.minutes("mail")  # of the last day
        created = sum(minute.created for minute in minutes)
        print(f"mail: {created} created, {sum(minute.completed for minute in minutes)} completed")


asyncio.run(main())

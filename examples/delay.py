"""A job that waits until its time has come.

Prints:

    PENDING
    hello ada
    early: False
"""

import asyncio
from datetime import UTC, datetime, timedelta

from packhorse import Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)

        @worker.job("greet")
        async def greet(name: str) -> str:
            return f"hello {name}"

        due = datetime.now(UTC) + timedelta(milliseconds=300)  # or delay="300ms"
        job = await client.create("greet", {"name": "ada"}, delay_until=due, handle=True)
        waiting = await job.get()
        print(waiting.state)
        async with worker:
            outcome = await job.outcome()
        print(outcome.result())
        print("early:", outcome.started_at < waiting.delayed_until)


asyncio.run(main())

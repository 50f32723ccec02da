"""What job functions need is made by the worker, once or for each job.

Prints:

    opened
    hello ada, visit 1
    hello ada, visit 2
    closed
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from packhorse import Worker
from packhorse_broker.local import LocalBroker


class Visits(Counter[str]):
    """Stands for a database."""


@asynccontextmanager
async def open_visits() -> AsyncIterator[Visits]:
    print("opened")
    yield Visits()
    print("closed")


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)
        worker.provide(Visits, open_visits)  # per="job": anew for each job

        @worker.job("greet")
        async def greet(visits: Visits, name: str) -> str:
            visits[name] += 1
            return f"hello {name}, visit {visits[name]}"

        async with worker:
            print(await client.run("greet", {"name": "ada"}))
            print(await client.run("greet", {"name": "ada"}))


asyncio.run(main())

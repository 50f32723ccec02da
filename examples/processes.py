"""Work that keeps a CPU busy runs in processes, which can be killed.

Prints:

    another process: True
    332833500
    stopped: FAILED CANCELLED
"""

import asyncio
import os

from packhorse import Worker
from packhorse_broker.local import LocalBroker


def add_squares(below: int | None = None) -> tuple[int, int]:
    number = total = 0
    while number != below:
        total += number * number
        number += 1
    return os.getpid(), total


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)
        worker.job("add", process=True, concurrency=1)(add_squares)
        async with worker:
            process, total = await client.run("add", {"below": 1000})
            print("another process:", process != os.getpid())
            print(total)
            job = await client.create("add", handle=True)  # without end
            async for event in job.events():
                if event.state == "STARTED":
                    await job.cancel(grace="1s")
            print("stopped:", event.state, (await job.outcome()).reason)


if __name__ == "__main__":  # its processes import this file too
    asyncio.run(main())

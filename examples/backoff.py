"""How long a job waits between its attempts.

Prints:

    exponential, at most 70 ms: waited 20, 40, 70 ms
    a list, its last one again: waited 10, 30, 30 ms
"""

import asyncio

from packhorse import Backoff, Client, Worker
from packhorse_broker.local import LocalBroker


async def waits(client: Client, backoff: Backoff) -> str:
    job = await client.create("fail", attempts=4, backoff=backoff, handle=True, persistent=True)
    await job.outcome()
    attempts = (await job.attempts()).attempts
    return ", ".join(str(attempt.next_at - attempt.finished_at) for attempt in attempts[:-1])


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)
        worker.job("fail")(lambda: 1 / 0)
        async with worker:
            backoff = Backoff.exponential("20ms", factor=2, max="70ms")  # jitter="full" spreads it
            print("exponential, at most 70 ms: waited", await waits(client, backoff), "ms")
            backoff = Backoff.list("10ms", "30ms")  # also .fixed and .linear
            print("a list, its last one again: waited", await waits(client, backoff), "ms")


asyncio.run(main())

"""A job that kills whoever runs it is set aside, though it may be tried ten times.

Prints:

    RunnerLost RUNNER_TIMEOUT: its runner went away
    1 lost
    2 lost
"""

import asyncio
import os
import signal
from multiprocessing import get_context

from packhorse import RunnerLost, Worker
from packhorse_broker.local import LocalBroker


def work(url: str) -> None:
    worker = Worker(url, timeout="300ms")
    worker.job("crash")(lambda: os.kill(os.getpid(), signal.SIGKILL))
    asyncio.run(worker.run())


async def main() -> None:
    impatient = LocalBroker(listen=("tcp://127.0.0.1:0",), min_client_timeout_ms=100, sweep_ms=50)
    async with impatient as broker, broker.connect() as client:
        job = await client.create("crash", attempts=10, lost_limit=2, handle=True, persistent=True)
        for _ in range(2):
            get_context("spawn").Process(target=work, args=broker.addresses).start()
        try:
            await job.result()
        except RunnerLost as error:
            print(f"{type(error).__name__} {error.reason}: {error.said()}")
        for attempt in (await job.attempts()).attempts:
            print(attempt.attempt, attempt.ended)


if __name__ == "__main__":
    asyncio.run(main())

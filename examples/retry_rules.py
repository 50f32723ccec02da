"""What follows an error: by its class, or by the job function's own word.

Prints:

    ValueError: never again: 1 attempt
    TimeoutError: again in 30ms: 3 attempts
    Fail(retry=False): 1 attempt
    Fail(retry_in="20ms"): 3 attempts
"""

import asyncio

from packhorse import Fail, Worker
from packhorse_broker.local import LocalBroker

ERRORS = {
    "ValueError: never again": ValueError("no number"),
    "TimeoutError: again in 30ms": TimeoutError("too slow"),
    "Fail(retry=False)": Fail("there is no such customer", retry=False),
    'Fail(retry_in="20ms")': Fail("come back later", retry_in="20ms"),
}


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)

        @worker.job("work", retry={ValueError: "never", TimeoutError: "30ms"})
        async def work(name: str) -> None:
            raise ERRORS[name]

        async with worker:
            for name in ERRORS:
                job = await client.create("work", {"name": name}, attempts=3, handle=True)
                tried = (await job.outcome()).attempt
                print(f"{name}: {tried} attempt{'s' if tried > 1 else ''}")


asyncio.run(main())

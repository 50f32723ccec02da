"""The same client without an event loop, for scripts and web frameworks.

Prints:

    hello ada
    waiting: greet bob
"""

import asyncio

import packhorse.sync
from packhorse import Worker
from packhorse_broker.local import LocalBroker


def script(url: str) -> None:
    with packhorse.sync.connect(url) as client:
        job = client.create("greet", {"name": "ada"}, attempts=3, handle=True)
        print(job.result(timeout="10s"))
        client.create("greet", {"name": "bob"}, delay="1h", key="bob")
        for found in client.list("greet", states="PENDING"):
            print("waiting:", found.type, found.key)


async def main() -> None:
    async with LocalBroker(listen=("tcp://127.0.0.1:0",)) as broker:
        worker = Worker(dial=broker.dial)
        worker.job("greet")(lambda name: f"hello {name}")
        async with worker:
            await asyncio.to_thread(script, broker.addresses[0])


asyncio.run(main())

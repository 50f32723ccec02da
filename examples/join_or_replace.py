"""What else a create can do that finds its unique key held.

Prints:

    joined: the same job: True
    both get: search for cats
    replaced: the same job: True
    now it is: search for dogs and birds
"""

import asyncio

from packhorse import Unique, Worker
from packhorse_broker.local import LocalBroker

JOIN = Unique("cats", on_duplicate="join")
REPLACE = Unique("dogs", on_duplicate="replace")


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client, broker.connect() as other:
        worker = Worker(dial=broker.dial)
        worker.job("search")(lambda words: f"search for {words}")
        first = await client.create("search", {"words": "cats"}, unique=JOIN, handle=True)
        second = await other.create("search", {"words": "cats"}, unique=JOIN)
        print(f"{second.duplicate}: the same job: {second.id == first.id}")
        third = await client.create("search", {"words": "dogs"}, unique=REPLACE, handle=True)
        fourth = await other.create("search", {"words": "dogs and birds"}, unique=REPLACE)
        async with worker:
            results = {await first.result(), await second.result()}
            print("both get:", *results)
            print(f"{fourth.duplicate}: the same job: {fourth.id == third.id}")
            print("now it is:", await third.result())


asyncio.run(main())

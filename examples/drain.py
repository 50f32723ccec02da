"""A type that is to go: it takes nothing new, and what is left can be purged.

Prints:

    refused: the type 'fax' takes no new jobs
    purged: 2 of 2
"""

import asyncio

from packhorse import TypeDraining
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        for _ in range(2):
            await client.create("fax")
        await client.drain_type("fax", why="nobody has one any more")
        try:
            await client.create("fax")
        except TypeDraining as error:
            print("refused:", error.message)
        purged = await client.purge("fax", states="QUEUED")
        print(f"purged: {purged.changed} of {purged.found}")
        await client.undrain_type("fax")
        await client.create("fax")


asyncio.run(main())

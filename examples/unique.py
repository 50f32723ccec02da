"""One job of a type has a unique key at a time, and a second one is told which.

Prints:

    refused: the first one has it, QUEUED
    free again: True
    held for an hour, whatever becomes of the job: refused
"""

import asyncio

from packhorse import Duplicate, Unique
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        first = await client.create("invoice", unique="customer-7")
        try:
            await client.create("invoice", unique="customer-7")
        except Duplicate as error:
            who = "the first one" if error.holder == first.id else "another one"
            print(f"refused: {who} has it, {error.state}")
        await first.cancel()
        again = await client.create("invoice", unique="customer-7")
        print("free again:", again.id != first.id)
        hourly = Unique("report", window="1h")
        await (await client.create("report", unique=hourly)).cancel()
        try:
            await client.create("report", unique=hourly)
        except Duplicate:
            print("held for an hour, whatever becomes of the job: refused")


asyncio.run(main())

"""Payloads and results as dataclasses; msgspec structs and pydantic models do as well.

Prints:

    {'total': 30}
    not tried again: PayloadError: ... Expected `int`, got `str` - at `$.amounts[0]`
"""

import asyncio
from dataclasses import dataclass

from packhorse import JobFailed, Worker
from packhorse_broker.local import LocalBroker


@dataclass
class Order:
    customer: str
    amounts: list[int]


@dataclass
class Bill:
    total: int


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial)

        @worker.job("order")
        async def order(order: Order) -> Bill:
            return Bill(sum(order.amounts))

        async with worker:
            print(await client.run("order", {"customer": "ada", "amounts": [10, 20]}))
            try:
                await client.run("order", {"customer": "ada", "amounts": ["much"]}, attempts=5)
            except JobFailed as error:
                print("not tried again:", error.said())


asyncio.run(main())

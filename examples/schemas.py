"""A worker publishes what its functions take; whoever creates jobs can look it up.

Prints:

    customer: string
    amounts: array
    {'type': 'object', 'required': ['to']}
"""

import asyncio
from dataclasses import dataclass

from packhorse import Worker
from packhorse_broker.local import LocalBroker


@dataclass
class Order:
    customer: str
    amounts: list[int]


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial, publish_schemas=True)

        @worker.job("order")
        async def bill(order: Order) -> int:
            return sum(order.amounts)

        async with worker:
            schema = await client.schema("order")
            assert schema is not None
            for name, said in schema["$defs"]["Order"]["properties"].items():
                print(f"{name}: {said['type']}")
        await client.publish_schema("letter", {"type": "object", "required": ["to"]})
        print(await client.schema("letter"))


asyncio.run(main())

"""What travels with a job besides its payload, untouched.

Prints:

    trace: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
    about: customer 7
    created by: web-1
"""

import asyncio

from packhorse import Context, Worker
from packhorse_broker.local import LocalBroker

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def main() -> None:
    async with LocalBroker() as broker, broker.connect(client_id="web-1") as client:
        worker = Worker(dial=broker.dial)

        @worker.job("thumb")
        async def thumb(ctx: Context) -> None:
            print("trace:", ctx.headers["traceparent"])
            print("about:", ctx.key)

        headers = {"traceparent": TRACE, "tenant": "7"}
        job = await client.create("thumb", key="customer 7", headers=headers, handle=True)
        async with worker:
            created_by = (await job.get()).created_by
            await job.result()
            print("created by:", created_by)


asyncio.run(main())

"""A handler that was away gets what it missed, when it comes back under its id.

Prints:

    while it was away: COMPLETE
    came back: 42
"""

import asyncio

from packhorse import Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as watching:
        async with broker.connect(client_id="billing", timeout="1h") as client:
            secret = client.secret  # keep it like a password
            job = await client.create("answer", handle=True)
        worker = Worker(dial=broker.dial)
        worker.job("answer")(lambda: 42)
        async with worker:
            async for _ in watching.watch(job.id):
                pass
        print("while it was away:", (await watching.get(job.id)).state)
        async with broker.connect(client_id="billing", secret=secret) as client:
            async for outcome in client.outcomes():
                print("came back:", outcome.result())
                await outcome.handled()
                break


asyncio.run(main())

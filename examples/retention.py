"""How long ended jobs are kept that nobody handles, and how many.

Prints:

    of three notes, the newest two: b c
    kept for no time: gone
"""

import asyncio

from packhorse import Keep, NotFound, Worker
from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker(sweep_ms=50) as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial, concurrency=1)
        worker.job("note")(lambda: None)
        await client.set_retention("note", complete=Keep("7d", jobs=2), failed="30d")
        notes = [await client.create("note", job_id=name) for name in "abc"]
        brief = await client.create("note", keep="0s")
        async with worker:
            async for _ in client.watch(brief.id, *[note.id for note in notes]):
                pass
        while len(kept := [job.id async for job in client.list("note")]) > 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # the oldest go within a second or so
        print("of three notes, the newest two:", *kept)
        try:
            await brief.get()
        except NotFound:
            print("kept for no time: gone")


asyncio.run(main())

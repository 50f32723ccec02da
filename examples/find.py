"""Jobs by what they have in common, and page by page.

Prints:

    nightly: mail-1 mail-2
    waiting for their time: mail-3
    of that unique key: mail-3
    pages of two: [2, 1]
    counted: 1 pending, 2 queued
"""

import asyncio

from packhorse_broker.local import LocalBroker


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        await client.create("mail", job_id="mail-1", labels=["nightly", "to:ada"])
        await client.create("mail", job_id="mail-2", labels=["nightly"])
        await client.create("mail", job_id="mail-3", delay="1h", unique="newsletter")
        print("nightly:", *[job.id async for job in client.list("mail", label="nightly")])
        found = client.list(states=["PENDING"])  # also since=..., until=..., newest_first=True
        print("waiting for their time:", *[job.id async for job in found])
        found = client.list("mail", unique_key="newsletter")
        print("of that unique key:", *[job.id async for job in found])
        page = await client.page("mail", limit=2)
        rest = await client.page("mail", limit=2, cursor=page.cursor)
        print("pages of two:", [len(page.jobs), len(rest.jobs)])
        counts = (await client.counts("mail")).types["mail"]
        print(f"counted: {counts['PENDING']} pending, {counts['QUEUED']} queued")


asyncio.run(main())

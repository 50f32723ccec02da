"""What runs around all jobs of a worker: before, after, and on errors.

Prints:

    before mail
    mail to ada
    after mail
    before mail
    on error: KeyError
    after mail
    JobFailed: Fail: no such person, 1 of 5 attempts
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from packhorse import Context, Fail, JobFailed, Worker
from packhorse_broker.local import LocalBroker


@asynccontextmanager
async def told(ctx: Context) -> AsyncIterator[None]:
    print("before", ctx.type)
    try:
        yield
    except LookupError as error:
        print("on error:", type(error).__name__)
        raise Fail("no such person", retry=False) from error
    finally:
        print("after", ctx.type)


async def mail(to: str) -> None:
    print("mail to", {"ada": "ada"}[to])


async def main() -> None:
    async with LocalBroker() as broker, broker.connect() as client:
        worker = Worker(dial=broker.dial, middleware=[told])
        worker.job("mail")(mail)
        async with worker:
            await client.run("mail", {"to": "ada"})
            try:
                await client.run("mail", {"to": "bob"}, attempts=5)
            except JobFailed as error:
                print(f"JobFailed: {error.said()}, {error.outcome.attempt} of 5 attempts")


asyncio.run(main())

"""Two brokers on one store are restarted one after the other, under load: nobody sees an error."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final

import pytest

import packhorse
from packhorse import Context, NewJob, Worker
from tests.support.daemon import Daemon, Daemons
from tests.support.daemon import packhorse as command
from tests.support.store_server import StoreServer

ROUNDS: Final = 3
"""Restarts of both brokers."""

CREATORS: Final = 3
BATCH: Final = 10
"""Jobs that a creator asks for at once."""

MOST_OPEN: Final = 200
"""Jobs asked for whose outcome has not come: what creators run ahead of the workers."""

OUTCOMES: Final = 100
"""That come between two restarts, with both brokers at work."""

WAIT_S: Final = 60
"""Far above what a round takes."""

QUICK: Final = ("--sweep-ms", "100", "--last-response-flush-ms", "100")


class Load:
    """Creators, workers and handlers on both brokers, and what came of each job."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}
        self.runs: Counter[str] = Counter()
        self.results: dict[str, object] = {}
        self.handled: Counter[str] = Counter()
        self.long_ends = asyncio.Event()
        self._long_begun = asyncio.Event()
        self._ending = False
        self._numbers = count(1)
        self._news = asyncio.Condition()

    def worker(self, url: str) -> Worker:
        worker = Worker(url, concurrency=8)
        worker.job("square")(self._square)
        worker.job("long")(self._long)
        return worker

    async def _square(self, ctx: Context, number: int) -> int:
        self.runs[ctx.job] += 1
        await ctx.progress(50, "half")
        await ctx.log(f"{number}")
        return number * number

    async def _long(self, ctx: Context) -> str:
        self.runs[ctx.job] += 1
        self._long_begun.set()
        await self.long_ends.wait()
        return "long"

    async def begin_long(self, client: packhorse.Client) -> packhorse.Job:
        """A job that runs, and will until `long_ends`."""
        job = await client.create("long", job_id="long", handle=True)
        await self._long_begun.wait()
        return job

    async def create(self, client: packhorse.Client) -> None:
        """Jobs with chosen ids, until it is to end: many at once, then one to await."""
        while not self._ending:
            many = [self._new(handled=True) for _ in range(BATCH)]
            await client.create_many(many, group="desk")
            [job] = await client.create_many([self._new(handled=False)], handle=True)
            self.results[job.id] = await job.result()
            await self._until(lambda: len(self.asked) - len(self.results) < MOST_OPEN)

    def _new(self, *, handled: bool) -> NewJob:
        number = next(self._numbers)
        name = f"{'handled' if handled else 'awaited'}-{number}"
        self.asked[name] = number
        return NewJob("square", number, job_id=name)

    async def handle(self, client: packhorse.Client) -> None:
        """Takes outcomes of the group."""
        async for outcome in client.outcomes(group="desk", auto=False):
            self.results[outcome.job] = outcome.result()
            self.handled[outcome.job] += 1
            await outcome.handled()
            async with self._news:
                self._news.notify_all()

    async def go_on(self) -> None:
        """Until so many more outcomes have come."""
        most = len(self.results) + OUTCOMES
        await self._until(lambda: len(self.results) >= most)

    async def end(self) -> None:
        """Until all that was asked for has come."""
        self._ending = True
        await self._until(lambda: len(self.results) == len(self.asked))

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with self._news:
            await self._news.wait_for(condition)


@asynccontextmanager
async def at_work(
    load: Load, urls: list[str]
) -> AsyncIterator[tuple[packhorse.Client, list[asyncio.Task[None]]]]:
    """Everybody is connected to one of the brokers, half of them to each: a client, and the tasks
    of the creators."""
    both = [",".join(urls), ",".join(reversed(urls))]
    async with (
        packhorse.connect(both[0]) as first,
        packhorse.connect(both[1]) as second,
        load.worker(both[0]),
        load.worker(both[1]),
        asyncio.TaskGroup() as together,
    ):
        handling = [together.create_task(load.handle(client)) for client in (first, second)]
        creating = [
            together.create_task(load.create(client))
            for client in (first, second, *[first] * (CREATORS - 2))
        ]
        yield first, creating
        for task in handling:
            task.cancel()


async def restarted(daemons: Daemons, daemon: Daemon, *flags: str) -> Daemon:
    """As a supervisor does it: SIGTERM, its end, and the next one at the same address."""
    url = daemon.url
    daemon.terminate()
    assert await daemon.wait() == 0, daemon.said
    assert daemon.count("broker.drain_timeout") == 0
    assert errors(daemon) == []
    return await daemons.start(*flags, listen=url)


def errors(daemon: Daemon) -> list[dict[str, Any]]:
    return [line for line in daemon.log if line["level"] == "error" or "exception" in line]


async def test_a_rolling_restart_is_seen_by_nobody(
    daemons: Daemons, store_server: StoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "packhorse")
    await store_server.start()
    flags = ("--store", store_server.url, *QUICK)
    brokers = [await daemons.start(*flags) for _ in range(2)]
    load = Load()
    async with at_work(load, [broker.url for broker in brokers]) as (client, creating):
        async with asyncio.timeout(WAIT_S):
            long = await load.begin_long(client)
        for _ in range(ROUNDS):
            for place, broker in enumerate(brokers):
                async with asyncio.timeout(WAIT_S):
                    await load.go_on()
                    brokers[place] = await restarted(daemons, broker, *flags)
        async with asyncio.timeout(WAIT_S):
            await load.go_on()
            await load.end()
            await asyncio.gather(*creating)
            load.long_ends.set()
            assert await long.result() == "long"
    assert load.results == {job: number**2 for job, number in load.asked.items()}
    assert set(load.runs.values()) == {1}
    assert set(load.runs) == {*load.asked, "long"}
    assert caplog.records == []
    async with packhorse.connect(brokers[0].url) as client:
        counts = await client.counts("square", "long")
        assert not any(left for by_state in counts.types.values() for left in by_state.values())
    for broker in brokers:
        assert errors(broker) == []
        assert broker.count("client.removed") == 0
    checked = await command("fsck", "--store", store_server.url)
    assert (checked.status, checked.err) == (0, []), checked.out

"""Clients and workers over the restart of a real broker: nothing is lost, nothing is run twice."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

import packhorse
from packhorse import Context, Worker
from packhorse_broker.local import LocalBroker


class Restartable:
    """A broker that can be stopped and started again at the same address, on the same store."""

    def __init__(self, store_url: str, prefix: str, address: str) -> None:
        self.url = address
        self._settings: dict[str, Any] = {
            "store_url": store_url,
            "prefix": prefix,
            "listen": (address,),
        }
        self._broker: LocalBroker | None = None

    async def start(self) -> None:
        self._broker = LocalBroker(**self._settings)
        await self._broker.__aenter__()

    async def stop(self) -> None:
        if self._broker is not None:
            await self._broker.__aexit__(None, None, None)
            self._broker = None


@pytest_asyncio.fixture
async def restartable(store_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Restartable]:
    broker = Restartable(store_url, prefix, f"unix://{tmp_path}/socket")
    yield broker
    await broker.stop()


async def test_what_runs_goes_on(restartable: Restartable) -> None:
    await restartable.start()
    worker = Worker(restartable.url)
    ran: list[str] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    @worker.job("t")
    async def work(ctx: Context, name: str) -> str:
        ran.append(name)
        await ctx.log("before")
        begun.set()
        await go_on.wait()
        await ctx.log("after")
        return name

    async with worker, packhorse.connect(restartable.url) as client:
        job = await client.create("t", "a", persistent=True)
        lines = asyncio.create_task(gathered(job))
        await begun.wait()
        await restartable.stop()
        go_on.set()
        creating = asyncio.create_task(client.create("t", "b", persistent=True))
        await restartable.start()
        assert await job.result() == "a"
        assert await (await creating).result() == "b"
        assert ran == ["a", "b"]
        assert await lines == ["before", "after"]


async def gathered(job: packhorse.Job) -> list[str]:
    return [entry.message async for entry in job.logs(follow=True)]


async def test_a_burst_survives_restarts(restartable: Restartable) -> None:
    await restartable.start()
    worker = Worker(restartable.url, concurrency=20)

    @worker.job("square")
    async def square(ctx: Context, n: int) -> int:
        await ctx.progress(50)
        return n * n

    async with worker, packhorse.connect(restartable.url) as client:
        running = asyncio.gather(*(client.run("square", n) for n in range(300)))
        for _ in range(2):
            await client.info()
            await restartable.stop()
            await restartable.start()
        assert await running == [n * n for n in range(300)]
    async with packhorse.connect(restartable.url) as client:
        counts = await client.counts("square")
        assert set(counts.types.get("square", {}).values()) <= {0}


async def test_another_broker_is_found(
    restartable: Restartable, store_url: str, prefix: str, tmp_path: Path
) -> None:
    await restartable.start()
    other = Restartable(store_url, prefix, f"unix://{tmp_path}/other")
    await other.start()
    async with packhorse.connect(f"{restartable.url},{other.url}") as client:
        here = (await client.info()).broker
        await restartable.stop()
        there = (await client.info()).broker
        assert here != there
    await other.stop()

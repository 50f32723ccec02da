"""A loop that is held: no timer is due, and the store is heard of when all else is at rest."""

import asyncio
import sys
from urllib.parse import unquote

import pytest

from benchmarks.quiet_loop import QuietLoop
from benchmarks.store_meter import StoreMeter
from packhorse_broker.store.link import Link, StoreAddress
from packhorse_broker.store.packing import pack

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells what the store has read"
)

PINGS = 10_000
"""Far more than a store reads, or answers, in one go."""


def test_a_held_loop_comes_to_rest_and_its_timers_wait(store_url: str) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, QuietLoop)
        rung = asyncio.Event()
        turns = 0

        async def work() -> None:
            nonlocal turns
            while turns < 10:
                turns += 1
                await asyncio.sleep(0)

        meter = StoreMeter(unquote(store_url.removeprefix("unix://")))
        with loop.held(meter):
            began_s = loop.time()
            loop.call_later(0.000_001, rung.set)
            working = asyncio.create_task(work())
            await loop.rest()
            assert working.done()
            assert turns == 10
            assert loop.time() == began_s
            assert not rung.is_set()
        await rung.wait()
        meter.close()

    with asyncio.Runner(loop_factory=QuietLoop) as runner:
        runner.run(run())


def test_the_store_is_heard_of_last_and_when_it_has_answered_all(store_url: str) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, QuietLoop)
        address = StoreAddress(url=store_url, timeout_ms=30_000, client_name="quiet")
        link = await Link.open(address)
        meter = StoreMeter(unquote(store_url.removeprefix("unix://")))
        order = []

        async def ask() -> None:
            await link.ask(*[pack(("PING",))] * PINGS)
            order.append("store")

        async def work() -> None:
            for _ in range(1_000):
                await asyncio.sleep(0)
            order.append("work")

        with loop.held(meter):
            before = meter.use()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(ask())
                tasks.create_task(work())
                await loop.rest()
            used = meter.use().since(before)
        assert order == ["work", "store"]
        assert loop.exchanges == 1
        assert used.commands == {"ping": PINGS}
        assert used.command_bytes == PINGS * len(pack(("PING",)))
        assert used.reply_bytes == PINGS * len(b"+PONG\r\n")
        link.drop()
        meter.close()

    with asyncio.Runner(loop_factory=QuietLoop) as runner:
        runner.run(run())

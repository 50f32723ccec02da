"""Looks at the heads of queues: those of one turn go together, and none waits long."""

import asyncio
from typing import Any

import pytest

from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.heads import Heads
from packhorse_broker.store.read_lane import ReadLane
from tests.support.inspection import Raw
from tests.support.opening import Opener
from tests.support.proxy import FaultProxy

TYPES = [f"type-{number}" for number in range(20)]


class CountingLane(ReadLane):
    """`exchanges`: of each, how many commands it had."""

    def __init__(self, opener: Opener, url: str | None = None) -> None:
        super().__init__(opener.lane(url), opener.keys)
        self.exchanges: list[int] = []

    async def ask(self, *commands: bytes) -> list[Any]:
        self.exchanges.append(len(commands))
        return await super().ask(*commands)


async def test_looks_of_one_turn_are_one_exchange(opener: Opener, raw: Raw) -> None:
    for number, job_type in enumerate(TYPES):
        await raw("ZADD", opener.keys.queue(job_type), number, "a", number, "b", number + 1, "c")
    lane = CountingLane(opener)
    heads = Heads(lane)
    found = await asyncio.gather(*(heads.of(job_type, 2) for job_type in TYPES))
    assert found == [[(float(n), b"a"), (float(n), b"b")] for n in range(len(TYPES))]
    assert lane.exchanges == [len(TYPES)]
    assert await heads.of("none", 5) == []
    await heads.close()


async def test_looks_that_come_meanwhile_are_one_exchange(
    opener: Opener, proxy: FaultProxy
) -> None:
    lane = CountingLane(opener, proxy.url)
    heads = Heads(lane)
    proxy.pause_at(b"ZRANGE")
    first = heads.of(TYPES[0], 1)
    await proxy.met()
    others = [heads.of(job_type, 1) for job_type in TYPES]
    proxy.resume()
    assert await asyncio.gather(first, *others) == [[]] * (1 + len(TYPES))
    assert lane.exchanges == [1, len(TYPES)]
    await heads.close()


async def test_one_that_hangs_fails_all_looks_until_it_answers(
    opener: Opener, proxy: FaultProxy
) -> None:
    heads = Heads(CountingLane(opener, proxy.url))
    proxy.pause_at(b"ZRANGE")
    first = heads.of("mail", 1)
    await proxy.met()
    meanwhile = heads.of("mail", 1)
    for look in (first, meanwhile, heads.of("mail", 1)):
        with pytest.raises(StoreUnavailable, match="in time"):
            await look
    with pytest.raises(StoreUnavailable, match="last one"):
        await heads.of("mail", 1)
    under_way = heads._asking
    assert under_way is not None
    proxy.resume()
    await under_way
    assert await heads.of("mail", 1) == []
    assert proxy.commands[b"ZRANGE"] == 2
    await heads.close()


async def test_a_lost_connection_fails_the_looks_that_were_under_way(
    opener: Opener, proxy: FaultProxy
) -> None:
    heads = Heads(CountingLane(opener, proxy.url))
    proxy.pause_at(b"ZRANGE")
    looks = [heads.of(job_type, 1) for job_type in TYPES]
    await proxy.met()
    proxy.cut()
    found = await asyncio.gather(*looks, return_exceptions=True)
    assert all(isinstance(one, StoreUnavailable) for one in found)
    assert await heads.of("mail", 1) == []
    await heads.close()


async def test_looks_are_answered_when_it_is_closed(opener: Opener, proxy: FaultProxy) -> None:
    heads = Heads(CountingLane(opener, proxy.url))
    proxy.pause_at(b"ZRANGE")
    under_way = heads.of("mail", 1)
    await proxy.met()
    waiting = heads.of("mail", 1)
    await heads.close()
    for look in (under_way, waiting):
        with pytest.raises(StoreUnavailable):
            await look

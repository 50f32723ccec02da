"""The Cluster that tests are given: it forms, fails over, and slots move."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import ResponseError

from tests.support.cluster import ClusterGroup, slot_of
from tests.support.cluster_node import ClusterNode

KEY = b"ph:{0}:key"
SLOT = slot_of(KEY)
VALUE = b"kept"


@pytest.fixture
async def group() -> AsyncIterator[ClusterGroup]:
    started = ClusterGroup()
    async with started:
        await (await started.primary_of(KEY)).ask("SET", KEY, VALUE)
        yield started


async def another(group: ClusterGroup) -> ClusterNode:
    """A primary that does not have the key."""
    having = await group.primary_of(KEY)
    return next(node for node in await group.primaries() if node is not having)


async def test_a_replica_is_told_to_take_over(group: ClusterGroup) -> None:
    former = await group.primary_of(KEY)
    replica = await group.replica_of(former)
    await group.failover(replica)
    await group.settled()
    assert await group.primary_of(KEY) is replica
    assert await group.replica_of(replica) is former
    assert await replica.ask("GET", KEY) == VALUE


async def test_the_replica_of_a_killed_primary_takes_over(group: ClusterGroup) -> None:
    former = await group.primary_of(KEY)
    replica = await group.replica_of(former)
    # Else it could take over before the key has come to it.
    assert await former.ask("WAIT", 1, 0) == 1
    await former.kill()
    assert await group.primary_of(KEY) is replica
    await group.settled()
    await former.start()
    await group.settled()
    assert await group.replica_of(replica) is former
    assert len(await group.primaries()) == 3


async def test_a_paused_primary_is_a_replica_when_it_comes_back(group: ClusterGroup) -> None:
    former = await group.primary_of(KEY)
    former.pause()
    promoted = await group.primary_of(KEY)
    assert promoted is not former
    former.resume()
    await group.settled()
    assert await group.replica_of(promoted) is former


async def test_a_slot_is_moved_at_once_and_back(group: ClusterGroup) -> None:
    first, second = await group.primary_of(KEY), await another(group)
    for source, to in ((first, second), (second, first)):
        await group.move_slot(SLOT, to)
        assert await to.ask("GET", KEY) == VALUE
        with pytest.raises(ResponseError, match="MOVED"):
            await source.ask("GET", KEY)
    await group.settled()


async def test_slots_of_one_primary_are_moved_together(group: ClusterGroup) -> None:
    source, to = await group.primary_of(KEY), await another(group)
    other = SLOT + 1
    assert await group.owner_of(other) is source
    await asyncio.gather(group.move_slot(SLOT, to), group.move_slot(other, to))
    assert await group.owners([SLOT, other]) == {SLOT: to, other: to}


async def test_a_slot_is_moved_by_keys(group: ClusterGroup) -> None:
    source, to = await group.primary_of(KEY), await another(group)
    other = b"ph:{0}:other"
    await source.ask("SET", other, VALUE)
    async with group.slot_on_its_way(SLOT, to):
        with pytest.raises(ResponseError, match="TRYAGAIN"):
            await source.ask("MGET", KEY, other)
        with pytest.raises(ResponseError, match="ASK"):
            await source.ask("GET", b"ph:{0}:absent")
    assert await to.ask("MGET", KEY, other) == [VALUE, VALUE]
    await group.settled()
    await group.move_slot_by_keys(SLOT, source)
    await group.settled()
    assert await source.ask("MGET", KEY, other) == [VALUE, VALUE]


async def test_a_password_is_asked_for() -> None:
    group = ClusterGroup(password="secret")
    async with group:
        assert group.url.startswith("cluster://:secret@127.0.0.1:")
        to = await another(group)
        await (await group.primary_of(KEY)).ask("SET", KEY, VALUE)
        await group.move_slot(SLOT, to)
        source, to = to, await another(group)
        await group.move_slot_by_keys(SLOT, to)
        assert await to.ask("GET", KEY) == VALUE
        with pytest.raises(ResponseError, match="MOVED"):
            await source.ask("GET", KEY)

"""Which server is the store behind Sentinels, when not all of them know, or a former primary."""

import signal
from collections.abc import AsyncIterator

import pytest

from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.link import Link, StoreAddress
from packhorse_broker.store.packing import pack
from packhorse_broker.store.transaction import Lane
from tests.support.inspection import Raw
from tests.support.replicas import SentinelGroup

PING = pack(("PING",))


@pytest.fixture
async def group() -> AsyncIterator[SentinelGroup]:
    started = SentinelGroup()
    async with started:
        yield started


@pytest.fixture
def address(group: SentinelGroup) -> StoreAddress:
    return StoreAddress(url=group.url, timeout_ms=2_000, client_name="test")


async def test_a_former_primary_that_still_takes_writes_is_left(
    group: SentinelGroup, address: StoreAddress
) -> None:
    """The Sentinels make it a replica some seconds later: what it took until then is lost."""
    lane = Lane(address, b"mark")
    await lane.ask(PING)
    former = lane.run_id
    await group.fail_over()
    await group.promoted()
    stray = await Raw.open(group.servers[1].url)
    await stray("SET", "taken", "and lost")
    await stray.close()
    assert await address.leave_former_primaries()
    assert not await address.leave_former_primaries()
    with pytest.raises(StoreUnavailable):
        await lane.ask(PING)
    await lane.ask(PING)
    assert lane.run_id != former
    await lane.close()


async def test_a_primary_that_is_one_keeps_its_links(
    group: SentinelGroup, address: StoreAddress
) -> None:
    lane = Lane(address, b"mark")
    await lane.ask(PING)
    assert not await address.leave_former_primaries()
    await lane.ask(PING)
    await lane.close()


async def test_links_stay_while_no_sentinel_answers(
    group: SentinelGroup, address: StoreAddress
) -> None:
    lane = Lane(address, b"mark")
    await lane.ask(PING)
    for sentinel in group.sentinels:
        await sentinel.kill()
    assert not await address.leave_former_primaries()
    await lane.ask(PING)
    await lane.close()


@pytest.mark.parametrize("number", range(3))
async def test_a_sentinel_that_hangs_is_not_waited_for(
    group: SentinelGroup, address: StoreAddress, number: int
) -> None:
    hung = group.sentinels[number]
    hung.signal(signal.SIGSTOP)
    link = await Link.open(address)
    link.drop()
    hung.signal(signal.SIGCONT)


async def test_the_newest_configuration_counts(group: SentinelGroup, address: StoreAddress) -> None:
    """Of a Sentinel that slept through the failover, and of one that did not."""
    asleep, *awake = group.sentinels
    asleep.signal(signal.SIGSTOP)
    await group.fail_over(awake[0])
    for sentinel in awake:
        await sentinel.says(b"+switch-master ")
    asleep.signal(signal.SIGCONT)
    link = await Link.open(address)
    assert link.place is not None
    assert link.place[1] == group.servers[1].port
    link.drop()

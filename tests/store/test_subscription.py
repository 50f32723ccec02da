"""A channel of the store."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest

from packhorse_broker.store import subscription
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.subscription import Publisher, Subscription
from tests.support.inspection import Raw
from tests.support.opening import Opener
from tests.support.proxy import FaultProxy


@pytest.fixture
async def publisher(opener: Opener, keys: PartitionKeys) -> AsyncIterator[Publisher]:
    made = Publisher(opener.lane(), keys.events)
    yield made
    await made.close()


async def test_messages_arrive_in_order_at_everybody(
    opener: Opener, keys: PartitionKeys, publisher: Publisher
) -> None:
    async with (
        Subscription(opener.address(), keys.events) as one,
        Subscription(opener.address(), keys.events) as other,
    ):
        for number in range(3):
            await publisher.publish(b"message %d" % number)
        for messages in (one, other):
            assert [await anext(messages) for _ in range(3)] == [
                b"message 0",
                b"message 1",
                b"message 2",
            ]


async def test_messages_of_other_channels_do_not_arrive(
    opener: Opener, keys: PartitionKeys, publisher: Publisher, raw: Raw
) -> None:
    async with Subscription(opener.address(), keys.events) as messages:
        await raw("SPUBLISH", keys.events + b"-other", "not ours")
        await raw("PUBLISH", keys.events, "not sharded")
        await publisher.publish(bytes(range(256)))
        assert await anext(messages) == bytes(range(256))


async def test_what_was_said_before_is_not_heard(
    opener: Opener, keys: PartitionKeys, publisher: Publisher
) -> None:
    await publisher.publish(b"early")
    async with Subscription(opener.address(), keys.events) as messages:
        await publisher.publish(b"late")
        assert await anext(messages) == b"late"


async def test_lost_connection_is_told(
    opener: Opener, proxy: FaultProxy, keys: PartitionKeys, publisher: Publisher
) -> None:
    async with Subscription(opener.address(proxy.url), keys.events) as messages:
        await publisher.publish(b"heard")
        assert await anext(messages) == b"heard"
        proxy.cut()
        with pytest.raises(StoreUnavailable):
            await anext(messages)


async def test_silence_is_taken_for_a_lost_connection(
    opener: Opener, keys: PartitionKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "SILENCE_S", 0.05)
    async with Subscription(opener.address(), keys.events) as messages:
        with pytest.raises(StoreUnavailable):
            await anext(messages)


async def test_subscribing_that_fails_is_unavailable(
    opener: Opener, proxy: FaultProxy, keys: PartitionKeys
) -> None:
    proxy.cut_at(b"SSUBSCRIBE")
    with pytest.raises(StoreUnavailable):
        async with Subscription(opener.address(proxy.url), keys.events):
            pytest.fail("it can't be subscribed")
    proxy.refusing = True
    with pytest.raises(StoreUnavailable):
        async with Subscription(opener.address(proxy.url), keys.events):
            pytest.fail("it can't be connected")


async def test_leaving_ends_the_subscription(
    opener: Opener, keys: PartitionKeys, publisher: Publisher, raw: Raw
) -> None:
    async with Subscription(opener.address(), keys.events) as messages:
        await publisher.publish(b"heard")
        assert await anext(messages) == b"heard"
        assert await raw("PUBSUB", "SHARDNUMSUB", keys.events) == [keys.events, 1]
    while await raw("PUBSUB", "SHARDNUMSUB", keys.events) != [keys.events, 0]:
        continue


async def test_callers_of_a_publisher_take_turns(
    opener: Opener, keys: PartitionKeys, publisher: Publisher
) -> None:
    async with Subscription(opener.address(), keys.events) as messages:
        await asyncio.gather(*(publisher.publish(b"%d" % number) for number in range(20)))
        assert [await anext(messages) for _ in range(20)] == [b"%d" % n for n in range(20)]


async def test_publisher_that_lost_its_connection_makes_a_new_one(
    opener: Opener, proxy: FaultProxy, keys: PartitionKeys
) -> None:
    publisher = Publisher(opener.lane(proxy.url), keys.events)
    numbers = count()
    async with Subscription(opener.address(), keys.events) as messages:
        await publisher.publish(b"%d" % next(numbers))
        proxy.cut()
        with pytest.raises(StoreUnavailable):
            await publisher.publish(b"%d" % next(numbers))
        await publisher.publish(b"%d" % next(numbers))
        assert [await anext(messages) for _ in range(2)] == [b"0", b"2"]

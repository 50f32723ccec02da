"""Types that keep finished jobs for so long, and at most so many of them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from packhorse_broker.broker import Broker
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.trimming import FORGET_ROUNDS, PAGE
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    Bye,
    ClaimJobs,
    Complete,
    Completion,
    Configure,
    Fail,
    Get,
    Retention,
    State,
    TypeChange,
    Watch,
)
from tests.support.brokers import Brokers
from tests.support.inspection import Raw
from tests.support.proxy import FaultProxy
from tests.support.requests import complete, count, create, failure
from tests.support.wire import Wire

LONG_MS = 3_600_000


@pytest.fixture
async def raw(store_url: str) -> AsyncIterator[Raw]:
    opened = await Raw.open(store_url)
    yield opened
    await opened.close()


@pytest.fixture
async def wire(brokers: Brokers, broker: Broker) -> Wire:
    return await brokers.connect(broker)


async def keep(wire: Wire, jobs: int | None) -> None:
    kept = Retention(keep_ms=LONG_MS, keep_jobs=jobs)
    change = TypeChange(type="t", keep_complete=kept, keep_failed=kept)
    await wire.ask(Configure, types=(change,))


async def finish(wire: Wire, *jobs: str, state: State = "COMPLETE", **fields: Any) -> None:
    """One after the other."""
    for start in range(0, len(jobs), 500):
        page = jobs[start : start + 500]
        await create(wire, *page, **fields)
        claims = await wire.ask(ClaimJobs, jobs=page)
        if state == "FAILED":
            await wire.ask(Fail, jobs=tuple(map(failure, claims)))
        else:
            ends = tuple(Completion(job=claim.job, token=claim.token) for claim in claims)
            await wire.ask(Complete, jobs=ends)


async def there(wire: Wire, *jobs: str) -> list[str]:
    found = await wire.ask(Get, jobs=jobs)
    return [
        job
        for job, view in zip(jobs, found, strict=True)
        if getattr(view, "code", None) != Code.NOT_FOUND
    ]


async def test_a_type_has_its_own_time(broker: Broker, wire: Wire) -> None:
    """Instead of the broker's, from the change on."""
    await finish(wire, "before")
    assert await there(wire, "before") == []
    await keep(wire, None)
    await finish(wire, "long")
    kept = Retention(keep_ms=50)
    await wire.ask(Configure, types=(TypeChange(type="t", keep_complete=kept),))
    await create(wire, "short")
    await wire.ask(Watch, jobs=("short",))
    [claim] = await wire.ask(ClaimJobs, jobs=("short",))
    await complete(wire, claim)
    await wire.events("short", lambda event: event.removed)
    assert await there(wire, "long", "short") == ["long"]
    back = TypeChange(type="t", keep_complete=Retention())
    await wire.ask(Configure, types=(back,))
    await finish(wire, "after")
    assert await there(wire, "after") == []


@pytest.mark.parametrize("state", ["COMPLETE", "FAILED"])
async def test_the_oldest_go(broker: Broker, wire: Wire, state: State) -> None:
    await keep(wire, 2)
    jobs = [f"j{number}" for number in range(5)]
    for job in jobs:
        await finish(wire, job, state=state)
    assert await count(wire, state) == 5
    await broker.parts.sweeper.sweep()
    assert await count(wire, state) == 2
    left = await there(wire, *jobs)
    assert len(left) == 2
    assert jobs[4] in left


async def test_none_are_kept(broker: Broker, wire: Wire) -> None:
    await keep(wire, 0)
    await finish(wire, "a", "b")
    await broker.parts.sweeper.sweep()
    assert await count(wire, "COMPLETE") == 0


async def test_without_a_bound_all_stay(broker: Broker, wire: Wire) -> None:
    await keep(wire, None)
    await finish(wire, "a", "b")
    await broker.parts.sweeper.sweep()
    assert await count(wire, "COMPLETE") == 2


async def test_those_that_are_needed_stay_and_do_not_count(broker: Broker, wire: Wire) -> None:
    await keep(wire, 2)
    await finish(wire, "persistent", persistent=True)
    await finish(wire, "handled", handle=True)
    await finish(wire, "a", "b", "c")
    await finish(wire, "late", persistent=True)
    await broker.parts.sweeper.sweep()
    left = await there(wire, "persistent", "handled", "a", "b", "c", "late")
    assert set(left) > {"persistent", "handled", "late"}
    assert len(left) == 5
    await finish(wire, "d", "e")
    await broker.parts.sweeper.sweep()
    assert await count(wire, "COMPLETE") == 5


async def test_many_that_stay_are_passed_over(broker: Broker, wire: Wire) -> None:
    """However many there are, those behind them are counted and go."""
    await keep(wire, 3)
    await finish(wire, *(f"p{number}" for number in range(2 * PAGE + 10)), persistent=True)
    await finish(wire, *(f"j{number}" for number in range(10)))
    await broker.parts.sweeper.sweep()
    assert await count(wire, "COMPLETE") == 2 * PAGE + 10 + 3
    [passed] = broker.parts.trimming._passed.values()
    assert passed.at_ms > 0
    await finish(wire, *(f"k{number}" for number in range(10)))
    await broker.parts.sweeper.sweep()
    assert await count(wire, "COMPLETE") == 2 * PAGE + 10 + 3


async def test_those_that_stayed_are_looked_at_again(
    brokers: Brokers, broker: Broker, wire: Wire
) -> None:
    """By then nobody may be there any more to handle them."""
    await keep(wire, 0)
    await finish(wire, "a", handle=True)
    await broker.parts.sweeper.sweep()
    assert await there(wire, "a") == ["a"]
    await wire.ask(Bye)
    other = await brokers.connect(broker)
    await broker.parts.sweeper.sweep()
    assert await there(other, "a") == ["a"]
    for _ in range(FORGET_ROUNDS):
        await broker.parts.trimming.trim()
    assert await there(other, "a") == []


async def test_many_go_at_once(broker: Broker, wire: Wire) -> None:
    await keep(wire, 10)
    await finish(wire, *(f"j{number}" for number in range(2 * PAGE + 100)))
    await broker.parts.sweeper.sweep()
    assert await count(wire, "COMPLETE") == 10


async def test_several_brokers_do_not_remove_too_many(brokers: Brokers) -> None:
    two = [await brokers.start() for _ in range(2)]
    wire = await brokers.connect(two[0])
    await keep(wire, 10)
    await finish(wire, *(f"j{number}" for number in range(100)))
    for broker in two:
        await broker.parts.type_news.follow()
    for broker in [*two, *two]:
        await broker.parts.trimming.trim()
    assert await count(wire, "COMPLETE") == 10


async def test_stray_entries_stop_nothing(broker: Broker, wire: Wire, raw: Raw) -> None:
    """They are fsck's to mend."""
    await keep(wire, 1)
    key = broker.parts.partitions.keys[0].complete("t")
    for number in range(3):
        await raw("ZADD", key, number + 1, f"stray-{number}")
    await finish(wire, "a", "b")
    await broker.parts.trimming.trim()
    assert len(await there(wire, "a", "b")) == 1
    await raw("ZREM", key, *(f"stray-{number}" for number in range(3)))


async def test_without_a_store_it_is_left_for_the_next_time(
    brokers: Brokers, store_url: str
) -> None:
    async with FaultProxy(store_url) as proxy:
        broker = await brokers.start(store_url=proxy.url)
        wire = await brokers.connect(broker)
        await keep(wire, 0)
        await finish(wire, "a")
        proxy.cut_at(b"ZCOUNT")
        with pytest.raises(StoreUnavailable):
            await broker.parts.trimming.trim()
        await broker.parts.trimming.trim()
        assert await there(wire, "a") == []
        await brokers.stop(broker)

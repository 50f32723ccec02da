"""Claims from a queue that is spread over partitions."""

import asyncio

import pytest

from packhorse_broker.jobs.model import Job, State
from packhorse_broker.jobs.terms import Terms
from packhorse_broker.store import parted_draw
from packhorse_broker.store import round as deciding
from packhorse_broker.store.candidates import FAIR_EVERY
from packhorse_broker.store.heads import Heads
from packhorse_broker.store.shares import OWNER_MS, Rivals
from tests.support.commands import claim, create
from tests.support.inspection import Raw
from tests.support.partitioned import PartitionedStore, PartitionedStores
from tests.support.proxy import Fault, FaultProxy


def of_all(store: PartitionedStore, many: int, stem: str = "job") -> list[str]:
    """Ids of all partitions in turn."""
    names = [store.names(one, many, stem) for one in range(len(store.keys))]
    return [job_id for in_turn in zip(*names, strict=True) for job_id in in_turn]


async def queue(store: PartitionedStore, *names: str, priority: int = 0) -> None:
    """One after the other, so that they have an order."""
    terms = Terms(priority=priority) if priority else None
    for name in names:
        await store.caller.applied(*create(name, terms=terms))


async def draw(store: PartitionedStore, claims: int) -> tuple[list[str], bool]:
    drawn, more = await store.caller.draw("mail", [claim() for _ in range(claims)])
    assert all(applied.job.state is State.STARTED for applied in drawn)
    return [applied.job.id for applied in drawn], more


async def test_priority_and_order_hold_over_all_partitions(stores: PartitionedStores) -> None:
    store = stores.open(3)
    low, plain, high = (of_all(store, 1, stem) for stem in ("low", "plain", "high"))
    await queue(store, *low, priority=-1)
    await queue(store, *plain)
    await queue(store, *high, priority=1)
    assert await draw(store, 2) == (high[:2], True)
    assert await draw(store, 4) == ([*high[2:], *plain], True)
    assert await draw(store, 1) == (low[:1], True)
    assert await draw(store, 5) == (low[1:], False)
    assert await draw(store, 5) == ([], False)


async def test_a_draw_that_its_bytes_cut_short_says_that_there_is_more(
    stores: PartitionedStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "MAX_DRAWN_BYTES", 1_500)
    store = stores.open(2)
    names = [*store.names(0, 3), *store.names(1, 1)]
    await store.caller.submit(*(create(name, body=bytes(1_000)) for name in names))
    drawn, more = await draw(store, 10)
    assert (len(drawn), more) == (3, True)
    rest, more = await draw(store, 10)
    assert (sorted(drawn + rest), more) == (sorted(names), False)


async def test_each_job_gets_another_claim(stores: PartitionedStores) -> None:
    store = stores.open(3)
    await queue(store, *of_all(store, 2))
    claims = [claim(f"client-{number}") for number in range(6)]
    drawn, _ = await store.caller.draw("mail", claims)
    assert sorted(applied.job.runner or "" for applied in drawn) == [
        f"client-{n}" for n in range(6)
    ]


@pytest.mark.parametrize("claims", [1, 3, 7, 50])
async def test_every_job_is_drawn_once(stores: PartitionedStores, claims: int) -> None:
    """Though one partition has many more than the others."""
    store = stores.open(3)
    names = [*of_all(store, 3), *store.names(2, 30, "more")]
    await store.caller.submit(*(create(name) for name in names))
    got: list[str] = []
    more = True
    while more:
        drawn, more = await draw(store, claims)
        assert drawn or not more
        got += drawn
    assert sorted(got) == sorted(names)


async def test_a_partition_with_low_priorities_only_has_its_turn(stores: PartitionedStores) -> None:
    store = stores.open(3)
    urgent = [*store.names(0, 40), *store.names(1, 40)]
    low = store.names(2, 40)
    terms = Terms(priority=5)
    await store.caller.submit(
        *(create(name, terms=terms) for name in urgent), *(create(name) for name in low)
    )
    got = [(await draw(store, 1))[0][0] for _ in range(3 * FAIR_EVERY)]
    assert low[0] in got
    assert sum(name in urgent for name in got) >= 2 * FAIR_EVERY


async def test_what_is_queued_in_a_partition_that_was_empty_is_drawn_at_once(
    stores: PartitionedStores,
) -> None:
    here, there = stores.open(3), stores.open(3)
    for store in (here, there):
        assert await draw(store, 3) == ([], False)
    [first, second] = here.names(1, 2)
    await queue(here, first, second)
    assert await draw(here, 1) == ([first], True)
    assert await draw(there, 3) == ([], False)
    there.caller.committer.passed_on([second], ("mail",), "b-1")
    assert await draw(there, 3) == ([second], False)


async def test_jobs_that_are_kept_are_kept_where_they_are(stores: PartitionedStores) -> None:
    """By a broker that has places for what it queues; others are left to their owners."""
    store = stores.open(3, rivals=lambda _: Rivals(("b-1", "b-2"), 0))
    names = of_all(store, 4)
    await queue(store, *names)
    store.caller.committer.keep(names)
    drawn, _ = await draw(store, len(names))
    assert sorted(drawn) == sorted(names)
    others = of_all(store, 4, "other")
    await queue(store, *others)
    drawn, _ = await draw(store, len(others))
    assert 0 < len(drawn) < len(others)
    store.clock.forward(OWNER_MS)
    rest, _ = await draw(store, len(others))
    assert sorted(drawn + rest) == sorted(others)


# -- partitions that do not answer


async def test_one_that_is_away_keeps_nobody_from_the_others(
    stores: PartitionedStores, proxy: FaultProxy
) -> None:
    store = stores.open(3, through={1: proxy.url}, wait_ms=300)
    names = of_all(store, 2)
    await queue(store, *names)
    proxy.refusing = True
    proxy.cut()
    here = [name for name in names if store.partitions.homes.of(name) != 1]
    assert await draw(store, 3) == (here[:3], True)
    assert await draw(store, 3) == (here[3:], True)
    assert await draw(store, 3) == ([], True)
    proxy.refusing = False
    # It is looked at again a moment later.
    while (found := await draw(store, 3)) == ([], True):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    assert found == ([name for name in names if name not in here], False)


async def test_one_that_hangs_is_waited_for_once(
    stores: PartitionedStores, proxy: FaultProxy
) -> None:
    store = stores.open(3, through={1: proxy.url}, wait_ms=20_000)
    names = of_all(store, 2)
    await queue(store, *names)
    here = [name for name in names if store.partitions.homes.of(name) != 1]
    proxy.pause_at(b"ZRANGE")
    assert await draw(store, 3) == (here[:3], True)
    assert await draw(store, 3) == (here[3:], True)
    assert proxy.commands[b"ZRANGE"] == 1


async def test_one_that_goes_away_after_it_was_looked_at_gives_nothing(
    stores: PartitionedStores, proxy: FaultProxy
) -> None:
    store = stores.open(3, through={1: proxy.url}, wait_ms=300)
    names = of_all(store, 1)
    await queue(store, *names)

    proxy.pause_at(b"WATCH")
    drawing = asyncio.create_task(draw(store, 3))
    await proxy.met()
    proxy.refusing = True
    proxy.cut()
    proxy.resume()
    drawn, more = await drawing
    assert (drawn, more) == ([name for name in names if store.partitions.homes.of(name) != 1], True)


async def test_a_look_that_fails_for_any_reason_ends_its_draw(
    stores: PartitionedStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its type would never be drawn from again."""
    store = stores.open(3)
    names = of_all(store, 1)
    await queue(store, *names)

    async def broken(*_: object) -> None:
        raise ValueError("not to be expected")

    with monkeypatch.context() as patched:
        patched.setattr(Heads, "of", broken)
        assert await draw(store, 3) == ([], True)
    assert await draw(store, 4) == (names, False)


async def test_a_draw_that_still_looks_is_answered_at_the_end(
    stores: PartitionedStores, proxy: FaultProxy
) -> None:
    store = stores.open(3, through={1: proxy.url})
    proxy.pause_at(b"ZRANGE")
    drawing = asyncio.create_task(draw(store, 1))
    await proxy.met()
    await store.caller.committer.close()
    proxy.resume()
    assert await drawing == ([], True)
    assert await draw(store, 1) == ([], True)


async def test_a_draw_is_waited_for_by_a_submission_without_commands(
    stores: PartitionedStores, proxy: FaultProxy
) -> None:
    """Whoever ends the claims of a client knows then that no other comes."""
    store = stores.open(3, through={1: proxy.url})
    names = of_all(store, 1)
    await queue(store, *names)
    proxy.pause_at(b"ZRANGE")
    drawing = asyncio.create_task(draw(store, 3))
    await proxy.met()
    empty = store.caller.submit()
    await store.caller.submit(*(create(name) for name in store.names(0, 1, "later")))
    assert not empty.done()
    proxy.resume()
    assert await empty == []
    assert sorted(await store.partitions.reader.held_by("ann", 10)) == sorted(names)
    await drawing


async def test_a_head_that_cant_be_read_gives_the_turn_to_others(
    stores: PartitionedStores, raw: Raw
) -> None:
    store = stores.open(3)
    [broken], others = store.names(1, 1), store.names(0, 3)
    await queue(store, broken, *others)
    await raw("SET", store.keys[1].record(broken), b"rubbish")
    assert await draw(store, 1) == ([], True)
    assert await draw(store, 1) == (others[:1], True)
    assert await draw(store, 5) == (others[1:], False)


async def test_what_a_partition_grants_too_late_is_given_back(
    stores: PartitionedStores, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is out for as long as its server is away: the others do not wait for that."""
    monkeypatch.setattr(parted_draw, "PATIENCE_S", 0.1)
    store = stores.open(2, through={1: proxy.url})
    [here], [away] = store.names(0, 1), store.names(1, 1)
    await queue(store, here, away)
    proxy.fail(Fault.PAUSE)
    assert await draw(store, 2) == ([here], True)
    await proxy.met()
    proxy.resume()

    async def record() -> Job:
        [found] = await store.partitions.reader.records([away])
        assert isinstance(found, Job)
        return found

    while (await record()).fence == 0 or (await record()).state is not State.QUEUED:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    assert (await record()).current_attempt == 0

"""Changing jobs of several partitions: one answer for all that was asked at once."""

import asyncio
from collections.abc import Sequence
from typing import Final

from packhorse_broker.jobs.commands import Claim, Command, Complete, OnDuplicate, Remove
from packhorse_broker.jobs.model import Applied, Refusal, RefusalCode, State
from packhorse_broker.jobs.terms import Scope, Terms, Unique
from packhorse_broker.store.backlog import MAX_WAITING
from packhorse_broker.store.durability import Durability, Waits
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.types import SettingsChange
from packhorse_broker.store.work import Failed, Result, Submission
from packhorse_protocol.ids import unique_tag
from tests.support.commands import claim, create, first_token
from tests.support.inspection import Raw, contents
from tests.support.partitioned import PartitionedStore, PartitionedStores
from tests.support.proxy import Fault, FaultProxy

Item = tuple[str, Command]

WAIT_MS: Final = 300
"""Of tests that wait until it is given up."""


def mixed(store: PartitionedStore, many: int) -> list[str]:
    """Ids of all partitions in turn."""
    names = [store.names(one, many) for one in range(len(store.keys))]
    return [job_id for of_all in zip(*names, strict=True) for job_id in of_all]


def failed(result: Result) -> bool:
    return isinstance(result, Failed) and isinstance(result.error, StoreUnavailable)


async def submit(store: PartitionedStore, *items: Item) -> tuple[list[Result], bool]:
    """Results, and whether what was waited for after EXEC came."""
    answered: asyncio.Future[tuple[list[Result], bool]]
    answered = asyncio.get_running_loop().create_future()

    def done(results: list[Result], durable: bool) -> None:
        answered.set_result((results, durable))

    store.caller.committer.submit(Submission(items, done))
    return await answered


async def test_results_come_in_the_order_of_the_commands(
    stores: PartitionedStores, raw: Raw
) -> None:
    store = stores.open(3)
    names = mixed(store, 4)
    results = await store.caller.submit(
        *(create(name) for name in names),
        ("none", claim()),
        (names[5], Remove()),
        (names[5], claim()),
    )
    jobs, others = results[: len(names)], results[len(names) :]
    assert [result.job.id for result in jobs if isinstance(result, Applied)] == names
    none, removed, again = others
    assert isinstance(none, Refusal)
    assert none.code is RefusalCode.NOT_FOUND
    assert isinstance(removed, Applied)
    assert removed.removed
    assert isinstance(again, Refusal)
    for partition, keys in enumerate(store.keys):
        there = set(await contents(raw, keys))
        assert there == set(names[partition::3]) - {names[5]}
    assert sorted(change.job.id for change in store.committed if not change.removed) == sorted(
        set(names) - {names[5]}
    )


async def test_one_without_commands_waits_for_those_before_it(
    stores: PartitionedStores, proxy: FaultProxy
) -> None:
    store = stores.open(3, through={2: proxy.url})
    [name], [elsewhere] = store.names(2, 1), store.names(0, 1)
    proxy.fail(Fault.PAUSE)
    created = store.caller.submit(create(name))
    await proxy.met()
    empty = store.caller.submit()
    other = store.caller.submit(create(elsewhere))
    await other
    assert not empty.done()
    proxy.resume()
    assert await empty == []
    assert created.done()


async def test_one_partition_that_is_away_fails_only_its_own(
    stores: PartitionedStores, proxy: FaultProxy
) -> None:
    store = stores.open(3, through={1: proxy.url}, wait_ms=WAIT_MS)
    names = mixed(store, 2)
    proxy.refusing = True
    results = await store.caller.submit(*(create(name) for name in names))
    assert [failed(result) for result in results] == [False, True, False] * 2
    proxy.refusing = False
    results = await store.caller.submit(*(create(name) for name in names))
    assert [isinstance(result, Applied) for result in results] == [False, True, False] * 2


async def test_what_waits_for_one_partition_takes_the_room_of_all(
    stores: PartitionedStores, proxy: FaultProxy
) -> None:
    store = stores.open(2, through={1: proxy.url})
    [here], [away] = store.names(0, 1), store.names(1, 1)
    proxy.fail(Fault.PAUSE)
    first = store.caller.submit(create(away))
    await proxy.met()
    many = store.caller.submit(*[(away, Remove())] * MAX_WAITING)
    [refused] = await store.caller.submit(create(here))
    assert failed(refused)
    proxy.resume()
    await first
    await many
    [result] = await store.caller.submit(create(here))
    assert isinstance(result, Applied)


async def test_durable_is_what_all_partitions_made_so(
    stores: PartitionedStores, proxy: FaultProxy
) -> None:
    """There is no replica: one job asks for it, and its partition is not the last to answer."""
    store = stores.open(3, through={1: proxy.url}, waits=lambda: Waits(replicas=1, timeout_ms=1))
    [first, later], [second, third] = store.names(0, 2), store.names(1, 2)
    terms = Terms(durability=Durability.REPLICATED)
    assert (await submit(store, create(third), create(later)))[1]
    proxy.fail(Fault.PAUSE)
    both = asyncio.create_task(submit(store, create(first, terms=terms), create(second)))
    await proxy.met()
    await store.caller.ask(first, claim())  # Its own partition has answered by then.
    proxy.resume()
    results, durable = await both
    assert all(isinstance(result, Applied) for result in results)
    assert not durable


# -- what concerns more than one job


async def limited(store: PartitionedStore, wanted: SettingsChange) -> None:
    await store.partitions.type_changes.change({"mail": wanted}, by="ann", why="", now_ms=7)
    changed, _ = await store.partitions.types.changed_since(0)
    await store.partitions.type_copies.bring(changed)


async def accepted(store: PartitionedStore, items: Sequence[Item]) -> list[bool]:
    """Asked for one after the other."""
    results = [await store.caller.ask(*item) for item in items]
    refusals = [result for result in results if isinstance(result, Refusal)]
    assert {refusal.code for refusal in refusals} <= {RefusalCode.QUOTA}
    return [isinstance(result, Applied) for result in results]


async def test_a_limit_of_jobs_holds_for_all_partitions_together(
    stores: PartitionedStores,
) -> None:
    store = stores.open(3)
    await limited(store, SettingsChange(max_jobs=5))
    names = mixed(store, 3)
    assert await accepted(store, [create(name) for name in names]) == [True] * 5 + [False] * 4
    await store.caller.applied(names[0], Remove())
    assert await accepted(store, [create(names[8]), create(names[7])]) == [True, False]
    results = await store.caller.submit(create("other", "post"))
    assert isinstance(results[0], Applied)


async def test_a_limit_of_bytes_holds_for_all_partitions_together(
    stores: PartitionedStores,
) -> None:
    store = stores.open(3)
    await limited(store, SettingsChange(max_bytes=2_500))
    names = mixed(store, 2)
    big = [create(name, body=bytes(1_000)) for name in names]
    assert await accepted(store, big) == [True, True, False, False, False, False]
    assert await accepted(store, [create(names[5], body=bytes(500))]) == [True]


async def test_a_partition_that_is_away_counts_as_it_told_last(
    stores: PartitionedStores, proxy: FaultProxy
) -> None:
    """And what is asked of others in the same batch is not held up."""
    store = stores.open(3, through={1: proxy.url}, wait_ms=WAIT_MS)
    await limited(store, SettingsChange(max_jobs=3))
    here, [away] = store.names(0, 4), store.names(1, 1)
    assert await accepted(store, [create(away), create(here[0])]) == [True, True]
    proxy.refusing = True
    proxy.cut()
    results = await store.caller.submit(create(here[1]), create(here[2]), (here[0], Remove()))
    created, refused, removed = results
    assert isinstance(created, Applied)
    assert isinstance(refused, Refusal)
    assert refused.code is RefusalCode.QUOTA
    assert isinstance(removed, Applied)
    proxy.refusing = False
    assert await accepted(store, [create(here[3]), create(here[2])]) == [True, False]


async def test_unique_keys_are_held_where_their_jobs_are(
    stores: PartitionedStores, raw: Raw
) -> None:
    store = stores.open(3)
    homes: set[int] = set()
    for number in range(9):
        terms = Terms(unique=Unique(f"k-{number}", Scope.UNTIL_FINISHED))
        tag = unique_tag("mail", f"k-{number}")
        first, second = f"a~{tag}", f"b~{tag}"
        homes.add(store.partitions.homes.of(first))
        await store.caller.applied(*create(first, terms=terms))
        refused = await store.caller.ask(*create(second, terms=terms))
        assert isinstance(refused, Refusal)
        assert (refused.code, refused.job) == (RefusalCode.DUPLICATE, first)
        how = OnDuplicate.REPLACE
        replaced = await store.caller.applied(
            *create(second, body=b"new", terms=terms, on_duplicate=how)
        )
        assert (replaced.job.id, replaced.job.body) == (first, b"new")
        asked = claim()
        await store.caller.applied(first, asked)
        await store.caller.applied(first, Complete("ann", first_token(asked), b""))
        assert (await store.caller.applied(*create(second, terms=terms))).job.id == second
    assert homes == {0, 1, 2}
    for keys in store.keys:
        await contents(raw, keys)


async def test_jobs_of_all_partitions_go_through_their_states(
    stores: PartitionedStores, raw: Raw
) -> None:
    store = stores.open(3)
    names = mixed(store, 5)
    claims: dict[str, Claim] = {name: claim() for name in names}
    await store.caller.submit(*(create(name) for name in names))
    started = await store.caller.submit(*claims.items())
    ended = await store.caller.submit(
        *((name, Complete("ann", first_token(asked), b"r")) for name, asked in claims.items())
    )
    for results, state in ((started, State.STARTED), (ended, State.COMPLETE)):
        assert [result.job.state for result in results if isinstance(result, Applied)] == [
            state
        ] * len(names)
    for keys in store.keys:
        assert await contents(raw, keys) == {}

"""Reading jobs of several partitions: as if they were in one."""

from collections.abc import Sequence
from typing import Final

import pytest
from msgspec.structs import replace

from packhorse_broker.jobs.model import Job, State
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.records import CorruptRecord
from tests.store.twins import TYPES, Twins
from tests.support.commands import create
from tests.support.inspection import Raw
from tests.support.partitioned import PartitionedStore, PartitionedStores
from tests.support.proxy import FaultProxy

ALL: Final = 1_000


@pytest.fixture
async def twins(stores: PartitionedStores) -> Twins:
    return Twins(stores)


def by_turn(store: PartitionedStore, ids: Sequence[str]) -> list[str]:
    """In turn over the partitions, what is of one in its order."""
    ranks: dict[int, int] = {}
    placed: list[tuple[int, str]] = []
    for job_id in ids:
        home = store.partitions.homes.of(job_id)
        ranks[home] = ranks.get(home, -1) + 1
        placed.append((ranks[home], job_id))
    return [job_id for _, job_id in sorted(placed)]


async def test_all_that_is_read_is_as_with_one_partition(twins: Twins) -> None:
    names = await twins.fill()
    several, one = twins.several.partitions.reader, twins.one.partitions.reader
    assert {twins.several.partitions.homes.of(name) for name in names} == {0, 1, 2}
    asked = [*names[::-1], "none", names[3], names[3]]
    for read in ("records", "jobs"):
        found = await getattr(several, read)(asked)
        assert found == await getattr(one, read)(asked)
        assert sum(job is not None for job in found) > 20
    assert {job.state for job in await several.jobs(names) if isinstance(job, Job)} == set(State)
    assert await several.jobs([]) == []
    for job_id in (*names, "none"):
        for offset, limit in ((0, 100), (1, 1), (2, 5)):
            page = await several.log(job_id, offset, limit)
            assert page == await one.log(job_id, offset, limit)
    for types in ([], ["post"], [*TYPES, "none"]):
        assert await several.counts(types) == await one.counts(types)
    for partition, job_type in enumerate(("zinc", "art", "rare")):
        [name] = twins.several.names(partition, 1, "only")
        await twins.do(*create(name, job_type))
    assert await several.types() == await one.types() == ["art", *TYPES, "rare", "zinc"]


@pytest.mark.parametrize("limit", [1, 2, 5, ALL])
async def test_lists_of_jobs_have_the_same_jobs(twins: Twins, limit: int) -> None:
    await twins.fill()
    several, one = twins.several.partitions.reader, twins.one.partitions.reader
    for client in ("ann", "bob", "eve", "nobody"):
        for read in ("held_by", "handled_by"):
            whole = await getattr(one, read)(client, ALL)
            found = await getattr(several, read)(client, limit)
            assert found == by_turn(twins.several, whole)[:limit]
        found = await several.owed_to(client, limit)
        assert list(found.items()) == list((await one.owed_to(client, limit)).items())
    found = await several.owed_to_group("shop", limit)
    assert list(found.items()) == list((await one.owed_to_group("shop", limit)).items())
    assert len(await several.owed_to_group("shop", ALL)) > 5


async def test_what_is_due_is_found_in_all_partitions(twins: Twins) -> None:
    await twins.fill()
    several, one = twins.several.partitions.reader, twins.one.partitions.reader
    moments: list[int] = []
    now_ms = 0
    while True:
        due, next_ms = await several.due(now_ms, ALL)
        expected, expected_ms = await one.due(now_ms, ALL)
        assert (sorted(due), next_ms) == (sorted(expected), expected_ms)
        if not next_ms:
            break
        moments.append(next_ms)
        now_ms = next_ms
    assert len(moments) > 5
    whole, _ = await several.due(now_ms, ALL)
    for limit in (1, 4, len(whole)):
        page, _ = await several.due(now_ms, limit)
        assert page == whole[:limit]
        assert len(page) == limit


async def test_whoever_looks_past_some_finds_what_is_behind_them_in_each_partition(
    stores: PartitionedStores, raw: Raw
) -> None:
    store = stores.open(3)
    names = [store.names(one, 4) for one in range(3)]
    for keys, own in zip(store.keys, names, strict=True):
        for at, job_id in enumerate(own, 1):
            await raw("ZADD", keys.timers, at, job_id)
    reader = store.partitions.reader
    for skip in range(5):
        due, next_ms = await reader.due(100, ALL, skip=skip)
        assert sorted(due) == sorted(job_id for own in names for job_id in own[skip:])
        assert next_ms == 0
    due, next_ms = await reader.due(2, ALL)
    assert sorted(due) == sorted(job_id for own in names for job_id in own[:2])
    assert next_ms == 3


async def test_a_record_that_can_not_be_read_is_told_in_its_place(
    stores: PartitionedStores, raw: Raw
) -> None:
    store = stores.open(3)
    [broken], [good] = store.names(0, 1), store.names(1, 1)
    await store.caller.applied(*create(good))
    await raw("SET", store.keys[0].record(broken), b"\xc1")
    first, second = await store.partitions.reader.records([broken, good])
    assert isinstance(first, CorruptRecord)
    assert isinstance(second, Job)
    with pytest.raises(CorruptRecord):
        await store.partitions.reader.log(broken, 0, 1)


async def test_one_partition_that_is_away_hides_only_its_own_jobs(
    stores: PartitionedStores, proxy: FaultProxy
) -> None:
    store = stores.open(3, through={1: proxy.url})
    reader = store.partitions.reader
    [here], [away] = store.names(0, 1), store.names(1, 1)
    await store.caller.submit(create(here), create(away))
    proxy.refusing = True
    proxy.cut()
    [found] = await reader.jobs([here])
    assert isinstance(found, Job)
    with pytest.raises(StoreUnavailable):
        await reader.jobs([here, away])
    with pytest.raises(StoreUnavailable):
        await reader.counts(["mail"])
    proxy.refusing = False
    first, second = await reader.jobs([here, away])
    assert isinstance(first, Job)
    assert isinstance(second, Job)
    assert replace(first, id=away, order=0) == replace(second, order=0)

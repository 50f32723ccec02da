"""What there is of types in several partitions: as if they were one."""

from collections.abc import Awaitable, Callable
from typing import Final

import pytest
from msgspec.structs import replace

from packhorse_broker.jobs.commands import Cancel, Remove, Retry
from packhorse_broker.jobs.model import ActionRecord, State
from packhorse_broker.jobs.terms import Terms
from packhorse_broker.store.records import encode_action
from packhorse_broker.store.type_readers import ReadingTypes
from packhorse_broker.store.types import SettingsChange
from tests.store.twins import TYPES, Twins
from tests.support.commands import create
from tests.support.inspection import Raw
from tests.support.partitioned import PartitionedStore, PartitionedStores

FINISHED: Final = (State.COMPLETE, State.FAILED)


@pytest.fixture
async def twins(stores: PartitionedStores) -> Twins:
    return Twins(stores)


async def test_types_in_numbers_are_those_of_one_partition(twins: Twins) -> None:
    await twins.fill()
    paused = {"post": SettingsChange(paused=True)}
    for store in (twins.several, twins.one):
        await store.partitions.type_changes.change(paused, by="ann", why="", now_ms=7)
    several, one = twins.several.partitions.types, twins.one.partitions.types
    asked = ["none", *TYPES]
    found = await several.overviews(asked)
    assert found == await one.overviews(asked)
    assert all(overview.head_ms and overview.jobs_bytes for overview in found[1:])
    assert found[2].settings.paused
    assert await several.changed_since(0) == await one.changed_since(0)
    places = [(job_type, state) for job_type in asked for state in FINISHED]
    assert await several.finished(places) == await one.finished(places)
    assert any(await several.finished(places))


async def test_the_head_of_a_queue_is_what_is_claimed_next(twins: Twins) -> None:
    """By priority, and not the one that waits longest."""
    for number in range(6):
        await twins.do(*create(f"plain-{number}", terms=Terms(priority=number // 3)))
        twins.forward(100)
    expected = [
        overview.head_ms for overview in await twins.one.partitions.types.overviews(["mail"])
    ]
    assert expected == [twins.one.clock.now_ms() - 300]
    found = await twins.several.partitions.types.overviews(["mail"])
    assert [overview.head_ms for overview in found] == expected


async def test_names_come_in_pages(stores: PartitionedStores, raw: Raw) -> None:
    store = stores.open(3)
    for keys, names in zip(store.keys, (("b", "f"), ("a", "b", "e"), ("d", "c")), strict=True):
        await raw("SADD", keys.types, *names)
    types = store.partitions.types
    assert await types.names("", 100) == list("abcdef")
    assert [await types.names(after, 2) for after in ("", "b", "d", "f")] == [
        ["a", "b"],
        ["c", "d"],
        ["e", "f"],
        [],
    ]


async def test_schemas_and_settings_are_those_of_the_first(stores: PartitionedStores) -> None:
    store = stores.open(3)
    await store.partitions.type_changes.publish({"mail": b"{}"}, by="ann", now_ms=7)
    [schema, none] = await store.partitions.types.schemas(["mail", "none"])
    assert schema is not None
    assert schema.schema == b"{}"
    assert none is None


# -- finished jobs that are too many


@pytest.mark.parametrize("state", FINISHED)
async def test_oldest_finished_jobs_are_those_of_one_partition(
    twins: Twins, raw: Raw, state: State
) -> None:
    for number in range(20):
        name, at = f"job-{number}", number // 2
        home = twins.several.partitions.homes.of(name)
        for keys in (twins.several.keys[home], twins.one.keys[0]):
            key = keys.complete("mail") if state is State.COMPLETE else keys.failed("mail")
            await raw("ZADD", key, at, name)
    several, one = twins.several.partitions.types, twins.one.partitions.types
    for from_ms in (0, 3, 99):
        for skip in (0, 1, 5, 30):
            for limit in (1, 4, 30):
                how = {"from_ms": from_ms, "skip": skip, "limit": limit}
                count, found = await several.oldest_finished("mail", state, **how)
                expected, jobs = await one.oldest_finished("mail", state, **how)
                assert (count, list(found.items())) == (expected, list(jobs.items()))


# -- actions


def action(at: int, why: str) -> ActionRecord:
    return ActionRecord(at, "remove", "ann", why, job="anywhere")


async def push(raw: Raw, store: PartitionedStore, partition: int, *found: ActionRecord) -> None:
    """They were done to a job that lives there."""
    [job] = store.names(partition, 1)
    at_home = (encode_action(replace(one, job=job)) for one in found)
    await raw("RPUSH", store.keys[partition].actions, *at_home)


async def told(
    reader: ReadingTypes,
    limit: int,
    shown: int,
    meanwhile: Callable[[], Awaitable[None]] | None = None,
) -> list[ActionRecord]:
    """Page by page, of each at most so many as are shown; the others are asked for as `left`."""
    found: list[ActionRecord] = []
    before_ms: int | None = None
    left: tuple[int, ...] = ()
    while True:
        page = await reader.actions(before_ms, limit, left=left)
        if not page:
            return found
        found += page[:shown]
        before_ms = page[:shown][-1].at
        left = reader.left(one for one in page[shown:] if one.at == before_ms)
        if meanwhile is not None:
            await meanwhile()
        if len(page) < limit and len(page) <= shown:
            return found


@pytest.mark.parametrize(("limit", "shown"), [(1, 99), (5, 99), (7, 3), (40, 1), (200, 4)])
async def test_actions_are_told_once_each_and_newest_first(
    stores: PartitionedStores, raw: Raw, limit: int, shown: int
) -> None:
    """One partition has many, another few, and in one moment there were some in all."""
    store = stores.open(3)
    done = [
        [action(at, f"0-{at}") for at in range(1, 40)],
        [action(at, f"1-{at}") for at in (1, 2, 20, 60)],
        [action(20, f"2-{number}") for number in range(12)],
    ]
    for partition, found in enumerate(done):
        await push(raw, store, partition, *found)
    found = await told(store.partitions.types, limit, shown)
    assert [one.at for one in found] == sorted((one.at for one in found), reverse=True)
    assert sorted(one.why for one in found) == sorted(one.why for own in done for one in own)


@pytest.mark.parametrize("limit", [1, 5, 99])
@pytest.mark.parametrize("shown", [1, 2, 5, 7])
@pytest.mark.parametrize("partition", [0, 1, 2])
async def test_one_that_is_told_late_puts_none_out_of_its_place(
    stores: PartitionedStores, raw: Raw, limit: int, shown: int, partition: int
) -> None:
    """It comes in, between two pages, among those of its millisecond that are left."""
    store = stores.open(3)
    for one in range(3):
        await push(raw, store, one, *(action(5, f"{one}-{number}") for number in range(4)))
    await push(raw, store, 1, action(3, "older"))

    async def meanwhile() -> None:
        await push(raw, store, partition, action(5, "late"))

    found = await told(store.partitions.types, limit, shown, meanwhile)
    whys = [one.why for one in found if one.why != "late"]
    assert sorted(whys) == sorted(
        ["older", *(f"{one}-{number}" for one in range(3) for number in range(4))]
    )


async def test_a_page_ends_where_no_partition_has_more_of_its_moment(
    stores: PartitionedStores, raw: Raw
) -> None:
    store = stores.open(3)
    for partition in range(3):
        await push(raw, store, partition, *(action(at, f"{partition}") for at in range(1, 30)))
    page = await store.partitions.types.actions(None, 4)
    assert [one.at for one in page][:6] == [29, 29, 29, 28, 28, 28]
    assert all([one.at for one in page].count(one.at) == 3 for one in page)
    following = await store.partitions.types.actions(page[-1].at, 4)
    assert following[0].at == page[-1].at - 1


async def test_what_is_done_to_jobs_is_told_wherever_they_are(twins: Twins) -> None:
    names = [job_id for one in range(3) for job_id in twins.several.names(one, 3)]
    for number, job_id in enumerate(names):
        await twins.do(*create(job_id))
        twins.forward(10)
        await twins.do(job_id, Cancel("ann", why=f"why {number}"))
        twins.forward(10)
        await twins.do(job_id, Retry("bob"))
        twins.forward(10)
        await twins.do(job_id, Remove("cid"))
        twins.forward(10)
    several, one = twins.several.partitions.types, twins.one.partitions.types
    assert await told(several, 4, 99) == await one.actions(None, 1_000)
    assert len(await one.actions(None, 1_000)) == 3 * len(names)

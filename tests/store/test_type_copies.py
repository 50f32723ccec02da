"""What is set about types comes from the first partition to the others."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import pytest

from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.packing import Argument
from packhorse_broker.store.read_lane import ReadLane
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store.type_copies import PAGE, TypeCopies
from packhorse_broker.store.types import (
    PLAIN,
    SettingsChange,
    TypeSettings,
    decode_settings,
    encode_settings,
)
from tests.support.commands import claim, create
from tests.support.inspection import Raw
from tests.support.opening import Opener
from tests.support.partitioned import PartitionedStore, PartitionedStores
from tests.support.proxy import Fault, FaultProxy

PAUSE: Final = SettingsChange(paused=True)
RESUME: Final = SettingsChange(paused=False)


async def change(store: PartitionedStore, wanted: SettingsChange, *types: str) -> None:
    """In the first partition, as the broker does before it follows."""
    named = dict.fromkeys(types or ("mail",), wanted)
    await store.partitions.type_changes.change(named, by="ann", why="", now_ms=7)


async def follow(store: PartitionedStore, number: int = 0) -> int:
    """All that was changed since then, to all partitions; the number of the last change."""
    while True:
        changed, newest = await store.partitions.types.changed_since(number)
        if not changed:
            return number
        await store.partitions.type_copies.bring(changed)
        number = newest


async def stored(raw: Raw, store: PartitionedStore, job_type: str = "mail") -> list[TypeSettings]:
    """In each partition."""
    return [decode_settings(await raw("GET", keys.settings(job_type))) for keys in store.keys]


async def test_a_change_comes_to_all_partitions(stores: PartitionedStores, raw: Raw) -> None:
    store = stores.open(3)
    await change(store, PAUSE)
    first, *others = await stored(raw, store)
    assert first.paused
    assert others == [PLAIN, PLAIN]
    number = await follow(store)
    assert await stored(raw, store) == [first] * 3
    await change(store, RESUME)
    await follow(store, number)
    resumed, *others = await stored(raw, store)
    assert not resumed.paused
    assert others == [resumed] * 2


async def test_what_was_never_brought_is_brought_by_the_next_who_follows(
    stores: PartitionedStores, raw: Raw
) -> None:
    gone, left = stores.open(3), stores.open(3)
    await follow(gone, await follow(left))
    await change(gone, PAUSE)
    await follow(left)
    first, *others = await stored(raw, left)
    assert first.paused
    assert others == [first] * 2


async def test_an_older_copy_replaces_no_newer_one(stores: PartitionedStores, raw: Raw) -> None:
    store = stores.open(3)
    await change(store, PAUSE)
    late, _ = await store.partitions.types.changed_since(0)
    await change(store, RESUME)
    await follow(store)
    newest = await stored(raw, store)
    await store.partitions.type_copies.bring(late)
    assert await stored(raw, store) == newest


@pytest.mark.parametrize("newer_first", [False, True])
async def test_of_two_brokers_at_once_the_newer_copy_stays(
    stores: PartitionedStores, raw: Raw, proxy: FaultProxy, *, newer_first: bool
) -> None:
    """One is overtaken between what it watched and its EXEC."""
    slow, fast = stores.open(3, through={2: proxy.url}), stores.open(3)
    await change(slow, PAUSE)
    older, _ = await slow.partitions.types.changed_since(0)
    await change(slow, RESUME)
    newer, _ = await slow.partitions.types.changed_since(0)
    proxy.fail(Fault.PAUSE)
    first, second = (newer, older) if newer_first else (older, newer)
    bringing = asyncio.create_task(slow.partitions.type_copies.bring(first))
    await proxy.met()
    await fast.partitions.type_copies.bring(second)
    proxy.resume()
    await bringing
    assert await stored(raw, slow) == [newer["mail"]] * 3


async def test_what_can_not_be_read_is_replaced(stores: PartitionedStores, raw: Raw) -> None:
    store = stores.open(2)
    await change(store, PAUSE)
    await raw("SET", store.keys[1].settings("mail"), b"\xc1")
    await follow(store)
    first, second = await stored(raw, store)
    assert first == second


async def test_many_types_are_brought_in_pages(stores: PartitionedStores, raw: Raw) -> None:
    store = stores.open(2)
    types = [f"type-{number}" for number in range(2 * PAGE + 1)]
    await change(store, PAUSE, *types)
    await follow(store)
    values = await raw("MGET", *map(store.keys[1].settings, types))
    assert all(decode_settings(value).paused for value in values)


async def test_one_partition_that_is_away_has_it_when_it_is_back(
    stores: PartitionedStores, raw: Raw, proxy: FaultProxy
) -> None:
    store = stores.open(3, through={1: proxy.url})
    await change(store, PAUSE)
    proxy.refusing = True
    with pytest.raises(StoreUnavailable):
        await follow(store)
    first, away, last = await stored(raw, store)
    assert (away, last) == (PLAIN, first)
    proxy.refusing = False
    await follow(store)
    assert await stored(raw, store) == [first] * 3


async def test_a_failure_is_told_when_all_have_ended(
    stores: PartitionedStores, opener: Opener, raw: Raw
) -> None:
    """Whoever tries again uses the same lanes, and these take one transaction at a time."""
    store = stores.open(3)
    arrived, go_on = asyncio.Event(), asyncio.Event()

    class Away(Lane):
        async def watch(self, keys: Sequence[bytes]) -> list[bytes | None]:
            raise StoreUnavailable("away")

    class Slow(Lane):
        async def commit(
            self,
            commands: Sequence[Argument],
            *,
            grows: bool = False,
            ahead: Sequence[bytes] = (),
            absent: Sequence[bytes] = (),
            behind: Sequence[bytes] = (),
        ) -> list[Any] | None:
            arrived.set()
            await go_on.wait()
            return await super().commit(
                commands, grows=grows, ahead=ahead, absent=absent, behind=behind
            )

    away = Away(opener.address(), b"away")
    slow = Slow(opener.address(), store.keys[2].writer("slow"))
    copies = TypeCopies(
        ReadLane(opener.lane(), store.keys[0]), [(away, store.keys[1]), (slow, store.keys[2])]
    )
    settings = TypeSettings(paused=True, number=1)
    bringing = asyncio.create_task(copies.bring({"mail": settings}))
    await arrived.wait()
    assert not bringing.done()
    go_on.set()
    with pytest.raises(StoreUnavailable):
        await bringing
    assert await raw("GET", store.keys[2].settings("mail")) == encode_settings(settings)
    await copies.close()


async def test_a_pause_holds_in_every_partition_once_it_was_brought(
    stores: PartitionedStores,
) -> None:
    store = stores.open(3)
    names = [job_id for one in range(3) for job_id in store.names(one, 2)]
    await store.caller.submit(*map(create, names))
    await change(store, PAUSE)
    await follow(store)
    assert await store.caller.draw("mail", [claim()] * 6) == ([], False)
    await change(store, RESUME)
    await follow(store)
    drawn, _ = await store.caller.draw("mail", [claim() for _ in names])
    assert {applied.job.id for applied in drawn} == set(names)


async def test_a_change_that_the_first_partition_has_lost_is_undone_in_the_others(
    stores: PartitionedStores, raw: Raw
) -> None:
    store = stores.open(3)
    await change(store, PAUSE)
    kept = await raw("GET", store.keys[0].settings("mail"))
    number = await follow(store)
    await change(store, RESUME)
    await change(store, PAUSE, "fax")
    await follow(store, number)
    await raw("SET", store.keys[0].settings("mail"), kept)
    await raw("DEL", store.keys[0].settings("fax"))
    await store.partitions.type_copies.restore()
    [before] = {one.number: one for one in await stored(raw, store)}.values()
    assert before.paused
    assert [await raw("EXISTS", keys.settings("fax")) for keys in store.keys] == [0, 0, 0]
    # What is set from now on comes to all again.
    await change(store, RESUME)
    await follow(store, number)
    assert [one.paused for one in await stored(raw, store)] == [False] * 3

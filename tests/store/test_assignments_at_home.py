"""Which broker brings an outcome to a group, where the jobs are in several partitions."""

from collections.abc import Sequence
from typing import Final

import pytest

from packhorse_broker.jobs.commands import Complete, Handled
from packhorse_broker.store.errors import StoreUnavailable
from tests.support.commands import claim, create, first_token
from tests.support.inspection import Raw, contents
from tests.support.partitioned import PartitionedStore, PartitionedStores
from tests.support.proxy import FaultProxy

GROUP: Final = "shop"


async def owed(store: PartitionedStore, many: int = 2) -> list[str]:
    """Jobs of all partitions whose outcomes the group is owed."""
    names = [job_id for one in range(len(store.keys)) for job_id in store.names(one, many)]
    claims = {job_id: claim() for job_id in names}
    await store.caller.submit(*(create(job_id, group=GROUP) for job_id in names))
    await store.caller.submit(*claims.items())
    await store.caller.submit(
        *((job_id, Complete("ann", first_token(one), b"r")) for job_id, one in claims.items())
    )
    return names


def all_by(broker: str, names: Sequence[str]) -> dict[str, str]:
    return dict.fromkeys(names, broker)


async def test_who_comes_first_has_it_in_every_partition(
    stores: PartitionedStores, raw: Raw
) -> None:
    one, two = stores.open(3), stores.open(3, broker="b-2")
    names = await owed(one)
    ours, theirs = one.partitions.assignments, two.partitions.assignments
    assert (ours.broker, theirs.broker) == ("b-1", "b-2")
    some = names[::2]
    assert await ours.take(GROUP, some) == all_by("b-1", some)
    others = [name for name in names if name not in some]
    assert await theirs.take(GROUP, names) == {**all_by("b-1", some), **all_by("b-2", others)}
    for keys, partition in zip(one.keys, range(3), strict=True):
        taken = await raw("HKEYS", keys.taken(GROUP))
        assert sorted(map(bytes.decode, taken)) == one.names(partition, 2)


async def test_what_is_given_back_or_taken_over_is_there_for_all(
    stores: PartitionedStores,
) -> None:
    one, two = stores.open(3), stores.open(3, broker="b-2")
    names = await owed(one)
    ours, theirs = one.partitions.assignments, two.partitions.assignments
    await ours.take(GROUP, names)
    await ours.give_back(GROUP, names[:3])
    assert await theirs.take(GROUP, names[:3]) == all_by("b-2", names[:3])
    await theirs.take_over(GROUP, names[3:], {"b-3"})
    assert await theirs.take(GROUP, names[3:]) == all_by("b-1", names[3:])
    await theirs.take_over(GROUP, names[3:], {"b-1"})
    assert await theirs.take(GROUP, names[3:]) == all_by("b-2", names[3:])


async def test_what_is_handled_is_taken_by_nobody(stores: PartitionedStores, raw: Raw) -> None:
    store = stores.open(3)
    names = await owed(store)
    assignments = store.partitions.assignments
    await assignments.take(GROUP, names)
    await store.caller.submit(*((name, Handled("ann", GROUP)) for name in names[1:]))
    assert await assignments.take(GROUP, names) == all_by("b-1", names[:1])
    for keys in store.keys:
        await contents(raw, keys)


async def test_one_partition_that_is_away_is_tried_again(
    stores: PartitionedStores, proxy: FaultProxy
) -> None:
    """What was taken in the others stays so, and is told of then."""
    store = stores.open(3, through={1: proxy.url})
    names = await owed(store)
    here = [name for name in names if store.partitions.homes.of(name) != 1]
    proxy.refusing = True
    proxy.cut()
    assert await store.partitions.assignments.take(GROUP, here) == all_by("b-1", here)
    with pytest.raises(StoreUnavailable):
        await store.partitions.assignments.take(GROUP, names)
    proxy.refusing = False
    assert await store.partitions.assignments.take(GROUP, names) == all_by("b-1", names)

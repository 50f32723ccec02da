"""Types with jobs of which nobody told are found, and idle ones cost little."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, TypeAlias

import pytest

from packhorse_broker.store.waiting import PAGE, TOGETHER, Waiting
from tests.support.inspection import Raw
from tests.support.partitioned import PartitionedStore, PartitionedStores
from tests.support.proxy import FaultProxy

MANY: Final = [f"type-{number}" for number in range(2 * PAGE + 3)]


class Finds:
    """What is found in a store, sorted."""

    def __init__(self, store: PartitionedStore) -> None:
        self.waiting = Waiting(store.partitions.read_lanes, self._found)
        self._all: list[tuple[int, str]] = []

    def _found(self, partition: int, types: Sequence[str]) -> None:
        self._all += [(partition, job_type) for job_type in types]

    async def look(self, types: Sequence[str]) -> list[tuple[int, str]]:
        self.waiting.look(types)
        if self.waiting._round is not None:
            await self.waiting._round
        return self.taken()

    def taken(self) -> list[tuple[int, str]]:
        found, self._all = sorted(self._all), []
        return found


Find: TypeAlias = Callable[[PartitionedStore], Finds]


@pytest.fixture
async def find() -> AsyncIterator[Find]:
    made: list[Finds] = []

    def make(store: PartitionedStore) -> Finds:
        made.append(Finds(store))
        return made[-1]

    yield make
    for finds in made:
        await finds.waiting.close()


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("types", [MANY[:1], MANY[: TOGETHER + 1], MANY])
async def test_all_types_that_have_jobs_are_found(
    stores: PartitionedStores, raw: Raw, find: Find, types: list[str], partitions: int
) -> None:
    store = stores.open(partitions)
    finds = find(store)
    assert await finds.look(types) == []
    expected = sorted(
        (place % partitions, job_type)
        for place, job_type in enumerate({types[0], types[len(types) // 2], types[-1]})
    )
    for partition, job_type in [*expected, (0, "not asked about")]:
        await raw("ZADD", store.keys[partition].queue(job_type), 0, "job")
    assert await finds.look(types) == expected
    assert await finds.look([]) == []


async def test_idle_types_are_asked_about_together(
    stores: PartitionedStores, proxy: FaultProxy, find: Find
) -> None:
    finds = find(stores.open(2, through={0: proxy.url, 1: proxy.url}))
    await finds.look(MANY[:TOGETHER])
    assert proxy.commands[b"EXISTS"] == 2
    proxy.commands = Counter()
    await finds.look(MANY[:PAGE])
    assert proxy.commands[b"EXISTS"] == 2 * PAGE // TOGETHER


async def test_a_partition_that_hangs_keeps_nobody_from_the_others(
    stores: PartitionedStores, proxy: FaultProxy, raw: Raw, find: Find
) -> None:
    store = stores.open(3, through={1: proxy.url})
    for keys in store.keys:
        await raw("ZADD", keys.queue("mail"), 0, "job")
    finds = find(store)
    proxy.pause_at(b"EXISTS")
    assert await finds.look(["mail"]) == [(0, "mail"), (2, "mail")]
    assert await finds.look(["mail"]) == [(0, "mail"), (2, "mail")]
    hanging = finds.waiting._looks[1]
    proxy.resume()
    await hanging
    assert finds.taken() == [(1, "mail")]
    assert await finds.look(["mail"]) == [(0, "mail"), (1, "mail"), (2, "mail")]


async def test_one_that_is_away_is_asked_again(
    stores: PartitionedStores, proxy: FaultProxy, raw: Raw, find: Find
) -> None:
    store = stores.open(2, through={1: proxy.url})
    await raw("ZADD", store.keys[1].queue("mail"), 0, "job")
    finds = find(store)
    proxy.refusing = True
    assert await finds.look(["mail"]) == []
    proxy.refusing = False
    assert await finds.look(["mail"]) == [(1, "mail")]


async def test_a_look_while_another_is_under_way_is_none(
    stores: PartitionedStores, proxy: FaultProxy, find: Find
) -> None:
    finds = find(stores.open(1, through={0: proxy.url}))
    proxy.pause_at(b"EXISTS")
    finds.waiting.look(["mail"])
    await proxy.met()
    finds.waiting.look(["mail"])
    proxy.resume()
    await finds.look(["mail"])
    assert proxy.commands[b"EXISTS"] == 1


async def test_it_can_be_closed_while_it_looks(
    stores: PartitionedStores, proxy: FaultProxy, find: Find
) -> None:
    finds = find(stores.open(1, through={0: proxy.url}))
    proxy.pause_at(b"EXISTS")
    finds.waiting.look(["mail"])
    await proxy.met()
    await finds.waiting.close()
    assert finds.taken() == []

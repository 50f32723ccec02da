"""What a Cluster lost is noted, by slot; what only went elsewhere is not."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.history.cluster import Clustered
from tests.history.history import ROLLED_BACK, Entry, Recorder, read

SHARD = "shard-1"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Clustered]:
    started = Clustered(Recorder(tmp_path, "supervisor"))
    try:
        await started.start(1)
        await started.settled()
        yield started
    finally:
        await started.stop()


def notes(folder: Path, op: str) -> list[Entry]:
    return [entry for entry in read(folder) if entry.op == op]


async def test_nothing_is_lost_where_all_is_passed_on(store: Clustered, tmp_path: Path) -> None:
    assert await store.may_lose(SHARD)
    await store.fail_over(SHARD)
    await store.settled()
    for slot in ("partition-0", "clients"):
        await store.move(slot)
    await store.settled()
    assert len(notes(tmp_path, "failover")) == 1
    assert len(notes(tmp_path, "move")) == 2
    assert notes(tmp_path, ROLLED_BACK) == []


async def test_what_a_replica_did_not_hear_of_is_lost(store: Clustered, tmp_path: Path) -> None:
    primary = store._group.shard(1)[0]
    own = {
        name
        for name, slot in store._slots.items()
        if (await store._group.owners([slot]))[slot] is primary
    }
    assert await store.may_lose(SHARD)
    await store.strand(SHARD)
    assert not await store.may_lose("shard-0")
    await store._marks.all_marked()
    await store.restart(SHARD)
    await store.settled()
    assert len(notes(tmp_path, "failover")) == 1
    lost = {f"partition-{note.slot}" for note in notes(tmp_path, ROLLED_BACK)}
    assert lost == {name.replace("clients", "partition-c") for name in own}

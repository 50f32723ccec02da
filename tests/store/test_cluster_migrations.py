"""A slot goes to another primary while its values are brought to the next schema version."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest

from packhorse_broker.store import schema
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import ClientKeys, PartitionKeys
from packhorse_broker.store.migrations import PAGE, Migration, Progress, Step
from packhorse_broker.store.packing import Argument
from packhorse_broker.store.schema import open_schema
from packhorse_broker.store.transaction import Lane
from tests.support.cluster import ClusterGroup, slot_of
from tests.support.inspection import Raw
from tests.support.opening import Opener

VALUES = 3 * PAGE
"""More than a page: the rest is looked for where the slot has gone."""


def small(key: bytes, value: bytes) -> Sequence[Argument]:
    return () if b"b" in value else [("SET", key, value + b"b")]


def large(key: bytes, value: bytes) -> Sequence[Argument]:
    return () if b"B" in value else [("SET", key, value + b"B")]


STEPS = (
    Step(
        version=2, about="add b", prefix=lambda keys: keys.record(""), expand=small, contract=large
    ),
)


class Halted(Exception):
    """The migration is stopped here, with its connections open."""


@dataclass(frozen=True)
class Store:
    group: ClusterGroup
    migration: Migration
    keys: PartitionKeys

    async def values(self) -> set[bytes]:
        primary = await self.group.primary_of(self.keys.record(""))
        raw = await Raw.open(primary.url)
        try:
            found = await raw("MGET", *(self.keys.record(f"j{n}") for n in range(VALUES)))
        finally:
            await raw.close()
        return set(found)


@pytest.fixture
async def store(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """A migration's store, whose values have the form of version 1."""
    client_keys, keys = ClientKeys("ph"), PartitionKeys("ph", 0)
    group = ClusterGroup()
    async with group:
        opener = Opener(group.url, keys)
        clients = Lane(opener.address().of(client_keys.base), client_keys.writer("one"))
        jobs = Lane(opener.address().of(keys.base), keys.writer("one"))
        try:
            await open_schema(clients, client_keys, 1_000)
            monkeypatch.setattr(schema, "SCHEMA_VERSION", 2)
            raw = await Raw.open((await group.primary_of(keys.base)).url)
            await raw.all(*(("SET", keys.record(f"j{n}"), "a") for n in range(VALUES)))
            await raw.close()
            migration = Migration(clients, client_keys, [(jobs, keys)], STEPS, holder="one")
            yield Store(group, migration, keys)
        finally:
            await clients.close()
            await jobs.close()


async def test_a_moved_slot_is_noticed_and_none_of_its_values_is_left_out(store: Store) -> None:
    """Where it was, SCAN says of its keys that there are none, and no more."""

    def halt(progress: Progress) -> None:
        assert progress.cursor
        raise Halted

    with pytest.raises(Halted):
        await store.migration.run(halt)
    source = await store.group.primary_of(store.keys.base)
    to = next(node for node in await store.group.primaries() if node is not source)
    await store.group.move_slot(slot_of(store.keys.base), to)
    with pytest.raises(StoreUnavailable, match=f"is at {to.url.removeprefix('redis://')} now"):
        await store.migration.run(lambda _: None)
    assert (await store.migration.run(lambda _: None)).schema == 2
    assert await store.values() == {b"abB"}

"""Whose store this is: an identity and the version of what is kept in it."""

import secrets
from dataclasses import dataclass
from typing import Final

import msgpack

from packhorse_broker.store.errors import SchemaRefused
from packhorse_broker.store.keys import ClientKeys
from packhorse_broker.store.packing import pack
from packhorse_broker.store.transaction import Lane

SCHEMA_VERSION: Final = 1
"""Version of the keys (keys.py), indexes (indexes.py) and records (records.py) of this release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreIdentity:
    """Written at first use, never changed but by a migration."""

    id: str
    schema: int
    partitions: int
    created_at: int


async def open_schema(
    lane: Lane, keys: ClientKeys, now_ms: int, *, partitions: int = 1
) -> StoreIdentity:
    """The store's identity, written now if it has none; with so many partitions then.

    Raises SchemaRefused for a newer, unreadable or unprepared one (nothing is touched),
    StoreUnavailable.
    """
    while True:
        [found, migration] = await lane.watch([keys.store, keys.migration])
        if found is not None:
            await lane.forget()
            return _admitted(read(found), migration)
        fresh = StoreIdentity(
            id=secrets.token_hex(8),
            schema=SCHEMA_VERSION,
            partitions=partitions,
            created_at=now_ms,
        )
        if await lane.commit([("SET", keys.store, packed(fresh))]) is not None:
            return fresh


async def check_schema(lane: Lane, keys: ClientKeys) -> StoreIdentity | None:
    """The store's identity, None before its first use. Raises SchemaRefused, StoreUnavailable."""
    [found] = await lane.ask(pack(("GET", keys.store)))
    return read(found) if found is not None else None


def _admitted(identity: StoreIdentity, migration: bytes | None) -> StoreIdentity:
    """A broker may work on a store of an older version once `migrations.py` has opened it."""
    if identity.schema < SCHEMA_VERSION and not _is_open(migration):
        raise SchemaRefused(
            f"the store has schema version {identity.schema}, this broker needs "
            f"{SCHEMA_VERSION}: run `packhorse migrate` first; brokers of the older release "
            "may go on meanwhile"
        )
    return identity


def _is_open(migration: bytes | None) -> bool:
    """Whether the store holds all that this release needs to read."""
    try:
        target, phase, *_ = msgpack.unpackb(migration or b"")
    except (ValueError, TypeError, msgpack.UnpackException):
        return False
    return (target, phase) == (SCHEMA_VERSION, "open")


def packed(identity: StoreIdentity) -> bytes:
    """What is kept in the store."""
    fields = [identity.schema, identity.id, identity.partitions, identity.created_at]
    data: bytes = msgpack.packb(fields)
    return data


def read(data: bytes) -> StoreIdentity:
    """What `packed` wrote. Raises SchemaRefused."""
    try:
        schema, *rest = msgpack.unpackb(data, raw=False)
        if not isinstance(schema, int):
            raise TypeError("the version is no number")
        if schema > SCHEMA_VERSION:
            raise SchemaRefused(
                f"the store has schema version {schema}, this broker knows up to "
                f"{SCHEMA_VERSION}: run a newer packhorse, or use another store"
            )
        identity, partitions, created_at = rest
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise SchemaRefused(
            f"the store holds a schema record that is none of Packhorse's: {error!r}; "
            "choose another --prefix or another database"
        ) from error
    return StoreIdentity(id=identity, schema=schema, partitions=partitions, created_at=created_at)

"""What is set about types, brought from the first partition to the others.

A transaction watches the settings of its types in its own partition, so each needs a copy. Every
broker brings on what it learns of, so that a change stands everywhere though the broker that made
it is gone; the number of a change tells which of two copies is the newer.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.packing import Argument, pack
from packhorse_broker.store.read_lane import ReadLane
from packhorse_broker.store.records import CorruptRecord
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store.types import PLAIN, TypeSettings, decode_settings, encode_settings

MAX_CONFLICTS: Final = 200
"""A copy that others came before so often gives up as unavailable."""

PAGE: Final = 500
"""Types written in one transaction."""


class TypeCopies:
    """`bring` after each change that is read, `restore` after one that may be lost. Not safe for
    concurrent use."""

    def __init__(self, first: ReadLane, others: Sequence[tuple[Lane, PartitionKeys]]) -> None:
        """`others`: all partitions but the first."""
        self._first = first
        self._others = others

    async def bring(self, settings: Mapping[str, TypeSettings]) -> None:
        """All partitions have these then, or newer ones. Raises StoreUnavailable."""
        types = list(settings)
        for start in range(0, len(types), PAGE):
            page = {job_type: settings[job_type] for job_type in types[start : start + PAGE]}
            await _all(_bring(lane, keys, page) for lane, keys in self._others)

    async def restore(self) -> None:
        """Copies of a change that the first partition has lost, as a failover may do, are undone.
        Raises StoreUnavailable."""
        await _all(_restore(self._first, lane, keys) for lane, keys in self._others)

    async def close(self) -> None:
        for lane, _ in self._others:
            await lane.close()


async def _all(doing: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All end before one that failed is told of: a lane takes one transaction at a time."""
    ended = await asyncio.gather(*doing, return_exceptions=True)
    for failure in filter(None, ended):
        raise failure


async def _bring(lane: Lane, keys: PartitionKeys, settings: Mapping[str, TypeSettings]) -> None:
    for _ in range(MAX_CONFLICTS):
        values = await lane.watch([keys.settings(job_type) for job_type in settings])
        newer = [
            ("SET", keys.settings(job_type), encode_settings(wanted))
            for (job_type, wanted), value in zip(settings.items(), values, strict=True)
            if _number(value) < wanted.number
        ]
        if not newer:
            await lane.forget()
            return
        if await lane.commit([*newer, ("SADD", keys.types, *settings)]) is not None:
            return
    raise StoreUnavailable("the settings keep being changed by others")


async def _restore(first: ReadLane, lane: Lane, keys: PartitionKeys) -> None:
    [members] = await lane.ask(pack(("SMEMBERS", keys.types)))
    types = sorted(map(bytes.decode, members))
    for start in range(0, len(types), PAGE):
        await _restore_page(first, lane, keys, types[start : start + PAGE])


async def _restore_page(
    first: ReadLane, lane: Lane, keys: PartitionKeys, types: Sequence[str]
) -> None:
    for _ in range(MAX_CONFLICTS):
        copies = await lane.watch([keys.settings(job_type) for job_type in types])
        # Read when the copies are watched: what is brought meanwhile is no older.
        [firsts] = await first.ask(pack(("MGET", *map(first.keys.settings, types))))
        undoing: list[Argument] = [
            ("SET", keys.settings(job_type), kept) if kept else ("DEL", keys.settings(job_type))
            for job_type, copy, kept in zip(types, copies, firsts, strict=True)
            if _number(copy) > _number(kept)
        ]
        if not undoing:
            await lane.forget()
            return
        if await lane.commit(undoing) is not None:
            return
    raise StoreUnavailable("the settings keep being changed by others")


def _number(value: bytes | None) -> int:
    """What can't be read is replaced."""
    try:
        return decode_settings(value).number
    except CorruptRecord:
        return PLAIN.number

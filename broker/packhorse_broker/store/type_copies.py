"""What is set about types, brought from the first partition to the others.

A transaction watches the settings of its types in its own partition, so each needs a copy. Every
broker brings on what it learns of, so that a change stands everywhere though the broker that made
it is gone; the number of a change tells which of two copies is the newer.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.records import CorruptRecord
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store.types import PLAIN, TypeSettings, decode_settings, encode_settings

MAX_CONFLICTS: Final = 200
"""A copy that others came before so often gives up as unavailable."""

PAGE: Final = 500
"""Types written in one transaction."""


class TypeCopies:
    """`bring` after each change that is read. Not safe for concurrent use."""

    def __init__(self, others: Sequence[tuple[Lane, PartitionKeys]]) -> None:
        """All partitions but the first."""
        self._others = others

    async def bring(self, settings: Mapping[str, TypeSettings]) -> None:
        """All partitions have these then, or newer ones. Raises StoreUnavailable."""
        types = list(settings)
        for start in range(0, len(types), PAGE):
            page = {job_type: settings[job_type] for job_type in types[start : start + PAGE]}
            # All end before one that failed is told of: a lane takes one transaction at a time.
            ended = await asyncio.gather(
                *(_bring(lane, keys, page) for lane, keys in self._others), return_exceptions=True
            )
            for failure in filter(None, ended):
                raise failure

    async def close(self) -> None:
        for lane, _ in self._others:
            await lane.close()


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
        if await lane.commit(newer) is not None:
            return
    raise StoreUnavailable("the settings keep being changed by others")


def _number(value: bytes | None) -> int:
    """What can't be read is replaced."""
    try:
        return decode_settings(value).number
    except CorruptRecord:
        return PLAIN.number

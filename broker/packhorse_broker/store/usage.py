"""How many jobs a partition holds of a type, and how many bytes: what limits are compared with."""

from collections.abc import Sequence
from typing import TypeAlias

from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.packing import pack
from packhorse_broker.store.seeking import Ask

Usage: TypeAlias = tuple[int, int]
"""Jobs in all states, and the bytes of their bodies and outcomes."""


async def usage_of(ask: Ask, keys: PartitionKeys, types: Sequence[str]) -> list[Usage]:
    """Of each type. Raises StoreUnavailable."""
    sets = (keys.delayed, keys.queue, keys.started, keys.complete, keys.failed)
    replies = await ask(
        *(pack(("ZCARD", key(job_type))) for job_type in types for key in sets),
        *(pack(("HGET", keys.bytes, job_type)) for job_type in types),
    )
    counts, sizes = replies[: len(sets) * len(types)], replies[len(sets) * len(types) :]
    return [
        (sum(counts[len(sets) * place : len(sets) * (place + 1)]), int(sizes[place] or 0))
        for place in range(len(types))
    ]

"""Reading what there is of types in a store with several partitions.

Each has jobs of every type. What is set about a type, and its schema, is read from the first one
(type_copies.py brings it to the others).
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from heapq import nsmallest
from itertools import chain
from typing import TypeAlias, TypeVar

from packhorse_broker.jobs.model import ActionRecord, State
from packhorse_broker.store.type_reader import TypeOverview, TypeReader
from packhorse_broker.store.types import StoredSchema, TypeSettings
from packhorse_broker.store.writes import ACTIONS_KEPT

Answer = TypeVar("Answer")


class TypeReaders:
    """What `TypeReader` offers, over one for each partition. All raise StoreUnavailable."""

    def __init__(self, parts: Sequence[TypeReader]) -> None:
        self._parts = parts
        self._first = parts[0]

    async def names(self, after: str, limit: int) -> list[str]:
        found = await self._all(lambda part: part.names(after, limit))
        return nsmallest(limit, set(chain.from_iterable(found)))

    async def overviews(self, types: Sequence[str]) -> list[TypeOverview]:
        """The counts of each partition are of one moment."""
        found = await self._all(lambda part: part.overviews(types))
        return [_together(of_one_type) for of_one_type in zip(*found, strict=True)]

    async def changed_since(self, number: int) -> tuple[dict[str, TypeSettings], int]:
        return await self._first.changed_since(number)

    async def schemas(self, types: Sequence[str]) -> list[StoredSchema | None]:
        return await self._first.schemas(types)

    async def finished(self, places: Sequence[tuple[str, State]]) -> list[int]:
        found = await self._all(lambda part: part.finished(places))
        return [sum(counts) for counts in zip(*found, strict=True)]

    async def oldest_finished(
        self, job_type: str, state: State, *, from_ms: int, skip: int, limit: int
    ) -> tuple[int, dict[str, int]]:
        """Each partition's of one moment."""
        found = await self._all(
            lambda part: part.oldest_finished(
                job_type, state, from_ms=from_ms, skip=0, limit=skip + limit
            )
        )
        count = sum(of_one for of_one, _ in found)
        finished = ((at, job_id) for _, jobs in found for job_id, at in jobs.items())
        first = nsmallest(skip + limit, finished)[skip:]
        return max(0, count - skip), {job_id: at for at, job_id in first}

    async def actions(
        self, before_ms: int | None, limit: int, *, left: int = 0
    ) -> list[ActionRecord]:
        """As `TypeReader.actions`; those of one millisecond in the order of their partitions. One
        that comes in among what is `left` may put one of another partition out of its place."""
        end_ms = before_ms
        if before_ms is not None and left:
            end_ms = before_ms + 1
        count = limit
        while True:
            parts = await self._actions(end_ms, count)
            longer = [part for part in parts if len(part) >= count]
            from_ms = max((part[-1].at for part in longer), default=0)
            actions = sorted(chain.from_iterable(parts), key=lambda action: -action.at)
            known = [action for action in actions if action.at >= from_ms]
            found = known
            if left:
                told = sum(action.at == before_ms for action in known) - left
                found = known[max(0, told) :]
            if len(found) >= limit or not longer or count >= ACTIONS_KEPT:
                return found
            count = min(4 * count, ACTIONS_KEPT)

    async def _actions(self, before_ms: int | None, limit: int) -> list[list[ActionRecord]]:
        return await self._all(lambda part: part.actions(before_ms, limit))

    async def close(self) -> None:
        await self._all(TypeReader.close)

    async def _all(self, ask: Callable[[TypeReader], Awaitable[Answer]]) -> list[Answer]:
        return await asyncio.gather(*map(ask, self._parts))


ReadingTypes: TypeAlias = TypeReader | TypeReaders
"""Of one partition, or of several."""


def _together(parts: Sequence[TypeOverview]) -> TypeOverview:
    """One type, as all partitions have it."""
    counts: Counter[State] = Counter()
    for part in parts:
        counts.update(part.counts)
    heads = [(part.head, part.head_ms) for part in parts if part.head is not None]
    head, head_ms = min(heads, default=(None, 0))
    return TypeOverview(
        type=parts[0].type,
        counts={state: counts[state] for state in parts[0].counts},
        head_ms=head_ms,
        head=head,
        jobs_bytes=sum(part.jobs_bytes for part in parts),
        settings=parts[0].settings,
    )

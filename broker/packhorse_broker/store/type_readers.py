"""Reading what there is of types in a store with several partitions.

Each has jobs of every type. What is set about a type, and its schema, is read from the first one
(type_copies.py brings it to the others).
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from heapq import nsmallest
from itertools import chain
from typing import TypeAlias, TypeVar

from packhorse_broker.jobs.model import ActionRecord, State
from packhorse_broker.store.homes import Homes
from packhorse_broker.store.type_reader import TypeOverview, TypeReader
from packhorse_broker.store.types import StoredSchema, TypeSettings

Answer = TypeVar("Answer")


class TypeReaders:
    """What `TypeReader` offers, over one for each partition. All raise StoreUnavailable."""

    def __init__(self, parts: Sequence[TypeReader]) -> None:
        self._parts = parts
        self._first = parts[0]
        self._homes = Homes(len(parts))

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
        self, before_ms: int | None, limit: int, *, left: Sequence[int] = ()
    ) -> list[ActionRecord]:
        """As `TypeReader.actions`; those of one millisecond in the order of their partitions."""
        parts = await asyncio.gather(
            *(
                part.actions(before_ms, limit, left=left[place : place + 1])
                for place, part in enumerate(self._parts)
            )
        )
        from_ms = max((part[-1].at for part in parts if len(part) >= limit), default=0)
        actions = sorted(chain.from_iterable(parts), key=lambda action: -action.at)
        return [action for action in actions if action.at >= from_ms]

    def left(self, actions: Iterable[ActionRecord]) -> tuple[int, ...]:
        """As `TypeReader.left`: of each partition."""
        homes = Counter(map(self._home_of, actions))
        return tuple(homes[place] for place in range(len(self._parts)))

    def _home_of(self, action: ActionRecord) -> int:
        """What is done to types is noted in the first partition."""
        return self._homes.of(action.job) if action.job is not None else 0

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

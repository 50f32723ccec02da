"""Reading jobs of a store with several partitions: each is asked for its own, all at once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from heapq import nsmallest
from itertools import chain
from typing import TypeAlias, TypeVar

from packhorse_broker.jobs.model import State
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.homes import Homes
from packhorse_broker.store.reader import Found, LogPage, Reader

Answer = TypeVar("Answer")


class Readers:
    """What `Reader` offers, over a reader for each partition. All raise StoreUnavailable if any of
    those that are asked does."""

    def __init__(self, parts: Sequence[Reader]) -> None:
        self._parts = parts
        self._homes = Homes(len(parts))

    async def records(self, ids: Sequence[str]) -> list[Found]:
        return await self._homes.ask(ids, lambda home, own: self._parts[home].records(own))

    async def jobs(self, ids: Sequence[str]) -> list[Found]:
        return await self._homes.ask(ids, lambda home, own: self._parts[home].jobs(own))

    async def log(self, job_id: str, offset: int, limit: int) -> LogPage | None:
        return await self._parts[self._homes.of(job_id)].log(job_id, offset, limit)

    async def counts(self, types: Sequence[str]) -> dict[str, dict[State, int]]:
        """Each partition's of one moment."""
        found = await self._all(lambda part: part.counts(types))
        return {
            job_type: {state: sum(counts[job_type][state] for counts in found) for state in states}
            for job_type, states in found[0].items()
        }

    async def types(self) -> list[str]:
        found = await self._all(Reader.types)
        return sorted(set(chain.from_iterable(found)))

    async def held_by(self, client: str, limit: int) -> list[str]:
        """In turn over the partitions, longest held first in each."""
        return _in_turn(await self._all(lambda part: part.held_by(client, limit)), limit)

    async def handled_by(self, client: str, limit: int) -> list[str]:
        return _in_turn(await self._all(lambda part: part.handled_by(client, limit)), limit)

    async def owed_to(self, client: str, limit: int) -> dict[str, int]:
        return _first(await self._all(lambda part: part.owed_to(client, limit)), limit)

    async def owed_to_group(self, group: str, limit: int) -> dict[str, int]:
        return _first(await self._all(lambda part: part.owed_to_group(group, limit)), limit)

    async def due(self, now_ms: int, limit: int, *, skip: int = 0) -> tuple[list[str], int]:
        """Of the partitions that answer. `skip` counts for each: whoever looks past some may pass
        over others, and finds these when it begins anew."""
        answers = await asyncio.gather(
            *(part.due(now_ms, limit, skip=skip) for part in self._parts), return_exceptions=True
        )
        found: list[tuple[list[str], int]] = []
        lost: StoreUnavailable | None = None
        for answer in answers:
            if isinstance(answer, StoreUnavailable):
                lost = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found.append(answer)
        if lost is not None and not found:
            raise lost
        coming = [next_ms for _, next_ms in found if next_ms]
        return _in_turn([due for due, _ in found], limit), min(coming, default=0)

    async def close(self) -> None:
        await self._all(Reader.close)

    async def _all(self, ask: Callable[[Reader], Awaitable[Answer]]) -> list[Answer]:
        return await asyncio.gather(*map(ask, self._parts))


Reading: TypeAlias = Reader | Readers
"""Of one partition, or of several."""


def _in_turn(found: Iterable[Sequence[str]], limit: int) -> list[str]:
    """At most so many: the first of each, then the second of each, and so on."""
    ranked = ((rank, job_id) for ids in found for rank, job_id in enumerate(ids))
    return [job_id for _, job_id in nsmallest(limit, ranked)]


def _first(found: Iterable[dict[str, int]], limit: int) -> dict[str, int]:
    """At most so many of them, first finished first."""
    finished = ((at, job_id) for owed in found for job_id, at in owed.items())
    return {job_id: at for at, job_id in nsmallest(limit, finished)}

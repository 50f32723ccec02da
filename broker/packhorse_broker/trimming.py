"""Retention by count: of types that keep at most so many finished jobs, the oldest go.

Jobs that somebody is still to handle and persistent ones stay. Those at the old end do not count,
and are passed over from then on; behind them a page is looked at, and what stays there does not
count either. Only where more than a page is kept may newer ones that stay take the place of some.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, TypeAlias

import structlog
from msgspec import Struct

from packhorse_broker.jobs.commands import Evict
from packhorse_broker.jobs.model import Job, State
from packhorse_broker.operations import Operations
from packhorse_broker.store.reader import Found
from packhorse_broker.store.readers import Reading
from packhorse_broker.store.records import CorruptRecord
from packhorse_broker.store.type_readers import ReadingTypes
from packhorse_broker.store.types import TypeBook
from packhorse_broker.store.work import Failed

_log = structlog.get_logger(__name__)

PAGE: Final = 500
"""Jobs looked at, and removed, at once."""

MAX_PAGES: Final = 20
"""Pages in one round; the next round goes on."""

FORGET_ROUNDS: Final = 600
"""Rounds after which those that were passed over are looked at again: nobody may need them."""

Place: TypeAlias = tuple[str, State]
"""A type, and COMPLETE or FAILED."""


class _Passed(Struct):
    """All that finished before `at_ms` stays, and so do the first `jobs` of that millisecond."""

    at_ms: int = 0
    jobs: int = 0

    def one_more(self, at_ms: int) -> None:
        if at_ms > self.at_ms:
            self.at_ms, self.jobs = at_ms, 0
        self.jobs += 1


class Trimming:
    """`trim` now and then. Several brokers that do so at once do not remove too many."""

    def __init__(
        self, operations: Operations, reader: Reading, types: ReadingTypes, book: TypeBook
    ) -> None:
        self._operations = operations
        self._reader = reader
        self._types = types
        self._book = book
        self._rounds = 0
        self._passed: dict[Place, _Passed] = {}

    async def trim(self) -> None:
        """Removes what is too much, or some of it. Raises StoreUnavailable."""
        self._rounds += 1
        if self._rounds % FORGET_ROUNDS == 0:
            self._passed.clear()
        bounds = self._bounds()
        if not bounds:
            return
        counts = await self._types.finished(list(bounds))
        over = deque(
            place for place, count in zip(bounds, counts, strict=True) if count > bounds[place]
        )
        for _ in range(MAX_PAGES):
            if not over:
                return
            place = over.popleft()
            if await self._trim_page(place, bounds[place]):
                over.append(place)

    def _bounds(self) -> dict[Place, int]:
        found: dict[Place, int] = {}
        for job_type, settings in self._book:
            if settings.keep_complete_jobs is not None:
                found[job_type, State.COMPLETE] = settings.keep_complete_jobs
            if settings.keep_failed_jobs is not None:
                found[job_type, State.FAILED] = settings.keep_failed_jobs
        return found

    async def _trim_page(self, place: Place, most: int) -> bool:
        """Whether there may be more to remove."""
        passed = self._passed.setdefault(place, _Passed())
        count, page = await self._types.oldest_finished(
            *place, from_ms=passed.at_ms, skip=passed.jobs, limit=PAGE
        )
        found = await self._reader.records(list(page))
        staying = {job for job, record in zip(page, found, strict=True) if not _may_go(record)}
        excess = max(0, count - len(staying) - most)
        going = [job for job in page if job not in staying][:excess]
        if going and not await self._evict(place, going):
            return False
        moved = bool(going)
        gone = set(going)
        for job, finished_at in page.items():
            if job in staying:
                passed.one_more(finished_at)
                moved = True
            elif job not in gone:
                break
        return moved and len(page) == PAGE

    async def _evict(self, place: Place, jobs: Sequence[str]) -> bool:
        """Whether the store was there for it."""
        for result in await self._operations.applied([(job, Evict()) for job in jobs]):
            if isinstance(result, Failed) and not isinstance(result.error, CorruptRecord):
                _log.warning("trimming.failed", type=place[0], error=str(result.error))
                return False
        return True


def _may_go(found: Found) -> bool:
    """What can't be read and stray entries of the index are for fsck."""
    return isinstance(found, Job) and not found.awaited and not found.persistent

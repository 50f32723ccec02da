"""Jobs in a store without a committer, for tests of what finds them."""

from typing import Any

from packhorse_broker.jobs.model import Course, Job, State
from packhorse_broker.jobs.terms import Terms
from packhorse_broker.store.finder import Finder, Page, Place, Query
from packhorse_broker.store.indexes import entries
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.records import encode_job
from tests.support.inspection import Raw


class Shelf:
    """Puts jobs into the store as the committer would, and takes them out again."""

    def __init__(self, raw: Raw, keys: PartitionKeys) -> None:
        self._raw = raw
        self._keys = keys
        self._there: dict[str, Job] = {}

    async def put(self, *jobs: Job) -> None:
        """New ones, or what became of those that are there."""
        for job in jobs:
            await self.drop(job.id)
            self._there[job.id] = job
            await self._raw("SET", self._keys.record(job.id), encode_job(job))
            await self._raw("SADD", self._keys.types, job.type)
            for key, member, score in entries(self._keys, job):
                await self._raw("ZADD", key, score, member)

    async def drop(self, *ids: str) -> None:
        for job_id in ids:
            job = self._there.pop(job_id, None)
            if job is not None:
                await self._raw("DEL", self._keys.record(job_id))
                for key, member, _ in entries(self._keys, job):
                    await self._raw("ZREM", key, member)


def job(
    job_id: str,
    state: State = State.QUEUED,
    at: int = 1_000,
    job_type: str = "t",
    *,
    labels: tuple[str, ...] = (),
    priority: int = 0,
    **fields: Any,
) -> Job:
    """A job that came into its state at this time."""
    times: dict[State, dict[str, Any]] = {
        State.PENDING: {"course": Course(delayed_until=at)},
        State.QUEUED: {"queued_at": at, "order": at * 1_000},
        State.STARTED: {"started_at": at, "runner": "ann"},
        State.COMPLETE: {"finished_at": at},
        State.FAILED: {"finished_at": at},
    }
    terms = Terms(labels=labels, priority=priority) if labels or priority else None
    return Job(
        **{
            "id": job_id,
            "type": job_type,
            "state": state,
            "version": 1,
            "order": 1,
            "created_at": 500,
            "terms": terms,
            "body": b"",
            **times[state],
            **fields,
        }
    )


def ids(page: Page) -> list[str]:
    return [found.id for found, _ in page.jobs]


async def all_pages(finder: Finder, query: Query, limit: int) -> list[str]:
    found: list[str] = []
    place: Place | None = None
    while True:
        page = await finder.page(query, place, limit)
        assert len(page.jobs) <= limit
        found += ids(page)
        place = page.next
        if place is None:
            return found


async def find(finder: Finder, **asked: Any) -> list[str]:
    """All in one page."""
    page = await finder.page(Query(**asked), None, 1_000)
    assert page.next is None
    return ids(page)

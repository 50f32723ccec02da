"""Requests that find jobs and say how they fare: list, attempts, why."""

import zlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from msgspec import MsgspecError, Struct, msgpack

from packhorse_broker import views
from packhorse_broker.causes import Facts, causes_of
from packhorse_broker.clock import StoreClock
from packhorse_broker.config import Config
from packhorse_broker.job_views import attempts_of, job_summary
from packhorse_broker.jobs.model import AttemptRecord, Job, State
from packhorse_broker.sessions import Session
from packhorse_broker.store.finder import Finder, Place, Query, WrongPlace
from packhorse_broker.store.readers import Reading
from packhorse_broker.store.registry import Registry
from packhorse_broker.store.standing import Standing
from packhorse_broker.store.takes import NOBODY, TakesBoard
from packhorse_broker.store.types import PLAIN
from packhorse_broker.store.writes import ATTEMPTS_KEPT
from packhorse_broker.views import RequestRefused
from packhorse_protocol import NO_ROOM, Code
from packhorse_protocol.codec import part_size
from packhorse_protocol.messages import (
    AskWhy,
    Attempt,
    AttemptList,
    Error,
    JobPage,
    JobSummary,
    ListAttempts,
    ListJobs,
    Why,
)
from packhorse_protocol.records import replace

WHY_PAGE: Final = 200
"""Jobs of which it is found out at once why they do not run."""

ATTEMPTS_PAGE: Final = 5
"""Jobs whose attempts are read at once, each perhaps most of a megabyte."""

ATTEMPTS_TOLD: Final = 5_000
"""Attempts in one reply: packing it takes the loop, for some 10 ms with so many."""

PAGE_BYTES: Final = 4 * 1024
"""More than a page of jobs or attempts takes in a frame beside them; the cursor is in it."""

ATTEMPT_BYTES: Final = 256
"""More than an attempt takes in a frame beside its texts."""

ENTRY_BYTES: Final = 128
"""More than `NO_ROOM`, or a list without attempts, takes in a frame."""


class _Cursor(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What stands in a cursor: of which list it is, and where that goes on."""

    query: int
    place: Place


class Finding:
    """A method for each request. All raise StoreUnavailable, RequestRefused."""

    def __init__(
        self,
        config: Config,
        reader: Reading,
        finder: Finder,
        standing: Standing,
        registry: Registry,
        takes: TakesBoard,
        clock: StoreClock,
    ) -> None:
        self._config = config
        self._reader = reader
        self._finder = finder
        self._standing = standing
        self._registry = registry
        self._takes = takes
        self._clock = clock

    def requests(self) -> dict[type, Callable[[Session, Any], Awaitable[Sequence[object]]]]:
        """What it answers."""
        return {ListJobs: self.list_jobs, ListAttempts: self.attempts, AskWhy: self.why}

    # -- list

    async def list_jobs(self, session: Session, request: ListJobs) -> list[object]:
        """One page; it ends early where the frame is full."""
        if request.unique_key is not None and request.type is None:
            raise _malformed("unique_key", "a unique key is one of a type: name the type too")
        query = Query(
            type=request.type,
            states=tuple(State[name] for name in request.states),
            label=request.label,
            unique_key=request.unique_key,
            since=request.since,
            until=request.until,
            newest_first=request.newest_first,
        )
        try:
            start = _place(request.cursor, query) if request.cursor is not None else None
            page = await self._finder.page(query, start, request.limit)
        except WrongPlace:
            raise _malformed(
                "cursor", "the cursor is none of this list: begin without one"
            ) from None
        room = self._config.max_frame_bytes - PAGE_BYTES
        jobs: list[JobSummary] = []
        following = page.next
        for job, place in page.jobs:
            summary = job_summary(job)
            room -= part_size(summary).bytes
            if room < 0 and jobs:
                break
            jobs.append(summary)
            following = place if len(jobs) < len(page.jobs) else page.next
        cursor = _cursor(query, following) if following is not None else None
        return [JobPage(jobs=tuple(jobs), cursor=cursor)]

    # -- attempts

    async def attempts(self, session: Session, request: ListAttempts) -> list[object]:
        """Of as many jobs as one reply has room for, the first of them in any case."""
        jobs = request.jobs
        frame_bytes = self._config.max_frame_bytes - PAGE_BYTES - ENTRY_BYTES * len(jobs)
        room_bytes, room_attempts = frame_bytes, ATTEMPTS_TOLD
        answers: list[object] = []
        while len(answers) < len(jobs):
            page = jobs[len(answers) : len(answers) + ATTEMPTS_PAGE]
            found = await self._reader.records(page)
            ended = await self._standing.attempts(page, ATTEMPTS_KEPT)
            for job, records in zip(found, ended, strict=True):
                if not isinstance(job, Job):
                    answers.append(views.not_read(job))
                    continue
                told, size_bytes = _that_fit(attempts_of(job, records), frame_bytes)
                room_bytes -= size_bytes
                room_attempts -= len(told)
                if answers and (room_bytes < 0 or room_attempts < 0):
                    return answers + [NO_ROOM] * (len(jobs) - len(answers))
                answers.append(AttemptList(attempts=told, dropped=_dropped(job, records)))
        return answers

    # -- why

    async def why(self, session: Session, request: AskWhy) -> list[object]:
        answers: list[object] = []
        for start in range(0, len(request.jobs), WHY_PAGE):
            answers += await self._why(request.jobs[start : start + WHY_PAGE])
        return answers

    async def _why(self, ids: Sequence[str]) -> list[object]:
        found = await self._reader.records(ids)
        facts = await self._facts({job.id: job for job in found if isinstance(job, Job)})
        return [
            Why(state=views.state_name(job.state), causes=causes_of(job, facts[job.id]))
            if isinstance(job, Job)
            else views.not_read(job)
            for job in found
        ]

    async def _facts(self, jobs: dict[str, Job]) -> dict[str, Facts]:
        """What is to be known of each job in its state."""
        queued = [job for job in jobs.values() if job.state is State.QUEUED]
        tried = [
            job.id
            for job in jobs.values()
            if job.state is State.PENDING and job.current_attempt > 0
        ]
        runners = {job.runner for job in jobs.values() if job.state is State.STARTED and job.runner}
        ahead = await self._standing.ahead(queued)
        settings = await self._standing.settings(sorted({job.type for job in queued}))
        takes = await self._takes.takes() if queued else {}
        newest = await self._standing.attempts(tried, 1)
        heard = await self._registry.last_responses(sorted(runners))
        ahead_of = {job.id: before or 0 for job, before in zip(queued, ahead, strict=True)}
        last_of = {
            job_id: records[-1] for job_id, records in zip(tried, newest, strict=True) if records
        }
        now_ms = self._clock.now_ms()
        return {
            job.id: Facts(
                now_ms=now_ms,
                late_ms=self._config.last_response_flush_ms,
                ahead=ahead_of.get(job.id, 0),
                settings=settings.get(job.type, PLAIN),
                taken=takes.get(job.type, NOBODY),
                last_attempt=last_of.get(job.id),
                runner=heard.get(job.runner or ""),
            )
            for job in jobs.values()
        }


def _malformed(path: str, message: str) -> RequestRefused:
    return RequestRefused(Code.MALFORMED, f"{path}: {message}", path=path)


def _cursor(query: Query, place: Place) -> bytes:
    return msgpack.encode(_Cursor(_digest(query), place))


def _place(cursor: bytes, query: Query) -> Place:
    """Raises WrongPlace for what is no cursor of this list."""
    try:
        read = msgpack.decode(cursor, type=_Cursor)
    except (MsgspecError, UnicodeDecodeError):
        raise WrongPlace from None
    if read.query != _digest(query):
        raise WrongPlace
    return read.place


def _digest(query: Query) -> int:
    return zlib.crc32(msgpack.encode(query))


def _that_fit(attempts: Sequence[Attempt], room_bytes: int) -> tuple[tuple[Attempt, ...], int]:
    """All of them and the bytes that they take: the oldest without their tracebacks, where a frame
    can't hold these."""
    told: list[Attempt] = []
    sum_bytes = 0
    for attempt in reversed(attempts):
        size_bytes = _attempt_bytes(attempt)
        if sum_bytes + size_bytes > room_bytes and attempt.error is not None:
            error = Error(type=attempt.error.type, message=attempt.error.message)
            attempt = replace(attempt, error=error)
            size_bytes = _attempt_bytes(attempt)
        sum_bytes += size_bytes
        told.append(attempt)
    return tuple(reversed(told)), sum_bytes


def _attempt_bytes(attempt: Attempt) -> int:
    """At least what it takes in a frame, by its texts alone: that is quick."""
    size_bytes = ATTEMPT_BYTES + len(attempt.runner.encode())
    if attempt.error is not None:
        error = attempt.error
        size_bytes += sum(len(text.encode()) for text in (error.type, error.message))
        size_bytes += len(error.traceback.encode())
    return size_bytes


def _dropped(job: Job, kept: Sequence[AttemptRecord]) -> int:
    """How many of its attempts have ended of which there is no record any more."""
    return max(0, job.ended_attempts - len(kept)) if len(kept) >= ATTEMPTS_KEPT else 0

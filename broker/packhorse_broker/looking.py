"""Requests that look and change nothing: each is a coroutine that returns its results."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

from packhorse_broker import views
from packhorse_broker.config import Config
from packhorse_broker.job_views import job_view
from packhorse_broker.jobs.model import Job, LogEntry
from packhorse_broker.sessions import Session
from packhorse_broker.store.readers import Reading
from packhorse_broker.watching import Watching
from packhorse_protocol import NO_ROOM, Code, limits
from packhorse_protocol.messages import (
    BrokerInfo,
    CountJobs,
    Counts,
    Done,
    Get,
    Info,
    LogPage,
    ReadLog,
    Unwatch,
    Watch,
)

MAX_WATCHED: Final = 10_000
"""Jobs that one connection watches at once."""

GET_PAGE: Final = 20
"""Jobs read at once for `get`, each perhaps two megabytes: no more is read than can be answered."""

ENTRY_BYTES: Final = 128
"""More than a log entry takes in a frame beside its message, and than a page takes beside them."""


class Status(Protocol):
    """What `info` tells of this broker."""

    async def info(self) -> BrokerInfo: ...


class Looking:
    """A method for each request. All raise StoreUnavailable, CorruptRecord."""

    def __init__(self, config: Config, reader: Reading, watching: Watching, status: Status) -> None:
        self._config = config
        self._reader = reader
        self._watching = watching
        self._status = status

    def requests(self) -> dict[type, Callable[[Session, Any], Awaitable[Sequence[object]]]]:
        """What it answers."""
        return {
            Get: self.get,
            ReadLog: self.read_log,
            Watch: self.watch,
            Unwatch: self.unwatch,
            CountJobs: self.counts,
            Info: self.info,
        }

    async def get(self, session: Session, request: Get) -> list[object]:
        room = self._config.max_frame_bytes
        answers: list[object] = []
        while room > 0 and len(answers) < len(request.jobs):
            page = request.jobs[len(answers) : len(answers) + GET_PAGE]
            for job in await self._reader.jobs(page):
                if not isinstance(job, Job):
                    answers.append(views.not_read(job))
                else:
                    answers.append(job_view(job))
                    room -= len(job.body or b"") + len(job.outcome or b"")
        return answers + [NO_ROOM] * (len(request.jobs) - len(answers))

    async def read_log(self, session: Session, request: ReadLog) -> list[object]:
        page = await self._reader.log(request.job, request.offset, request.limit)
        if page is None:
            return [views.problem(Code.NOT_FOUND, "there is no such job")]
        entries = _first_that_fit(page.entries, self._config.max_frame_bytes - ENTRY_BYTES)
        return [
            LogPage(
                entries=tuple(map(views.entry_view, entries)),
                first=page.first,
                end=page.end,
                dropped_bytes=page.dropped_bytes,
            )
        ]

    async def watch(self, session: Session, request: Watch) -> list[object]:
        if self._watching.count(session, request.jobs) > MAX_WATCHED:
            refused = views.problem(
                Code.TOO_MANY, f"at most {MAX_WATCHED} jobs are watched at once"
            )
            return [refused] * len(request.jobs)
        return [
            views.watched(job) if isinstance(job, Job) else views.not_read(job)
            for job in await self._watching.watch(session, request.jobs)
        ]

    async def counts(self, session: Session, request: CountJobs) -> list[object]:
        types = list(request.types) or await self._reader.types()
        told = types[: limits.MAX_MAP_ITEMS]
        counts = await self._reader.counts(told)
        return [
            Counts(
                types={
                    job_type: {views.state_name(state): n for state, n in by_state.items()}
                    for job_type, by_state in counts.items()
                },
                more=len(types) > len(told),
            )
        ]

    async def info(self, session: Session, request: Info) -> list[object]:
        return [await self._status.info()]

    async def unwatch(self, session: Session, request: Unwatch) -> list[object]:
        self._watching.unwatch(session, request.jobs)
        return [Done()] * len(request.jobs)


def _first_that_fit(entries: Sequence[LogEntry], room_bytes: int) -> Sequence[LogEntry]:
    for place, entry in enumerate(entries):
        room_bytes -= ENTRY_BYTES + len(entry.message.encode()) + len((entry.by or "").encode())
        if room_bytes < 0 and place:
            return entries[:place]
    return entries

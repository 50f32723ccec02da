"""Brings what happens to a job to those who watch it.

Changes made here are told as they are committed. Of changes made by other brokers only the ids
are heard; what changed is then read, logs from the offset that was told last.
"""

from collections.abc import Sequence
from typing import Final

import structlog

from packhorse_broker.jobs.model import Job, LogEntry
from packhorse_broker.sessions import Session
from packhorse_broker.store.changes import Change
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.reader import Found
from packhorse_broker.store.readers import Reading
from packhorse_broker.store.records import CorruptRecord
from packhorse_broker.views import entry_view, progress_of, state_name
from packhorse_protocol.messages import Event

_log = structlog.get_logger(__name__)

MAX_LOG_READ: Final = 100
"""Log entries told at once of what another broker wrote; the rest is read by offset."""


PAGE: Final = 500
"""Jobs that are read at once."""


class _Watched:
    """A job that somebody watches here, and what was told of it last."""

    def __init__(self) -> None:
        self.sessions: dict[Session, None] = {}
        self.created_at = 0
        """Tells it from another job that has its id later; 0: it was not read yet."""
        self.version = 0
        self.log_end = 0


class Watching:
    """`watch` and `unwatch` for sessions, `changed` after a commit, `look` for others' changes."""

    def __init__(self, reader: Reading) -> None:
        self._reader = reader
        self._watched: dict[str, _Watched] = {}
        self._jobs_of: dict[Session, set[str]] = {}

    async def watch(self, session: Session, jobs: Sequence[str]) -> list[Found]:
        """Registers first and reads then, so that no change falls in between."""
        if session.closed:
            return [None] * len(jobs)
        for job_id in jobs:
            self._register(session, job_id)
        found = await self._reader.records(jobs)
        for job_id, job in zip(jobs, found, strict=True):
            if not isinstance(job, Job):
                self.unwatch(session, [job_id])
            elif (watched := self._watched.get(job_id)) is not None:
                if watched.created_at not in (0, job.created_at):
                    # Those who watch the one that had this id before have not been told yet.
                    self.unwatch(session, [job_id])
                    self._forget(job_id)
                    watched = self._register(session, job_id)
                watched.created_at = job.created_at
                watched.version = max(watched.version, job.version)
                watched.log_end = max(watched.log_end, job.log_end)
        return found

    def _register(self, session: Session, job_id: str) -> _Watched:
        watched = self._watched.setdefault(job_id, _Watched())
        watched.sessions[session] = None
        self._jobs_of.setdefault(session, set()).add(job_id)
        return watched

    def unwatch(self, session: Session, jobs: Sequence[str]) -> None:
        mine = self._jobs_of.get(session, set())
        for job_id in jobs:
            mine.discard(job_id)
            session.drop_events(job_id)
            watched = self._watched.get(job_id)
            if watched is not None:
                watched.sessions.pop(session, None)
                if not watched.sessions:
                    del self._watched[job_id]
        if not mine:
            self._jobs_of.pop(session, None)

    def leave(self, session: Session) -> None:
        self.unwatch(session, list(self._jobs_of.get(session, ())))

    def watches(self, client: str, job_id: str) -> bool:
        """Whether the client is told of the job's changes here."""
        watched = self._watched.get(job_id)
        return watched is not None and any(one.client == client for one in watched.sessions)

    def count(self, session: Session, more: Sequence[str]) -> int:
        """How many jobs the session would watch with these."""
        return len({*self._jobs_of.get(session, ()), *more})

    def committed(self, changes: Sequence[Change]) -> None:
        """What this broker committed."""
        if not self._watched:
            return
        for change in changes:
            watched = self._watched.get(change.job.id)
            if watched is not None:
                self._tell(watched, change.job, change.log, removed=change.removed)

    async def look(self, jobs: Sequence[str]) -> None:
        """These jobs changed elsewhere, or may have."""
        ids = [job_id for job_id in jobs if job_id in self._watched]
        try:
            for start in range(0, len(ids), PAGE):
                page = ids[start : start + PAGE]
                for job_id, job in zip(page, await self._reader.records(page), strict=True):
                    if not isinstance(job, CorruptRecord):
                        await self._look_at(job_id, job)
        except StoreUnavailable as error:
            _log.warning("watching.waits", error=str(error))
        except CorruptRecord as error:
            _log.error("store.corrupt_record", error=str(error))

    async def look_at_all(self) -> None:
        """Something may have been missed."""
        await self.look(list(self._watched))

    async def _look_at(self, job_id: str, job: Job | None) -> None:
        watched = self._watched.get(job_id)
        if watched is None:
            return
        if job is None or watched.created_at not in (0, job.created_at):
            self._forget(job_id)
            return
        if job.version <= watched.version:
            return
        entries: tuple[LogEntry, ...] = ()
        if job.log_end > watched.log_end:
            page = await self._reader.log(job_id, watched.log_end, MAX_LOG_READ)
            entries = page.entries if page is not None else ()
        if self._watched.get(job_id) is watched and job.version > watched.version:
            unseen = [entry for entry in entries if entry.offset >= watched.log_end]
            self._tell(watched, job, unseen, removed=False)

    def _tell(
        self, watched: _Watched, job: Job, entries: Sequence[LogEntry], *, removed: bool
    ) -> None:
        watched.version = max(watched.version, job.version)
        watched.log_end = max(watched.log_end, job.log_end)
        event = Event(
            job=job.id,
            version=job.version,
            state=state_name(job.state),
            progress=progress_of(job),
            log=tuple(map(entry_view, entries)),
            removed=removed,
        )
        if removed:
            self._forget(job.id, event)
        else:
            for session in watched.sessions:
                session.push_event(event)

    def _forget(self, job_id: str, last: Event | None = None) -> None:
        """The job was removed, `last` says how if that is known."""
        watched = self._watched.pop(job_id, None)
        if watched is None:
            return
        if last is None:
            last = Event(job=job_id, version=watched.version + 1, removed=True)
        for session in watched.sessions:
            session.push_event(last)
            mine = self._jobs_of.get(session, set())
            mine.discard(job_id)

"""Brings outcomes to their handlers, at least once, until each says `handled`.

A connected handler gets an outcome when the job ends, within a window of outcomes that it has
not answered. Past the window, and for everything that ended while it was away, the store knows
what it is owed, and that is read once there is room again. What a group of handlers is owed is
brought to its members by `group_delivery.py`.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import structlog

from packhorse_broker.group_delivery import GroupDelivery
from packhorse_broker.jobs.model import Job
from packhorse_broker.sessions import Session, Sessions
from packhorse_broker.store.changes import Change
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.reader import Found
from packhorse_broker.store.readers import Reading
from packhorse_broker.store.records import CorruptRecord
from packhorse_broker.views import outcome_view

_log = structlog.get_logger(__name__)

WINDOW: Final = 1_000
"""Outcomes sent to one handler and not answered yet; more wait in the store."""

PAGE: Final = 100
"""Outcomes looked up in the store at once."""

LARGE_PAGE: Final = 4
"""Outcomes kept apart from their records, each perhaps a megabyte, that are read at once."""

Spawn = Callable[[Coroutine[Any, Any, None]], None]


class Delivery:
    """`changed` after each commit, `catch_up` after a resume, `handled` when a handler answers."""

    def __init__(
        self, sessions: Sessions, reader: Reading, groups: GroupDelivery, spawn: Spawn
    ) -> None:
        self._sessions = sessions
        self._reader = reader
        self.groups = groups
        self._spawn = spawn
        self._reading: dict[Session, set[str]] = {}
        """Sessions for which the store is read, and the jobs handled since a page was: what was
        read of those is older than that."""

    def changed(self, change: Change) -> None:
        """A job ended, was removed, or a finished one got another handler."""
        job = change.job
        if change.removed:
            for handler in job.handlers:
                self.dropped(handler, job.id, job.version)
            for group in job.groups:
                self.groups.handled(group, (job.id,))
            return
        if not job.state.finished:
            return
        known = () if change.finished or change.before is None else change.before.handlers
        for handler in job.handlers:
            session = self._sessions.get(handler)
            if session is not None and "handle" in session.roles and handler not in known:
                self._offer(session, job)
        if job.course is not None:
            self.groups.changed(change)

    def handled(self, session: Session, jobs: Sequence[str], group: str | None = None) -> None:
        """These were dealt with, for the group if one is named: there is room for others."""
        if group is not None:
            self.groups.handled(group, jobs)
            return
        for job_id in jobs:
            session.owed.pop(job_id, None)
        if session in self._reading:
            self._reading[session].update(jobs)
        if session.behind and len(session.owed) <= WINDOW // 2:
            self.catch_up(session)

    def dropped(self, client: str, job_id: str, version: int) -> None:
        """A job that the client was to handle was removed: there is nothing to wait for, and room
        for other outcomes if its own had been sent."""
        session = self._sessions.get(client)
        if session is not None and "handle" in session.roles:
            self.handled(session, (job_id,))
            session.push_removal(job_id, version)

    def owed(self, client: str) -> None:
        """The store holds outcomes for a client, says another broker."""
        session = self._sessions.get(client)
        if session is not None:
            self.catch_up(session)

    def catch_up(self, session: Session) -> None:
        """Reads what the client is owed and pushes it, as far as there is room."""
        if "handle" not in session.roles:
            return
        session.behind = True
        if session not in self._reading:
            self._reading[session] = set()
            self._spawn(self._catch_up(session))

    def _offer(self, session: Session, job: Job) -> None:
        if session.owed.get(job.id) == job.finished_at:
            return
        if job.outcome_apart or len(session.owed) >= WINDOW or not session.outlet.has_room():
            self.catch_up(session)
            return
        self._push(session, job)

    @staticmethod
    def _push(session: Session, job: Job) -> None:
        outcome = outcome_view(job)
        session.owed[job.id] = job.finished_at
        session.push_outcome(outcome)

    async def _push_page(self, session: Session, page: Sequence[str]) -> None:
        """Small outcomes at once, large ones as far as the client reads meanwhile."""
        large: list[str] = []
        for job in await self._reader.records(page):
            if isinstance(job, Job) and job.outcome_apart:
                large.append(job.id)
            else:
                self._push_new(session, job)
        for start in range(0, len(large), LARGE_PAGE):
            jobs = await self._reader.jobs(large[start : start + LARGE_PAGE])
            if not session.outlet.has_room():
                session.behind = True
                return
            for job in jobs:
                self._push_new(session, job)

    def _push_new(self, session: Session, job: Found) -> None:
        if not isinstance(job, Job) or not job.state.finished or job.id in self._reading[session]:
            return
        if session.owed.get(job.id) == job.finished_at:
            return
        try:
            self._push(session, job)
        except CorruptRecord as error:
            _log.error("store.corrupt_record", job=job.id, error=str(error))

    async def _catch_up(self, session: Session) -> None:
        try:
            while session.behind and not session.closed:
                room = WINDOW - len(session.owed)
                if room <= 0 or not session.outlet.has_room():
                    return
                session.behind = False
                self._reading[session].clear()
                owed = await self._reader.owed_to(session.client, WINDOW, some=True)
                new = [job_id for job_id, at in owed.items() if session.owed.get(job_id) != at]
                page = new[: min(room, PAGE)]
                if len(new) > len(page) or len(owed) == WINDOW:
                    session.behind = True
                if not page:
                    return
                await self._push_page(session, page)
        except StoreUnavailable as error:
            session.behind = True
            _log.warning("delivery.waits", client=session.client, error=str(error))
        finally:
            del self._reading[session]

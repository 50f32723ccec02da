"""What a client holds as a runner: told again after a resume, and compared with the store.

The session's own list follows what this broker commits. What other brokers commit, or what went
wrong in between, is found by comparing it with the store's index of the client's claims.
"""

from collections.abc import Sequence
from typing import Final

import structlog

from packhorse_broker.feeder import Feeder
from packhorse_broker.jobs.model import Job, State
from packhorse_broker.sessions import Session
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.reader import Reader
from packhorse_broker.views import claim_view

_log = structlog.get_logger(__name__)

PAGE: Final = 200
"""Claims that are looked up at once."""

LARGE_PAGE: Final = 4
"""Claims with a payload kept apart, each perhaps a megabyte, that are read at once."""

MAX_HELD: Final = 100_000
"""Claims of one client: the most credit that a runner can give."""


class Holding:
    """`push_all` after a resume, `reconcile` now and then."""

    def __init__(self, reader: Reader, feeder: Feeder) -> None:
        self._reader = reader
        self._feeder = feeder

    async def push_all(self, session: Session) -> set[str]:
        """Pushes every claim that the session does not know of; all that the client holds.

        Raises StoreUnavailable.
        """
        with session.lookup():
            held = await self._reader.held_by(session.client, MAX_HELD)
            for start in range(0, len(held), PAGE):
                await self._push_page(session, held[start : start + PAGE])
        return set(held)

    async def _push_page(self, session: Session, page: Sequence[str]) -> None:
        large: list[str] = []
        for job in await self._reader.records(page):
            if isinstance(job, Job) and job.body is None:
                large.append(job.id)
            else:
                _push(session, job)
        for place in range(0, len(large), LARGE_PAGE):
            await session.outlet.room()
            for job in await self._reader.jobs(large[place : place + LARGE_PAGE]):
                _push(session, job)

    async def reconcile(self, session: Session) -> None:
        """Makes the session agree with the store, whatever it has missed."""
        if session.closed or not session.ready or not (session.takes or session.holds):
            return
        known = session.holds
        try:
            held = await self.push_all(session)
            lost = [job for job in known if job not in held]
            for start in range(0, len(lost), PAGE):
                page = lost[start : start + PAGE]
                for job_id, job in zip(page, await self._reader.records(page), strict=True):
                    if not _is_held(job, session, known[job_id]):
                        session.let_go(job_id, known[job_id])
            if lost:
                self._feeder.offer(session)
        except StoreUnavailable as error:
            _log.warning("holding.waits", client=session.client, error=str(error))


def _is_held(job: object, session: Session, token: bytes) -> bool:
    if not isinstance(job, Job):
        return False
    return job.state is State.STARTED and job.runner == session.client and job.token == token


def _push(session: Session, job: object) -> None:
    """A claim that the client still holds; it may have changed hands since it was looked up."""
    if not isinstance(job, Job) or job.token is None or not _is_held(job, session, job.token):
        return
    if session.hold(job.id, job.type, job.token):
        session.push_claim(claim_view(job))

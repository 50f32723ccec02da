"""What a client holds as a runner, and what of it is to be cancelled: told again after a resume,
and compared with the store.

The session's own list follows what this broker commits. What other brokers commit, or what went
wrong in between, is found by comparing it with the store's index of the client's claims.
"""

from collections.abc import Sequence
from typing import Final

import structlog

from packhorse_broker.cancelling import cancel_request, cancellation, revoke_reason
from packhorse_broker.clock import StoreClock
from packhorse_broker.feeder import Feeder
from packhorse_broker.jobs.model import Job, State
from packhorse_broker.outages import Outages
from packhorse_broker.sessions import Session
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.readers import Reading
from packhorse_broker.views import claim_view
from packhorse_protocol.messages import Revocation

_log = structlog.get_logger(__name__)

PAGE: Final = 200
"""Claims that are looked up at once."""

LARGE_PAGE: Final = 4
"""Claims with a payload kept apart, each perhaps a megabyte, that are read at once."""

MAX_HELD: Final = 100_000
"""Claims of one client: the most credit that a runner can give."""


class Holding:
    """`push_all` after a resume, `reconcile` now and then, `tell_cancelled` when another broker has
    committed requests to cancel."""

    def __init__(
        self, reader: Reading, feeder: Feeder, clock: StoreClock, outages: Outages
    ) -> None:
        self._reader = reader
        self._feeder = feeder
        self._clock = clock
        self._outages = outages

    async def push_all(self, session: Session) -> set[str]:
        """Pushes every claim that the session does not know of; all that the client holds, as far
        as the store's partitions answer.

        Raises StoreUnavailable.
        """
        with session.lookup():
            held = await self._reader.held_by(session.client, MAX_HELD, some=True)
            for start in range(0, len(held), PAGE):
                await self._push_page(session, held[start : start + PAGE])
        return set(held)

    async def _push_page(self, session: Session, page: Sequence[str]) -> None:
        large: list[str] = []
        for job in await self._reader.records(page):
            if isinstance(job, Job) and job.body is None:
                large.append(job.id)
            else:
                self._push(session, job)
        for place in range(0, len(large), LARGE_PAGE):
            await session.outlet.room()
            for job in await self._reader.jobs(large[place : place + LARGE_PAGE]):
                self._push(session, job)

    def _push(self, session: Session, job: object) -> None:
        """A claim that the client still holds; it may have changed hands since it was looked up."""
        if not isinstance(job, Job) or job.token is None or not _is_held(job, session, job.token):
            return
        if session.hold(job.id, job.type, job.token):
            session.push_claim(claim_view(job, self._clock.now_ms(), self._outages.known))
        self._push_cancellation(session, job)

    def _push_cancellation(self, session: Session, job: Job) -> None:
        request = cancel_request(job)
        if request is not None:
            session.push_cancellation(
                cancellation(job, request, self._clock.now_ms(), self._outages.known),
                request.until,
            )

    async def tell_cancelled(self, session: Session, jobs: Sequence[str]) -> None:
        """Pushes which of these claims are to be ended, and what grace time is left."""
        try:
            for start in range(0, len(jobs), PAGE):
                for job in await self._reader.records(jobs[start : start + PAGE]):
                    if isinstance(job, Job) and job.runner == session.client:
                        self._push_cancellation(session, job)
        except StoreUnavailable as error:
            _log.warning("holding.waits", client=session.client, error=str(error))

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
                    token = known[job_id]
                    if not _is_held(job, session, token) and session.let_go(job_id, token):
                        reason = revoke_reason(job if isinstance(job, Job) else None)
                        session.push_revocation(Revocation(job=job_id, token=token, reason=reason))
            if lost:
                self._feeder.offer(session)
        except StoreUnavailable as error:
            _log.warning("holding.waits", client=session.client, error=str(error))


def _is_held(job: object, session: Session, token: bytes) -> bool:
    if not isinstance(job, Job):
        return False
    return job.state is State.STARTED and job.runner == session.client and job.token == token

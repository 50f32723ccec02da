"""What follows from a commit: runners are fed, handlers and watchers told, holders warned.

Changes committed here come whole; those of other brokers as notices, which say where to look.
"""

from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

import structlog

from packhorse_broker.cancelling import cancel_request, cancellation, newly_requested
from packhorse_broker.clock import StoreClock
from packhorse_broker.delivery import Delivery
from packhorse_broker.feeder import Feeder
from packhorse_broker.holding import Holding
from packhorse_broker.jobs.model import Job
from packhorse_broker.notices import Notice
from packhorse_broker.sessions import Session, Sessions
from packhorse_broker.store.changes import Change, EndedClaim, RevokeReason
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.registry import Registry
from packhorse_broker.watching import Watching
from packhorse_protocol import Code
from packhorse_protocol.messages import Revocation

Spawn = Callable[[Coroutine[Any, Any, None]], None]
_log = structlog.get_logger(__name__)

SUPERSEDED: Final = (Code.SUPERSEDED, "the client connected again elsewhere")
CLIENT_GONE: Final = (Code.CLIENT_GONE, "the client was silent too long and was removed")


class Fanout:
    """`committed` after each of our transactions, `heard` for each notice, `missed` when unsure."""

    def __init__(
        self,
        sessions: Sessions,
        feeder: Feeder,
        delivery: Delivery,
        watching: Watching,
        registry: Registry,
        holding: Holding,
        clock: StoreClock,
        spawn: Spawn,
        *,
        due: Callable[[int], None],
        passed_on: Callable[[Sequence[str], Sequence[str], str], None],
        types_changed: Callable[[Sequence[str]], None],
    ) -> None:
        """`due`: told when another broker's jobs are due; `passed_on`: which jobs it may have
        queued without a place for them, of which types, and which broker; `types_changed`: of
        which types something was set there."""
        self._sessions = sessions
        self._feeder = feeder
        self._delivery = delivery
        self._watching = watching
        self._registry = registry
        self._holding = holding
        self._clock = clock
        self._spawn = spawn
        self._due = due
        self._passed_on = passed_on
        self._types_changed = types_changed

    def committed(self, changes: Sequence[Change]) -> None:
        queued: defaultdict[str, int] = defaultdict(int)
        for change in changes:
            job = change.job
            for ended in change.ended_claims:
                self._claim_ended(job.id, ended)
            if change.queued:
                queued[job.type] += 1
            if job.course is not None:
                if newly_requested(change):
                    self._tell_cancelled(job)
                self._delivery.changed(change)
            elif job.handlers:
                self._delivery.changed(change)
        self._watching.committed(changes)
        for job_type, jobs in queued.items():
            self._feeder.queued(job_type, jobs)

    def heard(self, notice: Notice) -> None:
        if notice.queued:
            self._passed_on(notice.changed, notice.queued, notice.broker)
        for job_type in notice.queued:
            self._feeder.queued(job_type)
        for client in notice.owed:
            self._delivery.owed(client)
        for client, job, version in notice.dropped:
            if not self._watching.watches(client, job):
                self._delivery.dropped(client, job, version)
        self._hear_groups(notice)
        for client, job, token, reason in notice.revocations():
            self._revoke(client, job, token, reason)
        self._hear_cancelled(notice)
        if notice.due:
            self._due(notice.due)
        if notice.types:
            self._types_changed(notice.types)
        if notice.changed:
            self._spawn(self._watching.look(notice.changed))
        for client in notice.moved:
            session = self._sessions.get(client)
            if session is not None:
                self._spawn(self._look_whether_outdated(session))

    def missed(self) -> None:
        """Notices may have been lost: look everywhere."""
        self._feeder.queued_all()
        self.missed_by(self._sessions)
        self.missed_by_many()

    def missed_by(self, sessions: Iterable[Session]) -> None:
        """The same of what these alone are told."""
        for session in sessions:
            self._delivery.catch_up(session)
            self._spawn(self._holding.reconcile(session))

    def missed_by_many(self) -> None:
        """The same of what several sessions are told: members of groups, and watchers."""
        self._delivery.groups.look()
        self._spawn(self._watching.look_at_all())

    def close_session(self, client: str) -> None:
        """The client was removed: its connection, if it has one here, is of no use any more."""
        session = self._sessions.get(client)
        if session is not None:
            session.outlet.close(*CLIENT_GONE)

    async def _look_whether_outdated(self, session: Session) -> None:
        """A notice may be late: what counts is what the store says now."""
        try:
            newest = await self._registry.newest_connections([session.client])
        except StoreUnavailable as error:
            _log.warning("notices.not_followed", error=str(error))
        else:
            close_if_outdated(session, newest[session.client])

    def _tell_cancelled(self, job: Job) -> None:
        request = cancel_request(job)
        session = self._sessions.get(job.runner) if job.runner is not None else None
        if session is not None and request is not None:
            session.push_cancellation(
                cancellation(job, request, self._clock.now_ms()), request.until
            )

    def _hear_groups(self, notice: Notice) -> None:
        for group in notice.owed_groups:
            self._delivery.groups.catch_up(group)
        for group in notice.given_back:
            self._delivery.groups.given_back(group, notice.broker)

    def _hear_cancelled(self, notice: Notice) -> None:
        """Until when and why is in the records."""
        jobs: dict[Session, list[str]] = {}
        for client, job, _ in notice.cancelled:
            session = self._sessions.get(client)
            if session is not None:
                jobs.setdefault(session, []).append(job)
        for session, held in jobs.items():
            self._spawn(self._holding.tell_cancelled(session, held))

    def _claim_ended(self, job: str, ended: EndedClaim) -> None:
        if ended.revoked is not None:
            self._revoke(ended.runner, job, ended.token, ended.revoked)
            return
        session = self._sessions.get(ended.runner)
        if session is not None and session.let_go(job, ended.token):
            self._feeder.offer(session)

    def _revoke(self, client: str, job: str, token: bytes, reason: RevokeReason) -> None:
        session = self._sessions.get(client)
        if session is not None and session.let_go(job, token):
            session.push_revocation(Revocation(job=job, token=token, reason=reason))
            self._feeder.offer(session)


def close_if_outdated(session: Session, newest: str | None) -> None:
    """Of a session that was open when it was asked which connection of its client is the newest.

    One that has ended since is saying bye, and is answered.
    """
    if session.closed:
        return
    if newest is None:
        session.outlet.close(*CLIENT_GONE)
    elif newest != session.connection:
        session.outlet.close(*SUPERSEDED)

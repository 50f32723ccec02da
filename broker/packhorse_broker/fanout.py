"""What follows from a commit: runners are fed, handlers and watchers told, holders warned.

Changes committed here come whole; those of other brokers as notices, which say where to look.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Literal, TypeAlias

import structlog

from packhorse_broker.delivery import Delivery
from packhorse_broker.feeder import Feeder
from packhorse_broker.notices import Notice
from packhorse_broker.sessions import Session, Sessions
from packhorse_broker.store.changes import Change
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.registry import Registry
from packhorse_broker.watching import Watching
from packhorse_protocol import Code
from packhorse_protocol.messages import Revocation

Spawn = Callable[[Coroutine[Any, Any, None]], None]
_log = structlog.get_logger(__name__)

RevokeReason: TypeAlias = Literal["removed", "taken_back"]

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
        reconcile: Callable[[Session], Coroutine[Any, Any, None]],
        spawn: Spawn,
    ) -> None:
        self._sessions = sessions
        self._feeder = feeder
        self._delivery = delivery
        self._watching = watching
        self._registry = registry
        self._reconcile = reconcile
        self._spawn = spawn

    def committed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.ended_claim is not None:
                self._claim_ended(change, *change.ended_claim)
            if change.queued:
                self._feeder.queued(change.job.type, jobs=1)
            self._delivery.changed(change)
            self._watching.changed(change)

    def heard(self, notice: Notice) -> None:
        for job_type in notice.queued:
            self._feeder.queued(job_type)
        for client in notice.owed:
            self._delivery.owed(client)
        for client, job, token in notice.revoked:
            self._revoke(client, job, token, "removed")
        if notice.changed:
            self._spawn(self._watching.look(notice.changed))
        for client in notice.moved:
            session = self._sessions.get(client)
            if session is not None:
                self._spawn(self._look_whether_outdated(session))

    def missed(self) -> None:
        """Notices may have been lost: look everywhere."""
        self._feeder.queued_all()
        for session in self._sessions:
            self._delivery.catch_up(session)
            self._spawn(self._reconcile(session))
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

    def _claim_ended(self, change: Change, client: str, token: bytes) -> None:
        if change.revoked:
            removed = change.removed or change.renewed
            self._revoke(client, change.job.id, token, "removed" if removed else "taken_back")
            return
        session = self._sessions.get(client)
        if session is not None and session.let_go(change.job.id, token):
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

"""What follows from a commit: runners are fed, handlers and watchers told, holders warned.

Changes committed here come whole; those of other brokers as notices, which say where to look.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from packhorse_broker.delivery import Delivery
from packhorse_broker.feeder import Feeder
from packhorse_broker.notices import Notice
from packhorse_broker.sessions import Sessions
from packhorse_broker.store.changes import Change
from packhorse_broker.watching import Watching
from packhorse_protocol import Code
from packhorse_protocol.messages import Revocation

Spawn = Callable[[Coroutine[Any, Any, None]], None]

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
        spawn: Spawn,
    ) -> None:
        self._sessions = sessions
        self._feeder = feeder
        self._delivery = delivery
        self._watching = watching
        self._spawn = spawn

    def committed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.queued:
                self._feeder.queued(change.job.type)
            if change.revoked and change.job.runner is not None and change.job.token is not None:
                self._revoke(change.job.runner, change.job.id, change.job.token)
            self._delivery.changed(change)
            self._watching.changed(change)

    def heard(self, notice: Notice) -> None:
        for job_type in notice.queued:
            self._feeder.queued(job_type)
        for client in notice.owed:
            self._delivery.owed(client)
        for client, job, token in notice.revoked:
            self._revoke(client, job, token)
        if notice.changed:
            self._spawn(self._watching.look(notice.changed))
        if notice.connected is not None:
            self.connected_elsewhere(*notice.connected)
        for client in notice.gone:
            self.close_session(client)

    def missed(self) -> None:
        """Notices may have been lost: look everywhere."""
        self._feeder.queued_all()
        for session in self._sessions:
            self._delivery.catch_up(session)
        self._spawn(self._watching.look_at_all())

    def connected_elsewhere(self, client: str, connection: str) -> None:
        """Another broker has the client's newest connection."""
        session = self._sessions.get(client)
        if session is not None and session.connection != connection:
            session.outlet.close(*SUPERSEDED)

    def close_session(self, client: str) -> None:
        """The client was removed: its connection, if it has one here, is of no use any more."""
        session = self._sessions.get(client)
        if session is not None:
            session.outlet.close(*CLIENT_GONE)

    def _revoke(self, client: str, job: str, token: bytes) -> None:
        session = self._sessions.get(client)
        if session is not None and session.let_go(job, token):
            session.push_revocation(Revocation(job=job, token=token, reason="removed"))
            self._feeder.offer(session)

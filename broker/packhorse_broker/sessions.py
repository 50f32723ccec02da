"""Connected clients: what each may do, what it has room for, and what waits to be sent to it.

A session is the broker's view of one client on its newest connection. What it pushes is
collected here and leaves in a few frames at the end of the loop's turn.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Protocol, TypeAlias

from packhorse_broker.clock import monotonic_ms
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    BrokerMessage,
    Claim,
    Claims,
    Event,
    Events,
    LogEntry,
    Outcome,
    Outcomes,
    Revocation,
    Revoke,
    Role,
)

Push: TypeAlias = Claims | Revoke | Outcomes | Events

MAX_HELD_BACK_LOG: Final = 100
"""Log entries of one job held back for a slow watcher; older ones are read by offset instead."""


class Outlet(Protocol):
    """The connection, as a session sees it."""

    def send(self, message: BrokerMessage) -> None:
        """Queues a message; it leaves at the end of the loop's turn."""

    def flush_soon(self) -> None:
        """Asks to be flushed: pushes are waiting in the session."""

    def has_room(self) -> bool:
        """Whether the client reads fast enough to be sent pushes."""

    def close(self, code: Code, message: str) -> None:
        """Ends the session, says why, then closes."""

    def end_session(self) -> None:
        """Ends the session; the connection stays for the last answers, then closes."""


class Session:
    """One client, connected. Only `sessions.py` and the connection touch the pending pushes."""

    def __init__(
        self,
        client: str,
        connection: str,
        outlet: Outlet,
        *,
        roles: frozenset[Role],
        timeout_ms: int,
        heartbeat_ms: int,
    ) -> None:
        self.client = client
        self.connection = connection
        self.outlet = outlet
        self.roles = roles
        self.timeout_ms = timeout_ms
        self.heartbeat_ms = heartbeat_ms
        self.last_response_ms = monotonic_ms()
        self.renewed_ms = 0.0
        """The `last_response_ms` that the store knows of."""
        self.ready = False
        """Whether the claims that it held before are known: until then it is sent no new ones."""
        self.closed = False
        self.credit = 0
        self.takes: Mapping[str, int] = {}
        self._held: dict[str, tuple[str, bytes]] = {}
        """Jobs that this client holds as their runner: type and token."""
        self._held_of: dict[str, int] = {}
        self._reserved = 0
        self._reserved_of: dict[str, int] = {}
        self.owed: dict[str, int] = {}
        """Jobs whose outcome was sent on this connection and is not handled yet, and when each
        finished: an id may be used again for another job."""
        self.behind = False
        """Whether the store holds outcomes for this client that were not sent."""
        self._claims: list[Claim] = []
        self._revocations: list[Revocation] = []
        self._outcomes: list[Outcome] = []
        self._events: dict[str, Event] = {}

    # -- credit

    def room_for(self, job_type: str) -> int:
        """How many more claims of a type this runner takes now."""
        most = self.takes.get(job_type, 0)
        if not most or not self.ready or self.closed or not self.outlet.has_room():
            return 0
        in_all = self.credit - len(self._held) - self._reserved
        of_type = most - self._held_of.get(job_type, 0) - self._reserved_of.get(job_type, 0)
        return max(0, min(in_all, of_type))

    def reserve(self, job_type: str) -> None:
        """Sets one claim's room aside while it is being drawn."""
        self._reserved += 1
        self._reserved_of[job_type] = self._reserved_of.get(job_type, 0) + 1

    def unreserve(self, job_type: str) -> None:
        self._reserved -= 1
        self._reserved_of[job_type] -= 1

    def hold(self, job: str, job_type: str, token: bytes) -> bool:
        """The client has become the job's runner; False: that was known."""
        held = self._held.get(job)
        if held == (job_type, token):
            return False
        if held is not None:
            self._held_of[held[0]] -= 1
        self._held_of[job_type] = self._held_of.get(job_type, 0) + 1
        self._held[job] = (job_type, token)
        return True

    def let_go(self, job: str, token: bytes) -> bool:
        """This claim is over, if it was held; whether that made room."""
        held = self._held.get(job)
        if held is None or held[1] != token:
            return False
        del self._held[job]
        self._held_of[held[0]] -= 1
        return True

    # -- pushes

    def push_claim(self, claim: Claim) -> None:
        self._claims.append(claim)
        self.outlet.flush_soon()

    def push_revocation(self, revocation: Revocation) -> None:
        self._revocations.append(revocation)
        self.outlet.flush_soon()

    def push_outcome(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self.outlet.flush_soon()

    def push_event(self, event: Event) -> None:
        """Adds to what is held back for the same job: the newest state and progress, all logs
        up to a bound."""
        held_back = self._events.get(event.job)
        self._events[event.job] = event if held_back is None else _merged(held_back, event)
        self.outlet.flush_soon()

    def drop_events(self, job: str) -> None:
        self._events.pop(job, None)

    def pending(self) -> Iterator[Push]:
        """Takes out what waits to be pushed."""
        if self._claims:
            claims, self._claims = self._claims, []
            yield Claims(claims=tuple(claims))
        if self._revocations:
            revocations, self._revocations = self._revocations, []
            yield Revoke(claims=tuple(revocations))
        if self._outcomes:
            outcomes, self._outcomes = self._outcomes, []
            yield Outcomes(outcomes=tuple(outcomes))
        if self._events and self.outlet.has_room():
            events, self._events = self._events, {}
            yield Events(events=tuple(events.values()))


class Sessions:
    """All connected clients of this broker, by client id."""

    def __init__(self) -> None:
        self._by_client: dict[str, Session] = {}

    def add(self, session: Session) -> None:
        """The newest connection of a client wins; the former one is told and closed."""
        former = self._by_client.get(session.client)
        self._by_client[session.client] = session
        if former is not None:
            former.outlet.close(Code.SUPERSEDED, "the client connected again elsewhere")

    def discard(self, session: Session) -> None:
        session.closed = True
        if self._by_client.get(session.client) is session:
            del self._by_client[session.client]

    def get(self, client: str) -> Session | None:
        return self._by_client.get(client)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_client.values()))

    def __len__(self) -> int:
        return len(self._by_client)


def _merged(held_back: Event, event: Event) -> Event:
    log: tuple[LogEntry, ...] = (*held_back.log, *event.log)[-MAX_HELD_BACK_LOG:]
    return Event(
        job=event.job,
        version=max(held_back.version, event.version),
        state=event.state or held_back.state,
        progress=event.progress or held_back.progress,
        log=log,
        removed=held_back.removed or event.removed,
    )

"""Connected clients: what each may do, what it has room for, and what waits to be sent to it.

A session is the broker's view of one client on its newest connection. What it pushes is
collected here and leaves in a few frames at the end of the loop's turn, as far as the client
reads.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Protocol, TypeAlias, TypeVar

from packhorse_broker.clock import monotonic_ms
from packhorse_broker.turns import Turns
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    BrokerMessage,
    Cancellation,
    Cancelling,
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

Push: TypeAlias = Claims | Cancelling | Revoke | Outcomes | Events

MAX_HELD_BACK_LOG: Final = 100
"""Log entries of one job held back for a slow watcher; older ones are read by offset instead."""

MAX_HELD_BACK_BYTES: Final = 1024 * 1024
"""Log entries of all jobs held back for a slow watcher: past it the newest of each job stays."""

MAX_HELD_BACK_JOBS: Final = 20_000
"""Jobs with events held back for a slow reader, from which on it is not told of others that it was
to handle and that were removed: it may watch half as many, and nothing else bounds these."""

PUSH_BYTES: Final = 256 * 1024
"""About so much goes into one push; an item that is larger goes alone."""

ITEM_BYTES: Final = 256
"""What an item of a push takes beside its payload, result or text, roughly."""

Item = TypeVar("Item")


class Outlet(Protocol):
    """The connection, as a session sees it."""

    def send(self, message: BrokerMessage) -> None:
        """Queues a message; it leaves at the end of the loop's turn."""

    def flush_soon(self) -> None:
        """Asks to be flushed: pushes are waiting in the session."""

    def has_room(self) -> bool:
        """Whether the client reads fast enough to be sent pushes."""

    async def room(self) -> None:
        """Waits until the client has read what it was sent, or is gone."""

    def close(self, code: Code, message: str) -> None:
        """Ends the session, says why, then closes."""

    def end_session(self) -> None:
        """Ends the session; the connection stays for the last answers, then closes."""


class Session:
    """One client, connected. Only `sessions.py` and the connection touch the pending pushes."""

    __slots__ = (
        "_cancellations",
        "_claims",
        "_events",
        "_held",
        "_held_back_bytes",
        "_held_of",
        "_lookups",
        "_outcomes",
        "_over",
        "_reserved",
        "_reserved_of",
        "_revocations",
        "behind",
        "client",
        "closed",
        "connection",
        "credit",
        "groups",
        "heartbeat_ms",
        "last_response_ms",
        "looking",
        "outlet",
        "owed",
        "ready",
        "renewed_ms",
        "roles",
        "takes",
        "timeout_ms",
        "turns",
    )

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
        self.turns = Turns()
        """Whose turn it is among the types that it takes."""
        self.groups: tuple[str, ...] = ()
        """Groups of handlers of which it is a member."""
        self._held: dict[str, tuple[str, bytes]] = {}
        """Jobs that this client holds as their runner: type and token."""
        self._held_of: dict[str, int] = {}
        self._lookups = 0
        self._over: set[bytes] = set()
        """Tokens of claims that ended during a lookup."""
        self._reserved = 0
        self._reserved_of: dict[str, int] = {}
        self.looking = asyncio.Lock()
        """Held while a request that looks is answered: such answers are large, so one at a time."""
        self.owed: dict[str, int] = {}
        """Jobs whose outcome was sent on this connection and is not handled yet, and when each
        finished: an id may be used again for another job."""
        self.behind = False
        """Whether the store holds outcomes for this client that were not sent."""
        self._claims: deque[Claim] = deque()
        self._cancellations: dict[str, Cancellation] = {}
        self._revocations: deque[Revocation] = deque()
        self._outcomes: deque[Outcome] = deque()
        self._events: dict[str, Event] = {}
        self._held_back_bytes = 0

    # -- credit

    def room_for(self, job_type: str) -> int:
        """How many more claims of a type this runner takes now."""
        most = self.takes.get(job_type, 0)
        if not most or not self.ready or self.closed or not self.outlet.has_room():
            return 0
        in_all = self.credit - len(self._held) - self._reserved
        of_type = most - self._held_of.get(job_type, 0) - self._reserved_of.get(job_type, 0)
        return max(0, min(in_all, of_type))

    @property
    def free(self) -> int:
        """Places of all types that are neither used nor set aside; less than 0 after the credit
        was lowered."""
        return self.credit - len(self._held) - self._reserved

    def reserved(self, job_type: str) -> int:
        """For how many claims of a type room is set aside."""
        return self._reserved_of.get(job_type, 0)

    def reserve(self, job_type: str) -> None:
        """Sets one claim's room aside while it is being drawn."""
        self._reserved += 1
        self._reserved_of[job_type] = self._reserved_of.get(job_type, 0) + 1

    def unreserve(self, job_type: str) -> None:
        self._reserved -= 1
        self._reserved_of[job_type] -= 1

    @contextmanager
    def lookup(self) -> Iterator[None]:
        """While it is read what the client holds. A claim may end in between, and what was read
        be older than its end: it is not held again."""
        self._lookups += 1
        try:
            yield
        finally:
            self._lookups -= 1
            if not self._lookups:
                self._over.clear()

    def hold(self, job: str, job_type: str, token: bytes) -> bool:
        """The client has become the job's runner; False: that was known, or is over."""
        held = self._held.get(job)
        if held == (job_type, token) or token in self._over:
            return False
        if held is not None:
            self._held_of[held[0]] -= 1
        self._held_of[job_type] = self._held_of.get(job_type, 0) + 1
        self._held[job] = (job_type, token)
        return True

    def let_go(self, job: str, token: bytes) -> bool:
        """This claim is over, if it was held; whether that made room."""
        if self._lookups:
            self._over.add(token)
        held = self._held.get(job)
        if held is None or held[1] != token:
            return False
        del self._held[job]
        self._held_of[held[0]] -= 1
        return True

    @property
    def holds(self) -> dict[str, bytes]:
        """Jobs that the client holds, and the token of each claim."""
        return {job: token for job, (_, token) in self._held.items()}

    def holds_claim(self, job: str, token: bytes) -> bool:
        held = self._held.get(job)
        return held is not None and held[1] == token

    # -- pushes

    def push_claim(self, claim: Claim) -> None:
        self._claims.append(claim)
        self.outlet.flush_soon()

    def push_cancellation(self, cancellation: Cancellation) -> None:
        """The newest of a job takes the place of one that still waits."""
        self._cancellations[cancellation.job] = cancellation
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
        self._held_back_bytes += _log_bytes(event)
        if self._held_back_bytes > MAX_HELD_BACK_BYTES:
            self._events = {job: _with_newest_log(kept) for job, kept in self._events.items()}
            self._held_back_bytes = 0
        self.outlet.flush_soon()

    def push_removal(self, job: str, version: int) -> None:
        """Of a job that the client was to handle, whether it watches it or not."""
        if len(self._events) < MAX_HELD_BACK_JOBS:
            self.push_event(Event(job=job, version=version, removed=True))

    def drop_events(self, job: str) -> None:
        self._events.pop(job, None)

    def has_pushes(self) -> bool:
        return bool(
            self._claims
            or self._cancellations
            or self._revocations
            or self._outcomes
            or self._events
        )

    def next_push(self) -> Push | None:
        """Takes out some of what waits to be pushed: what matters most, oldest first.

        A claim comes before all that may be said of it.
        """
        if self._claims:
            return Claims(claims=_taken(self._claims, _claim_bytes))
        if self._cancellations:
            cancellations = self._held_cancellations()
            if cancellations:
                return Cancelling(claims=cancellations)
        if self._revocations:
            return Revoke(claims=_taken(self._revocations, _revocation_bytes))
        if self._outcomes:
            return Outcomes(outcomes=_taken(self._outcomes, _outcome_bytes))
        if self._events:
            waiting = deque(self._events.values())
            events = _taken(waiting, _event_bytes)
            self._events = {event.job: event for event in waiting}
            if not waiting:
                self._held_back_bytes = 0
            return Events(events=events)
        return None

    def _held_cancellations(self) -> tuple[Cancellation, ...]:
        """Takes out those of claims that have not ended since, as far as they fit into a push."""
        waiting = deque(
            cancellation
            for job, cancellation in self._cancellations.items()
            if self.holds_claim(job, cancellation.token)
        )
        taken = _taken(waiting, _cancellation_bytes) if waiting else ()
        self._cancellations = {cancellation.job: cancellation for cancellation in waiting}
        return taken


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


def _with_newest_log(event: Event) -> Event:
    return replace(event, log=event.log[-1:])


def _taken(waiting: deque[Item], size_of: Callable[[Item], int]) -> tuple[Item, ...]:
    """Takes the first out, and those after it as far as they fit into a push."""
    items = [waiting.popleft()]
    size_bytes = size_of(items[0])
    while waiting and (size_bytes := size_bytes + size_of(waiting[0])) <= PUSH_BYTES:
        items.append(waiting.popleft())
    return tuple(items)


def _claim_bytes(claim: Claim) -> int:
    return ITEM_BYTES + len(claim.payload)


def _cancellation_bytes(cancellation: Cancellation) -> int:
    return ITEM_BYTES + len(cancellation.why)


def _revocation_bytes(_: Revocation) -> int:
    return ITEM_BYTES


def _outcome_bytes(outcome: Outcome) -> int:
    return ITEM_BYTES + len(outcome.result or b"")


def _event_bytes(event: Event) -> int:
    return ITEM_BYTES + _log_bytes(event)


def _log_bytes(event: Event) -> int:
    return sum(ITEM_BYTES + len(entry.message) for entry in event.log)

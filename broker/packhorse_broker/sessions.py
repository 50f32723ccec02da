"""Connected clients: what each may do, what it has room for, and what waits to be sent to it.

A session is the broker's view of one client on its newest connection. What it pushes is
collected here and leaves in a few frames at the end of the loop's turn, as far as the client
reads.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

from msgspec import Struct

from packhorse_broker.clock import monotonic_ms
from packhorse_broker.pushes import (
    Push,
    cancellation_bytes,
    claim_bytes,
    event_bytes,
    log_bytes,
    merged,
    one_push,
    outcome_bytes,
    revocation_bytes,
    with_newest_log,
)
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
    Outcome,
    Outcomes,
    Revocation,
    Revoke,
    Role,
)

MAX_HELD_BACK_BYTES: Final = 1024 * 1024
"""Log entries of all jobs held back for a slow watcher: past it the newest of each job stays."""

MAX_HELD_BACK_JOBS: Final = 20_000
"""Jobs with events held back for a slow reader, from which on it is not told of others that it was
to handle and that were removed: it may watch half as many, and nothing else bounds these."""


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


class _Held(Struct, gc=False):
    """A claim of the client as a runner."""

    type: str
    token: bytes
    ending: bool = False
    """Whether it has said how it ended and that is not committed yet: it uses no place any more."""


class Session:
    """One client, connected. Only `sessions.py` and the connection touch the pending pushes."""

    __slots__ = (
        "_asked",
        "_cancellations",
        "_claims",
        "_events",
        "_held",
        "_held_back_bytes",
        "_lookups",
        "_outcomes",
        "_over",
        "_parting",
        "_reserved",
        "_reserved_of",
        "_revocations",
        "_used",
        "_used_of",
        "behind",
        "client",
        "closed",
        "connection",
        "credit",
        "groups",
        "heartbeat_ms",
        "last_response_ms",
        "looking",
        "moves",
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
        self._parting: Callable[[], None] | None = None
        """Tells the client that it gets no more claims, once it has got those under way."""
        self.turns = Turns()
        """Whose turn it is among the types that it takes."""
        self.groups: tuple[str, ...] = ()
        """Groups of handlers of which it is a member."""
        self._held: dict[str, _Held] = {}
        """Claims of this client as a runner, by job."""
        self._used = 0
        """Places of the claims that it holds and that are not ending."""
        self._used_of: defaultdict[str, int] = defaultdict(int)
        self._lookups = 0
        self._over: set[bytes] = set()
        """Tokens of claims that ended during a lookup."""
        self._reserved = 0
        self._reserved_of: dict[str, int] = {}
        self.moves = 0
        """Grows whenever a place is taken, set aside or made free."""
        self.looking = asyncio.Lock()
        """Held while a request that looks is answered: such answers are large, so one at a time."""
        self.owed: dict[str, int] = {}
        """Jobs whose outcome was sent on this connection and is not handled yet, and when each
        finished: an id may be used again for another job."""
        self.behind = False
        """Whether the store holds outcomes for this client that were not sent."""
        self._claims: deque[Claim] = deque()
        self._cancellations: dict[str, Cancellation] = {}
        self._asked: dict[str, tuple[bytes, int]] = {}
        """Claims that it was asked to end, and until when."""
        self._revocations: deque[Revocation] = deque()
        self._outcomes: deque[Outcome] = deque()
        self._events: dict[str, Event] = {}
        self._held_back_bytes = 0

    # -- credit

    def room_for(self, job_type: str) -> int:
        """How many more claims of a type this runner takes now."""
        most = self.takes.get(job_type, 0)
        if not most or not self.listens:
            return 0
        used = self._used_of.get(job_type, 0) + self._reserved_of.get(job_type, 0)
        return max(0, min(self.free, most - used))

    def rooms(self) -> dict[str, int]:
        """The same of all types; those of which it takes none now may be left out."""
        free = self.free
        if free <= 0 or not self.listens:
            return {}
        rooms = {
            # Without a call for each: there may be hundreds of types, and thousands of runners.
            job_type: most if most < free else free
            for job_type, most in self.takes.items()
        }
        for job_type in (*self._used_of, *self._reserved_of):
            if job_type in rooms:
                rooms[job_type] = self.room_for(job_type)
        return rooms

    @property
    def listens(self) -> bool:
        """Whether it can be sent claims now."""
        return self.ready and not self.closed and self.outlet.has_room()

    @property
    def free(self) -> int:
        """Places of all types that are neither used nor set aside; less than 0 after the credit
        was lowered."""
        return self.credit - self._used - self._reserved

    def reserved(self, job_type: str) -> int:
        """For how many claims of a type room is set aside."""
        return self._reserved_of.get(job_type, 0)

    def reserve(self, job_type: str, claims: int = 1) -> None:
        """Sets room for claims aside while they are being drawn; a negative number ends that."""
        self.moves += 1
        self._reserved += claims
        self._reserved_of[job_type] = self._reserved_of.get(job_type, 0) + claims
        if self._parting is not None:
            self.outlet.flush_soon()

    def part(self, told: Callable[[], None] | None) -> None:
        """The client takes nothing more: `told` is called when all claims that were being made for
        it have left. None: it takes something again. Either way one that waits is called."""
        parting, self._parting = self._parting, told
        if parting is not None:
            parting()
        if told is not None:
            self.outlet.flush_soon()

    def part_if_served(self) -> None:
        """For the connection, when it has written what it could."""
        if self._parting is not None and not self._reserved and not self._claims:
            self.part(None)

    def ends(self, job: str, token: bytes) -> None:
        """It is being committed that this claim is over: its place may be given out in the same
        transaction."""
        held = self._held.get(job)
        if held is not None and held.token == token and not held.ending:
            held.ending = True
            self.moves += 1
            self._used -= 1
            self._used_of[held.type] -= 1

    def goes_on(self, job: str, token: bytes) -> None:
        """It was not committed."""
        held = self._held.get(job)
        if held is not None and held.token == token and held.ending:
            held.ending = False
            self.moves += 1
            self._used += 1
            self._used_of[held.type] += 1

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
        if token in self._over or (held is not None and held.token == token):
            return False
        if held is not None:
            self.ends(job, held.token)
        self._held[job] = _Held(job_type, token)
        self.moves += 1
        self._used += 1
        self._used_of[job_type] += 1
        return True

    def let_go(self, job: str, token: bytes) -> bool:
        """This claim is over, if it was held; whether that made room."""
        if self._lookups:
            self._over.add(token)
        held = self._held.get(job)
        if held is None or held.token != token:
            return False
        if not held.ending:
            self.ends(job, token)
        self._asked.pop(job, None)
        del self._held[job]
        return True

    @property
    def holds(self) -> dict[str, bytes]:
        """Jobs that the client holds, and the token of each claim."""
        return {job: held.token for job, held in self._held.items()}

    def holds_claim(self, job: str, token: bytes) -> bool:
        held = self._held.get(job)
        return held is not None and held.token == token

    # -- pushes

    def push_claim(self, claim: Claim) -> None:
        self._claims.append(claim)
        self.outlet.flush_soon()

    def push_cancellation(self, cancellation: Cancellation, until: int) -> None:
        """Unless it was told the same on this connection: `until` is the end of the grace time.
        The newest of a job takes the place of one that still waits."""
        asked = (cancellation.token, until)
        if self._asked.get(cancellation.job) == asked:
            return
        self._asked[cancellation.job] = asked
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
        self._events[event.job] = event if held_back is None else merged(held_back, event)
        self._held_back_bytes += log_bytes(event)
        if self._held_back_bytes > MAX_HELD_BACK_BYTES:
            self._events = {job: with_newest_log(kept) for job, kept in self._events.items()}
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
            return Claims(claims=one_push(self._claims, claim_bytes))
        if self._cancellations:
            cancellations = self._held_cancellations()
            if cancellations:
                return Cancelling(claims=cancellations)
        if self._revocations:
            return Revoke(claims=one_push(self._revocations, revocation_bytes))
        if self._outcomes:
            return Outcomes(outcomes=one_push(self._outcomes, outcome_bytes))
        if self._events:
            waiting = deque(self._events.values())
            events = one_push(waiting, event_bytes)
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
        taken = one_push(waiting, cancellation_bytes) if waiting else ()
        self._cancellations = {cancellation.job: cancellation for cancellation in waiting}
        return taken


class Sessions:
    """All connected clients of this broker, by client id."""

    def __init__(self) -> None:
        self._by_client: dict[str, Session] = {}
        self.get = self._by_client.get
        """By the client's id; None: it is not connected."""

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

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_client.values()))

    def __len__(self) -> int:
        return len(self._by_client)

"""What was asked of the broker and is not answered yet, across connections.

A request that was unanswered when its connection ended goes back into its lane and leaves again
after the resume. All kinds bear it: an id chosen here makes a create repeatable, a token makes
what a runner reports repeatable, and the rest only reads or says how things should be.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import count
from operator import attrgetter
from typing import Any, Final, TypeVar

from msgspec import Struct

from packhorse import backoff, kinds, kinds_by_hand, kinds_to_read
from packhorse.errors import REFUSALS, ClientClosed, ConnectionLost, InvalidValue, Refused, TooLarge
from packhorse.kinds import NotMet
from packhorse.lanes import Entry, Kind, Lane
from packhorse.naming import as_written
from packhorse.transport import Wire
from packhorse_protocol.errors import Code, MalformedMessage
from packhorse_protocol.messages import Created, Limits, Ok, Problem
from packhorse_protocol.messages import Refused as RefusedMessage

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_WAITING_ITEMS: Final = 100_000
"""Items not sent yet at which `room` makes callers wait: ten of the largest batches."""

MAX_WRITE_REQUESTS: Final = 16
"""Requests in one write: above it the transport is asked again whether it keeps up."""

LEFT_TO_CALLER: Final = frozenset({Code.QUOTA, Code.STORE_FULL})
"""Refusals that are not retried here: a full queue may take hours, and who fills it is to know."""


_ITEM_OF: Final = attrgetter("item")


class _Flight(Struct, eq=False):
    """A request that left and is not answered yet."""

    lane: Lane[Any, Any]
    entries: list[Entry[Any, Any]]


class Requests:
    """All lanes, and the unanswered requests of the connection there is at the moment.

    The link calls `connected`, `pause`, `disconnected`, `answer` and `give_up`; everybody else
    submits to a lane.
    """

    def __init__(self, *, retry_s: float) -> None:
        self.progress = self._lane(kinds.PROGRESS)
        self.log = self._lane(kinds.LOG)
        self.complete = self._lane(kinds.COMPLETE)
        self.fail = self._lane(kinds.FAIL)
        self.release = self._lane(kinds.RELEASE)
        self.extend = self._lane(kinds.EXTEND)
        self.take = self._lane(kinds.TAKE)
        self.handled = self._lane(kinds.HANDLED)
        self.handled_for_group = self._lane(kinds.HANDLED_FOR_GROUP)
        self.join = self._lane(kinds.JOIN)
        self.create = self._lane(kinds.CREATE)
        self.create_and_handle = self._lane(kinds.CREATE_AND_HANDLE)
        self.create_for_group = self._lane(kinds.CREATE_FOR_GROUP)
        self.handle = self._lane(kinds.HANDLE)
        self.handle_for_group = self._lane(kinds.HANDLE_FOR_GROUP)
        self.claim = self._lane(kinds.CLAIM)
        self.publish = self._lane(kinds.PUBLISH)
        self.cancel = self._lane(kinds_by_hand.CANCEL)
        self.retry = self._lane(kinds_by_hand.RETRY)
        self.run_now = self._lane(kinds_by_hand.RUN_NOW)
        self.remove = self._lane(kinds_by_hand.REMOVE)
        self.configure = self._lane(kinds_by_hand.CONFIGURE)
        self.unwatch = self._lane(kinds_to_read.UNWATCH)
        self.watch = self._lane(kinds_to_read.WATCH)
        self.get = self._lane(kinds_to_read.GET)
        self.attempts = self._lane(kinds_to_read.ATTEMPTS)
        self.why = self._lane(kinds_to_read.WHY)
        self.read_log = self._lane(kinds_to_read.READ_LOG)
        self.list = self._lane(kinds_to_read.LIST)
        self.types = self._lane(kinds_to_read.TYPES)
        self.counts = self._lane(kinds_to_read.COUNTS)
        self.schema = self._lane(kinds_to_read.SCHEMA)
        self.minutes = self._lane(kinds_to_read.MINUTES)
        self.actions = self._lane(kinds_to_read.ACTIONS)
        self.info = self._lane(kinds_to_read.INFO)
        self.bye = self._lane(kinds.BYE)
        # The order in which they are sent: what ends claims first, because it is bounded by
        # credit and makes room; `bye` after everything else.
        self._lanes: Final[tuple[Lane[Any, Any], ...]] = tuple(
            lane for lane in vars(self).values() if isinstance(lane, Lane)
        )
        self._places: Final = {lane: place for place, lane in enumerate(self._lanes)}
        self._busy: set[Lane[Any, Any]] = set()
        """Those in which something waits, and perhaps some in which nothing does any more."""
        self._retry_s = retry_s
        self._ids = count(1)
        self._unanswered: dict[int, _Flight] = {}
        self._later: dict[asyncio.TimerHandle, _Flight] = {}
        self._outlet: Wire | None = None
        self._limits: Limits | None = None
        self._pump_due = False
        self._emptied: asyncio.Event | None = None
        """There once somebody waited for answers to all."""
        self._has_room: asyncio.Event | None = None
        """There while somebody waits for room."""
        self._unreachable: Callable[[], Exception] | None = None
        self._end: Callable[[], Exception] | None = partial(
            ClientClosed, "the client has not been opened: use it inside `async with`"
        )

    def _lane(self, kind: Kind[Item, Result]) -> Lane[Item, Result]:
        return Lane(kind, self._begins)

    @property
    def waiting(self) -> int:
        """Items that have not left."""
        return sum(len(lane.waiting) for lane in self._busy)

    @property
    def unanswered(self) -> int:
        """Requests that left and have no answer."""
        return len(self._unanswered)

    async def room(self) -> None:
        """Returns when fewer than `MAX_WAITING_ITEMS` wait: called before adding many."""
        while self.waiting >= MAX_WAITING_ITEMS and self._end is None:
            if self._has_room is None:
                self._has_room = asyncio.Event()
            await self._has_room.wait()

    async def answered(self) -> None:
        """Returns when nothing is unanswered, for a connection that is about to be left."""
        while self._unanswered:
            self._emptied = self._emptied or asyncio.Event()
            self._emptied.clear()
            await self._emptied.wait()

    # -- the link's side ---------------------------------------------------------------------

    def connected(self, outlet: Wire, limits: Limits) -> None:
        """From now on requests leave."""
        self._outlet, self._limits = outlet, limits
        self._unreachable = self._end = None
        self.pump_soon()

    def pause(self) -> None:
        """Nothing new leaves; answers still come."""
        self._outlet = None

    def disconnected(self) -> None:
        """What was unanswered waits again, in the order in which it had left."""
        self._outlet = None
        flights, self._unanswered = self._unanswered, {}
        for flight in reversed(flights.values()):
            flight.lane.put_back(flight.entries)
        if self._emptied is not None:
            self._emptied.set()

    def give_up(self, error: Callable[[], Exception]) -> None:
        """The outage lasts: what can't wait it out fails, and so does what is asked meanwhile."""
        self._unreachable = error
        self._fail_impatient(error)
        self._tell_of_room()

    def _fail_impatient(self, error: Callable[[], Exception]) -> None:
        for lane in tuple(self._busy):
            if not lane.kind.patient:
                lane.fail_waiting(error)

    def end(self, error: Callable[[], Exception]) -> None:
        """The session is over: everything fails, now and from now on."""
        self._end = error
        self.disconnected()
        for timer, flight in self._later.items():
            timer.cancel()
            flight.lane.put_back(flight.entries)
        self._later.clear()
        for lane in tuple(self._busy):
            lane.fail_waiting(error)
        self._tell_of_room()

    def answer(self, message: Ok | RefusedMessage) -> None:
        """Gives each item of the answered request its own result."""
        flight = self._unanswered.pop(message.id or 0, None)
        if flight is None:
            return
        if isinstance(message, RefusedMessage):
            self._refuse_whole(flight, message)
        else:
            met = message.durability is None
            for entry, result in zip(flight.entries, message.results, strict=True):
                if isinstance(result, Problem):
                    self._refuse_item(flight, entry, result)
                elif not (receiver := entry.receiver).done():
                    if not met and isinstance(result, Created):
                        result = NotMet(result)
                    receiver.set_result(result)
        if self._emptied is not None and not self._unanswered:
            self._emptied.set()
        # Who got an answer runs next, and may ask for more.
        self.pump_soon()

    def unreadable(self, message: MalformedMessage) -> None:
        """What arrived instead of an answer could not be read."""
        flight = self._unanswered.pop(message.request_id or 0, None)
        if flight is not None:
            for entry in flight.entries:
                cause = ConnectionLost(f"the broker's answer can't be read: {message}")
                flight.lane.fail(entry, cause)

    # -- refusals ----------------------------------------------------------------------------

    def _refuse_item(self, flight: _Flight, entry: Entry[Any, Any], problem: Problem) -> None:
        if problem.code == Code.TOO_LARGE and len(flight.entries) > 1:
            # It may have been its neighbours in the reply that left no room: again, alone.
            entry.alone = True
            flight.lane.put_back([entry])
        else:
            self._refuse(flight.lane, entry, problem)

    def _refuse_whole(self, flight: _Flight, message: RefusedMessage) -> None:
        if message.code == Code.MALFORMED and len(flight.entries) > 1:
            self._apart(flight, left=True)
            return
        for entry in flight.entries:
            self._refuse(flight.lane, entry, message)

    def _apart(self, flight: _Flight, *, left: bool) -> None:
        """One item spoilt its frame: each goes alone, so that only that one is refused."""
        for entry in flight.entries:
            entry.alone = True
        flight.lane.put_back(flight.entries, left=left)

    def _refuse(
        self, lane: Lane[Any, Any], entry: Entry[Any, Any], problem: Problem | RefusedMessage
    ) -> None:
        again = problem.retryable and problem.code not in LEFT_TO_CALLER
        if again and self._retry(lane, entry, problem.retry_after_ms):
            return
        lane.refuse(entry, refusal(problem, lane.kind.subject(entry.item)))

    def _retry(
        self, lane: Lane[Any, Any], entry: Entry[Any, Any], retry_after_ms: int | None
    ) -> bool:
        loop = asyncio.get_running_loop()
        if not entry.tries:
            entry.retry_until = loop.time() + self._retry_s
        if entry.receiver.done():
            return True
        if not lane.kind.patient and loop.time() >= entry.retry_until:
            return False
        wait_s = max(backoff.wait_s(entry.tries), (retry_after_ms or 0) / 1_000)
        entry.tries += 1
        flight = _Flight(lane, [entry])

        def again() -> None:
            del self._later[timer]
            lane.put_back(flight.entries)

        timer = loop.call_later(wait_s, again)
        self._later[timer] = flight
        return True

    # -- sending -----------------------------------------------------------------------------

    def _begins(self, lane: Lane[Any, Any]) -> None:
        self._busy.add(lane)
        if self._outlet is not None:
            if not self._pump_due:
                self.pump_soon()
        elif self._end is not None:
            lane.fail_waiting(self._end)
        elif self._unreachable is not None and not lane.kind.patient:
            lane.fail_waiting(self._unreachable)

    def pump_soon(self) -> None:
        """Sends what waits, as far as there is room, behind all that is to run in the loop now.

        Also called where something is about to be asked for: by those who run before it, so that
        it need not wait for another turn.
        """
        if not self._pump_due and self._outlet is not None:
            self._pump_due = True
            # Not `asyncio.get_running_loop()`: that is a call into the system.
            self._outlet.loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        if not self._busy:  # as after most answers
            return
        while self._outlet is not None and self._outlet.writable:
            sent = self._send_waiting(self._outlet)
            self._outlet.flush()
            if sent < MAX_WRITE_REQUESTS:
                break
        if self._has_room is not None and self.waiting < MAX_WAITING_ITEMS:
            self._tell_of_room()

    def _send_waiting(self, outlet: Wire) -> int:
        """Sends as many requests as there is room for, and says how many they were."""
        limits = self._limits
        assert limits is not None
        room = min(MAX_WRITE_REQUESTS, limits.in_flight - len(self._unanswered))
        sent = 0
        for lane in sorted(self._busy, key=self._places.__getitem__):
            while lane.waiting and sent < room:
                entries = lane.take(limits)
                if entries:
                    self._send(outlet, lane, entries)
                    sent += 1
            if not lane.waiting:
                self._busy.discard(lane)
        return sent

    def _send(self, outlet: Wire, lane: Lane[Any, Any], entries: list[Entry[Any, Any]]) -> None:
        request_id = next(self._ids)
        try:
            outlet.send(lane.kind.build(request_id, tuple(map(_ITEM_OF, entries))))
        except (InvalidValue, TooLarge) as error:
            if len(entries) > 1:
                self._apart(_Flight(lane, entries), left=False)
            else:
                lane.fail(entries[0], error)
            return
        self._unanswered[request_id] = _Flight(lane, entries)

    def _tell_of_room(self) -> None:
        if self._has_room is not None:
            self._has_room.set()
            self._has_room = None


def refusal(problem: Problem | RefusedMessage, subject: str | None = None) -> Refused:
    """The exception for a refused request or item."""
    malformed = problem.code == Code.MALFORMED
    return REFUSALS.get(problem.code, Refused)(
        as_written(problem.message) if malformed else problem.message,
        code=problem.code,
        retryable=problem.retryable,
        retry_after_ms=problem.retry_after_ms,
        details=problem.details,
        subject=subject,
    )


def quietly(future: "asyncio.Future[Any]") -> None:
    """For what nobody waits for: its failure is no news to anybody."""
    future.add_done_callback(_retrieve)


def _retrieve(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()

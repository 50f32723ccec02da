"""Outcomes on their way from the broker to the program: each reaches it before `handled` leaves."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from packhorse.errors import NotFound, PackhorseError
from packhorse.outcome import Acknowledge, Outcome, from_message, from_view
from packhorse.requests import Requests, quietly
from packhorse_protocol.messages import Done, Ended
from packhorse_protocol.messages import Outcome as OutcomeMessage

MAX_KEPT_OUTCOMES: Final = 10_000
"""Outcomes kept for a program that has not asked for them. The broker keeps them too, and sends
far fewer before it wants the first of them handled."""

LOOK_EVERY_S: Final = 15.0
"""Seconds after which a job that somebody waits for is looked at: it may have been removed by
hand, or its outcome may be stuck behind many that nobody takes."""

_log = logging.getLogger("packhorse")


class Ticket:
    """The right to a job's outcome. All who hold the job share it; without holder it goes."""

    __slots__ = (
        "__weakref__", "arrived", "error", "handling", "job", "outcome", "seen_ended", "taken",
        "waiting",
    )  # fmt: skip

    def __init__(self, job: str) -> None:
        self.job = job
        self.outcome: Outcome | None = None
        self.error: PackhorseError | None = None
        """Why the outcome will not come."""
        self.arrived = asyncio.Event()
        """Set with the outcome or the error."""
        self.handling = False
        """Whether this client is a handler of the job."""
        self.waiting = 0
        """How many coroutines wait now."""
        self.taken = False
        """Whether one of them got the outcome."""
        self.seen_ended = False
        """Whether the broker said that the job ended, before its outcome came."""

    def fail(self, error: PackhorseError) -> None:
        if self.outcome is None:
            self.error = error
            self.arrived.set()


class OutcomeBook:
    """`ticket` and `wait` for one job, `next` for all that nobody waits for."""

    def __init__(self, requests: Requests, *, look_every_s: float = LOOK_EVERY_S) -> None:
        self._requests = requests
        self._look_every_s = look_every_s
        self._tickets: WeakValueDictionary[str, Ticket] = WeakValueDictionary()
        self._given: WeakValueDictionary[str, Outcome] = WeakValueDictionary()
        self._kept: OrderedDict[str, Outcome] = OrderedDict()
        self._kept_changed = asyncio.Event()
        self._acknowledging: dict[str, asyncio.Future[Done]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._awaited: set[Ticket] = set()
        self._end: Callable[[], Exception] | None = None

    def ticket(self, job: str, *, handling: bool = False) -> Ticket:
        """The job's ticket, from here on also for outcomes that come before anybody waits."""
        ticket = self._tickets.get(job)
        if ticket is None:
            ticket = self._tickets[job] = Ticket(job)
            known = self._kept.get(job) or self._given.get(job)
            if known is not None:
                ticket.outcome = known
                ticket.arrived.set()
        ticket.handling = ticket.handling or handling or ticket.outcome is not None
        return ticket

    async def handle(self, ticket: Ticket) -> None:
        """Becomes a handler of the job, so that its outcome comes. Raises `NotFound`."""
        if not ticket.handling:
            await self._requests.handle.submit(ticket.job)
            ticket.handling = True

    async def wait(self, ticket: Ticket) -> Outcome:
        """The job's outcome, not yet handled. Raises `NotFound` if the job went without one."""
        await self.handle(ticket)
        self._awaited.add(ticket)
        ticket.waiting += 1
        self._look_soon()
        try:
            if self._end is not None and not ticket.arrived.is_set():
                raise self._end()
            await ticket.arrived.wait()
            if ticket.outcome is None:
                assert ticket.error is not None
                raise copy(ticket.error)
            ticket.taken = True
            self._kept.pop(ticket.job, None)
            return ticket.outcome
        finally:
            ticket.waiting -= 1
            if not ticket.waiting:
                self._awaited.discard(ticket)
                if ticket.outcome is not None and not ticket.taken:
                    # Cancelled in the moment of its arrival: it is still for somebody.
                    self._keep(ticket.outcome)

    async def next(self) -> Outcome:
        """The next outcome that nobody waits for, not yet handled."""
        while not self._kept:
            if self._end is not None:
                raise self._end()
            self._kept_changed.clear()
            await self._kept_changed.wait()
        _, outcome = self._kept.popitem(last=False)
        return outcome

    def pushed(self, messages: Sequence[OutcomeMessage]) -> None:
        """What the broker pushed; after a resume also what it pushed before."""
        for message in messages:
            ticket = self._tickets.get(message.job)
            has_it = ticket is not None and ticket.outcome is not None
            if not (has_it or message.job in self._given or message.job in self._acknowledging):
                self._arrived(from_message(message, self._acknowledge_later(message.job)))

    def registration_lost(self) -> None:
        """The broker forgot this client: it becomes a handler again of what it still waits for."""
        for ticket in list(self._tickets.values()):
            if ticket.handling and not ticket.arrived.is_set():
                again = self._requests.handle.submit(ticket.job)
                again.add_done_callback(partial(_judge, ticket))

    async def settled(self) -> None:
        """Returns when each `handled` so far is answered."""
        if self._acknowledging:
            await asyncio.wait(list(self._acknowledging.values()))

    def end(self, error: Callable[[], Exception]) -> None:
        """The session is over: who waits is told."""
        self._end = error
        if self._looking is not None:
            self._looking.cancel()
        for ticket in list(self._tickets.values()):
            reason = error()
            if isinstance(reason, PackhorseError) and not ticket.arrived.is_set():
                ticket.fail(reason)
        self._kept_changed.set()

    def _arrived(self, outcome: Outcome) -> None:
        ticket = self._tickets.get(outcome.job)
        if ticket is None or not ticket.waiting:
            if len(self._kept) >= MAX_KEPT_OUTCOMES:
                _log.warning("too many outcomes that nobody takes: left with the broker")
                return
            self._keep(outcome)
        self._given[outcome.job] = outcome
        if ticket is not None:
            ticket.outcome = outcome
            ticket.error = None
            ticket.arrived.set()

    def _keep(self, outcome: Outcome) -> None:
        self._kept[outcome.job] = outcome
        self._kept_changed.set()

    def _acknowledge_later(self, job: str) -> Acknowledge:
        answer: asyncio.Future[Done] | None = None

        def acknowledge() -> asyncio.Future[Done]:
            nonlocal answer
            if answer is None or (answer.done() and _failed(answer)):
                answer = self._requests.handled.submit(job)
                quietly(answer)
                self._acknowledging[job] = answer
                answer.add_done_callback(lambda _: self._acknowledging.pop(job, None))
            return answer

        return acknowledge

    # -- looking -----------------------------------------------------------------------------

    def _look_soon(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="packhorse-look")

    async def _look(self) -> None:
        while self._awaited:
            known = set(self._awaited)
            await asyncio.sleep(self._look_every_s)
            overdue = [ticket for ticket in known & self._awaited if not ticket.arrived.is_set()]
            if overdue:
                await asyncio.gather(*map(self._look_at, overdue))

    async def _look_at(self, ticket: Ticket) -> None:
        try:
            if ticket.seen_ended:
                view = await self._requests.get.submit(ticket.job)
                outcome = from_view(view, self._acknowledge_later(ticket.job))
                if outcome is not None and ticket.outcome is None:
                    self._arrived(outcome)
            else:
                ended = await self._requests.handle.submit(ticket.job)
                ticket.seen_ended = ended.state in ("COMPLETE", "FAILED")
        except NotFound as error:
            ticket.fail(error)
        except PackhorseError as error:
            _log.debug("looked at job %s in vain: %s", ticket.job, error)


def _judge(ticket: Ticket, done: "asyncio.Future[Ended]") -> None:
    """Becoming a handler again may come too late."""
    error = None if done.cancelled() else done.exception()
    if isinstance(error, PackhorseError):
        ticket.fail(error)


def _failed(answer: "asyncio.Future[Done]") -> bool:
    return answer.cancelled() or answer.exception() is not None

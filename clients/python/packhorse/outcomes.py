"""Outcomes on their way from the broker to the program: each reaches it before `handled` leaves."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from itertools import islice
from typing import Final
from weakref import WeakValueDictionary

from packhorse.acknowledging import Acknowledgements
from packhorse.errors import NotFound, PackhorseError
from packhorse.outcome import Acknowledge, JobEnd, Outcome, end_of, from_message, from_view
from packhorse.requests import Requests
from packhorse_protocol.messages import Done, Ended
from packhorse_protocol.messages import Outcome as OutcomeMessage

MAX_KEPT_OUTCOMES: Final = 10_000
"""Outcomes kept for a program that has not asked for them. The broker keeps them too, and sends
far fewer before it wants the first of them handled."""

LOOK_EVERY_S: Final = 15.0
"""Seconds after which a job that somebody waits for is looked at. The broker says when one is
removed, but best effort: this finds what was lost with a connection or between two brokers."""

CROWD_OUTCOMES: Final = 200
"""Outcomes that came and are not handled, from which on the broker may hold back others: it sends
a bounded number before it wants some handled. Who waits for one of those would wait for ever, so
they are fetched."""

FETCH_JOBS: Final = 200
"""Jobs looked at in one go in a crowd: those that are waited for in turn, then others that are
open, in their order."""

FIRST_FETCH_S: Final = 0.02
"""Seconds between two looks in a crowd; doubled, up to `LOOK_EVERY_S`, while they find nothing."""

_log = logging.getLogger("packhorse")


class Ticket:
    """The right to a job's outcome. All who hold the job share it; without holder it goes."""

    __slots__ = (
        "__weakref__", "arrived", "error", "handling", "job", "outcome", "taken", "waiting",
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
        self._open: WeakValueDictionary[str, Ticket] = WeakValueDictionary()
        """Tickets whose outcome has not come, in the order in which they were made."""
        self._given: WeakValueDictionary[str, Outcome] = WeakValueDictionary()
        self._kept: OrderedDict[str, Outcome] = OrderedDict()
        self._kept_changed = asyncio.Event()
        self._acknowledging: Acknowledgements[JobEnd] = Acknowledgements()
        self._looking: asyncio.Task[None] | None = None
        self._awaited: dict[Ticket, None] = {}
        self._unhandled: dict[str, JobEnd] = {}
        """By job, of outcomes that came and are not handled."""
        self._crowded = asyncio.Event()
        self._eased = asyncio.Event()
        """The contrary of crowded."""
        self._turn = 0
        """Of the jobs that are waited for, where the next look in a crowd begins."""
        self._end: Callable[[], Exception] | None = None

    def ticket(self, job: str, *, handling: bool = False) -> Ticket:
        """The job's ticket, from here on also for outcomes that come before anybody waits.

        One whose outcome will not come belongs to a job that is gone; its id may be used again.
        """
        ticket = self._tickets.get(job)
        if ticket is None or ticket.error is not None:
            ticket = self._tickets[job] = Ticket(job)
            known = self._kept.get(job) or self._given.get(job)
            if known is not None:
                ticket.outcome = known
                ticket.arrived.set()
            else:
                self._open[job] = ticket
        ticket.handling = ticket.handling or handling or ticket.outcome is not None
        return ticket

    def known(self, job: str | None) -> Outcome | None:
        """The outcome that is known of a job with this id, perhaps of a former one."""
        if job is None:
            return None
        ticket = self._tickets.get(job)
        return self._given.get(job) or (ticket.outcome if ticket is not None else None)

    def forget(self, former: Outcome | None) -> None:
        """Its job is gone, and another one has its id now."""
        if former is not None and self.known(former.job) is former:
            self._tickets.pop(former.job, None)
            self._given.pop(former.job, None)
            self._kept.pop(former.job, None)
            self._dealt_with(end_of(former))

    async def handle(self, ticket: Ticket) -> None:
        """Becomes a handler of the job, so that its outcome comes. Raises `NotFound`."""
        if not ticket.handling:
            await self._requests.handle.submit(ticket.job)
            ticket.handling = True

    async def wait(self, ticket: Ticket) -> Outcome:
        """The job's outcome, not yet handled. Raises `NotFound` if the job went without one."""
        await self.handle(ticket)
        self._awaited[ticket] = None
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
                self._awaited.pop(ticket, None)
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
            former = self.known(message.job)
            end = end_of(message)
            if end in self._acknowledging:
                continue
            if former is not None:
                if former.created_at != message.created_at:
                    self.forget(former)
                elif end_of(former) == end or former.version >= message.version:
                    continue
            self._arrived(from_message(message, self._acknowledge_later(end)))

    def removed(self, jobs: Sequence[str]) -> None:
        """These jobs are gone: whoever waits for one of them, now or later, waits in vain."""
        for job in jobs:
            end = self._unhandled.get(job)
            if end is not None:
                self._dealt_with(end)
            ticket = self._open.get(job)
            if ticket is not None and ticket.handling:
                ticket.fail(NotFound("it was removed", subject=job))

    def registration_lost(self) -> None:
        """The broker forgot this client: it becomes a handler again of what it still waits for."""
        for end in list(self._unhandled.values()):
            self._dealt_with(end)
        for ticket in list(self._open.values()):
            if ticket.handling and ticket.error is None:
                again = self._requests.handle.submit(ticket.job)
                again.add_done_callback(partial(_judge, ticket))

    async def settled(self, within_s: float) -> None:
        """Returns when each `handled` so far is answered, or after that many seconds."""
        await self._acknowledging.settled(within_s)

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
        self._unhandled[outcome.job] = end_of(outcome)
        if len(self._unhandled) >= CROWD_OUTCOMES:
            self._crowded.set()
            self._eased.clear()
        if ticket is not None:
            ticket.outcome = outcome
            ticket.error = None
            ticket.taken = False
            ticket.arrived.set()
            self._open.pop(outcome.job, None)

    def _keep(self, outcome: Outcome) -> None:
        self._kept[outcome.job] = outcome
        self._kept_changed.set()

    def _acknowledge_later(self, end: JobEnd) -> Acknowledge:
        return self._acknowledging.later(end, partial(self._handled, end))

    def _handled(self, end: JobEnd) -> "asyncio.Future[Done]":
        self._dealt_with(end)
        job, _, _ = end
        return self._requests.handled.submit(job)

    def _dealt_with(self, end: JobEnd) -> None:
        """It takes up no room any more among those that the broker wants handled."""
        job, _, _ = end
        if self._unhandled.get(job) == end:
            del self._unhandled[job]
            if len(self._unhandled) < CROWD_OUTCOMES:
                self._crowded.clear()
                self._eased.set()

    # -- looking -----------------------------------------------------------------------------

    def _look_soon(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="packhorse-look")

    async def _look(self) -> None:
        fetch_s = FIRST_FETCH_S
        while self._awaited:
            if not self._crowded.is_set():
                known = list(self._awaited)
                if not await _within(self._crowded, self._look_every_s):
                    overdue = [ticket for ticket in known if ticket in self._awaited]
                    await asyncio.gather(*map(self._has_ended, overdue))
            elif not await _within(self._eased, fetch_s):
                found = await self._fetch()
                fetch_s = FIRST_FETCH_S if found else min(2 * fetch_s, self._look_every_s)

    async def _fetch(self) -> bool:
        """Gets outcomes that the broker holds back; whether there were any."""
        awaited = list(self._awaited)
        turn = self._turn % max(len(awaited), 1)
        others = islice(self._open.values(), FETCH_JOBS)
        wanted = dict.fromkeys((*awaited[turn:], *awaited[:turn], *others))
        tickets = [ticket for ticket in islice(wanted, FETCH_JOBS) if not ticket.arrived.is_set()]
        ended = await asyncio.gather(*map(self._has_ended, tickets))
        found = [ticket for ticket, has_ended in zip(tickets, ended, strict=True) if has_ended]
        await asyncio.gather(*map(self._get, found))
        # Those that have not ended are still there, before the ones that come next.
        self._turn = turn + len(tickets) - len(found)
        return bool(found)

    async def _has_ended(self, ticket: Ticket) -> bool:
        """Asks how the job stands; that it is gone ends the waiting."""
        try:
            return (await self._requests.handle.submit(ticket.job)).state in ("COMPLETE", "FAILED")
        except NotFound as error:
            ticket.fail(error)
        except PackhorseError as error:
            _log.debug("looked at job %s in vain: %s", ticket.job, error)
        return False

    async def _get(self, ticket: Ticket) -> None:
        try:
            view = await self._requests.get.submit(ticket.job)
        except PackhorseError as error:
            _log.debug("could not get the outcome of job %s: %s", ticket.job, error)
            return
        end = (view.id, view.created_at, view.finished_at)
        outcome = from_view(view, self._acknowledge_later(end))
        if outcome is not None and ticket.outcome is None:
            self._arrived(outcome)


async def _within(event: asyncio.Event, wait_s: float) -> bool:
    """Whether it is set within so many seconds."""
    try:
        async with asyncio.timeout(wait_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _judge(ticket: Ticket, done: "asyncio.Future[Ended]") -> None:
    """Becoming a handler again may come too late."""
    error = None if done.cancelled() else done.exception()
    if isinstance(error, PackhorseError):
        ticket.fail(error)

"""Groups of handlers: outcomes that any member may take, as long as this client is one."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from packhorse.acknowledging import Acknowledgements
from packhorse.errors import InvalidValue
from packhorse.kinds import ForGroup
from packhorse.outcome import JobEnd, Outcome, end_of, from_message
from packhorse.requests import Requests, quietly
from packhorse_protocol.limits import MAX_GROUPS
from packhorse_protocol.messages import Done
from packhorse_protocol.messages import Outcome as OutcomeMessage


class Membership:
    """A group's outcomes as they come to this client: `next` for each."""

    def __init__(self, group: str) -> None:
        self.group: Final = group
        self.readers = 0
        self._kept: OrderedDict[JobEnd, Outcome] = OrderedDict()
        self._given: WeakValueDictionary[JobEnd, Outcome] = WeakValueDictionary()
        """Those in the program's hands: one that it drops unhandled is to come again."""
        self._changed = asyncio.Event()
        self._end: Callable[[], Exception] | None = None

    async def next(self) -> Outcome:
        """The next outcome, not yet handled."""
        while not self._kept:
            if self._end is not None:
                raise self._end()
            self._changed.clear()
            await self._changed.wait()
        end, outcome = self._kept.popitem(last=False)
        self._given[end] = outcome
        return outcome

    def has(self, end: JobEnd) -> bool:
        """Whether its outcome is here, or with the program."""
        return end in self._kept or end in self._given

    def add(self, end: JobEnd, outcome: Outcome) -> None:
        self._kept[end] = outcome
        self._changed.set()

    def end(self, error: Callable[[], Exception]) -> None:
        self._end = error
        self._changed.set()


class GroupBook:
    """The groups that this client is a member of; joined anew on each connection.

    How many outcomes wait here is bounded by the broker: it sends a bounded number before it
    wants some of them handled.
    """

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._memberships: dict[str, Membership] = {}
        self._acknowledging: Acknowledgements[tuple[str, JobEnd]] = Acknowledgements()
        self._end: Callable[[], Exception] | None = None

    @asynccontextmanager
    async def member(self, group: str) -> AsyncIterator[Membership]:
        """Joins the group, and leaves it at the end; several readers share its outcomes.

        Raises `InvalidValue` for too many groups, `Forbidden` without the role `handle`.
        """
        if self._end is not None:
            raise self._end()
        membership = self._memberships.get(group)
        if membership is None:
            if len(self._memberships) >= MAX_GROUPS:
                raise InvalidValue(f"group: a client is a member of at most {MAX_GROUPS} groups")
            membership = self._memberships[group] = Membership(group)
        membership.readers += 1
        try:
            # Each reader asks, also in a group that was joined: another's join may be refused yet.
            await self._join()
            yield membership
        finally:
            membership.readers -= 1
            if not membership.readers:
                del self._memberships[group]
                if self._end is None:
                    quietly(self._join())

    def pushed(self, messages: Sequence[OutcomeMessage]) -> None:
        """Outcomes for groups; after a reconnect also those that were pushed before."""
        for message in messages:
            membership = self._memberships.get(message.group or "")
            end = end_of(message)
            if membership is None or membership.has(end):
                # Of a group that was left while it was on its way: another member gets it.
                continue
            if (membership.group, end) in self._acknowledging:
                continue
            handled = ForGroup(message.job, membership.group)
            send = partial(self._requests.handled_for_group.submit, handled)
            acknowledge = self._acknowledging.later((membership.group, end), send)
            membership.add(end, from_message(message, acknowledge))

    def connected_again(self) -> None:
        """A membership ends with its connection."""
        if self._memberships:
            quietly(self._join())

    async def settled(self, within_s: float) -> None:
        """Returns when each `handled` so far is answered, or after that many seconds."""
        await self._acknowledging.settled(within_s)

    def end(self, error: Callable[[], Exception]) -> None:
        """The session is over: who reads is told."""
        self._end = error
        for membership in self._memberships.values():
            membership.end(error)

    def _join(self) -> "asyncio.Future[Done]":
        return self._requests.join.submit(tuple(self._memberships))

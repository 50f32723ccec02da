"""One lane per kind of request: what is asked for in a turn of the loop leaves in one frame.

caller -> Lane.submit(item) -> future
Requests -> Lane.take(limits) -> entries of one frame -> settle, put back or fail each
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from msgspec import Struct

from packhorse.errors import InvalidValue, Refused
from packhorse_protocol.errors import Code
from packhorse_protocol.messages import Limits, Request

Item = TypeVar("Item")
Result = TypeVar("Result")
Received = TypeVar("Received", contravariant=True)

ITEM_OVERHEAD_BYTES: Final = 160
"""Keys, a token and numbers of one item; the encoded frame is measured before it leaves."""

FRAME_OVERHEAD_BYTES: Final = 64
"""Tag and request id of a frame."""

MAX_BATCH_ELEMENTS: Final = 100_000
"""Array and map entries in one frame: half of the protocol's ceiling, as they are estimated."""

ITEM_ELEMENTS: Final = 16
"""Array and map entries of one item without its headers or messages, generously."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone(Generic[Result]):
    """Refusals that say: it is so already. `only_repeated`: not if it was asked for once."""

    result: Result
    codes: frozenset[Code] = frozenset({Code.NOT_FOUND})
    only_repeated: bool = True


def _no_subject(_: object) -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[Item, Result]):
    """What a lane's requests are.

    `build` makes the message from a request id and the items; `subject` names an item's job;
    `data_bytes` and `elements` measure an item beyond its overhead. `alone`: one item a frame.
    `said_once`: what stands in the message once, for all its items: those that differ in it leave
    in frames of their own. `patient`: waits out any outage, because what it reports stays true.
    """

    build: Callable[[int, tuple[Item, ...]], Request]
    subject: Callable[[Item], str | None] = _no_subject
    data_bytes: Callable[[Item], int] | None = None
    elements: Callable[[Item], int] | None = None
    said_once: Callable[[Item], object] | None = None
    alone: bool = False
    patient: bool = False
    gone: Gone[Result] | None = None

    def go_together(self, first: Item, other: Item) -> bool:
        return self.said_once is None or self.said_once(first) == self.said_once(other)


class Receiver(Protocol[Received]):
    """Who gets an item's answer, exactly once: a future, or what is cheaper than one."""

    def done(self) -> bool:
        """Whether nothing is received any more: an item that has not left need not leave."""

    def set_result(self, result: Received, /) -> None:
        """The broker carried it out."""

    def set_exception(self, error: BaseException, /) -> None:
        """It was refused, or nobody will know."""


class Entry(Struct, Generic[Item, Result], eq=False):
    """An item on its way, and who gets its answer. Made in C, as there is one for all that is
    asked for."""

    item: Item
    receiver: Receiver[Result]
    alone: bool
    left_before: bool = False
    """Whether it left and came back: an earlier answer may have been lost."""
    tries: int = 0
    """How often the broker asked to try again later."""
    retry_until: float = 0.0
    """The loop's time at which trying again ends, set at the first such answer."""


class Lane(Generic[Item, Result]):
    """Items that wait to be sent, in order. `begins` gets the lane when it has some to send."""

    def __init__(
        self, kind: Kind[Item, Result], begins: "Callable[[Lane[Item, Result]], None]"
    ) -> None:
        self.kind = kind
        self.waiting: deque[Entry[Item, Result]] = deque()
        self._begins = begins

    def submit(self, item: Item) -> "asyncio.Future[Result]":
        """Asks for it at the end of this turn. The future raises the item's own refusal.

        Cancelling the future before the item left takes it back; afterwards it only ends the
        waiting.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.submit_for(future, item)
        return future

    def submit_for(self, receiver: Receiver[Result], item: Item) -> None:
        """Asks for it at the end of this turn, for somebody who gets the answer at once."""
        waiting = self.waiting
        waiting.append(Entry(item, receiver, self.kind.alone))
        # Those behind the first leave with it.
        if len(waiting) == 1:
            self._begins(self)

    def take(self, limits: Limits) -> list[Entry[Item, Result]]:
        """Takes out the entries of the next frame, within the broker's limits."""
        waiting = self.waiting
        if len(waiting) == 1:  # however large it is
            entry = waiting.popleft()
            return [] if entry.receiver.done() else [entry]
        kind, most = self.kind, limits.batch
        data_bytes, elements = kind.data_bytes, kind.elements
        taken: list[Entry[Item, Result]] = []
        room_bytes = limits.frame_bytes - FRAME_OVERHEAD_BYTES
        room_elements = MAX_BATCH_ELEMENTS
        selective = kind.said_once is not None
        while waiting and len(taken) < most:
            entry = waiting[0]
            if entry.receiver.done():
                waiting.popleft()
                continue
            room_bytes -= ITEM_OVERHEAD_BYTES
            room_elements -= ITEM_ELEMENTS
            try:
                if data_bytes is not None:
                    room_bytes -= data_bytes(entry.item)
                if elements is not None:
                    room_elements -= elements(entry.item)
            except (TypeError, AttributeError) as error:
                # A value of another type than it should have: its own caller's, nobody else's.
                self.fail(waiting.popleft(), InvalidValue(f"it can't be sent: {error}"))
                continue
            if taken and (
                room_bytes < 0
                or room_elements < 0
                or entry.alone
                or (selective and not kind.go_together(taken[0].item, entry.item))
            ):
                break
            taken.append(waiting.popleft())
            if entry.alone:
                break
        return taken

    def put_back(self, entries: list[Entry[Item, Result]], *, left: bool = True) -> None:
        """They wait again, before those that came later. `left`: whether they were sent."""
        if left:
            for entry in entries:
                entry.left_before = True
        self.waiting.extendleft(reversed([e for e in entries if not e.receiver.done()]))
        self._begins(self)

    def settle(self, entry: Entry[Item, Result], result: Result) -> None:
        """The broker carried it out."""
        if not entry.receiver.done():
            entry.receiver.set_result(result)

    def refuse(self, entry: Entry[Item, Result], refusal: Refused) -> None:
        """The broker refused it, which for some is as good as done."""
        gone = self.kind.gone
        if gone and refusal.code in gone.codes and (entry.left_before or not gone.only_repeated):
            self.settle(entry, gone.result)
        else:
            self.fail(entry, refusal)

    def fail(self, entry: Entry[Item, Result], error: Exception) -> None:
        """It will not be carried out, or nobody will know."""
        if not entry.receiver.done():
            entry.receiver.set_exception(error)

    def fail_waiting(self, error: Callable[[], Exception]) -> None:
        """None of those that wait will leave. Each gets an exception of its own."""
        waiting, self.waiting = self.waiting, deque()
        for entry in waiting:
            self.fail(entry, error())


def headers_bytes(headers: Mapping[str, str]) -> int:
    """Most bytes that headers may take in a frame: UTF-8 has up to 4 for a code point."""
    return sum(4 * (len(name) + len(value)) + 8 for name, value in headers.items())

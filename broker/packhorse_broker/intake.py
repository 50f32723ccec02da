"""When a connection is read from: its bounds, and the turns that it leaves to others.

What is not read waits in the kernels of both ends, and so at last with the client: that is how a
client learns that it asks for more than can be done.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from packhorse_broker.config import Config

SLICE_BYTES: Final = 16 * 1024
"""Looked at in one turn of the loop: it may hold thousands of small messages."""

MAX_MESSAGES_A_TURN: Final = 256
"""Messages of one read, above which the connection is read from again only when the others have
had their turn."""

BATCHES_IN_FLIGHT: Final = 8
"""Items of unanswered requests that one connection may have, in full batches."""

SLOW_S: Final = 0.1
"""How long one whose creates are more than the store can take is not read from: so often it may
try again, and so late comes what else it has to say."""


class Intake:
    """`received` what was read, `take` is called with as much as is to be looked at now."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, config: Config, take: Callable[[bytes], None]
    ) -> None:
        self._loop = loop
        self._take = take
        self._max_in_flight = config.max_in_flight
        self._max_items = BATCHES_IN_FLIGHT * config.max_batch
        self._transport: asyncio.Transport | None = None
        self._unread: deque[bytes] = deque()
        """What was read and not looked at yet; reading stands still meanwhile."""
        self._closed = False
        self._slow = False
        self._in_flight_items = 0
        self.in_flight = 0
        """Requests without an answer."""
        self.paused = False
        """Whether what was asked has to be answered first."""

    def open(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def close(self) -> None:
        """Nothing is looked at any more."""
        self._closed = True
        self._unread.clear()

    def received(self, data: bytes) -> None:
        if self._closed:
            return
        if len(data) <= SLICE_BYTES and not self._unread:
            self._take(data)
            return
        if not self._unread:
            self._loop.call_soon(self._take_next)
        self._unread.extend(data[at : at + SLICE_BYTES] for at in range(0, len(data), SLICE_BYTES))
        self._stand_still()

    def begun(self, items: int) -> None:
        """A request is on its way."""
        self.in_flight += 1
        self._in_flight_items += items
        if self.in_flight >= self._max_in_flight or self._in_flight_items >= self._max_items:
            self.pause()

    def ended(self, items: int) -> None:
        """It was answered."""
        self.in_flight -= 1
        self._in_flight_items -= items
        if (
            self.paused
            and self.in_flight <= self._max_in_flight // 2
            and self._in_flight_items <= self._max_items // 2
        ):
            self.resume()

    def pause(self) -> None:
        self.paused = True
        self._stand_still()

    def resume(self) -> None:
        self.paused = False
        self._go_on()

    def leave_turn(self, messages: int) -> None:
        """One that sends many small frames must not keep the loop from all others."""
        if messages > MAX_MESSAGES_A_TURN and not self.paused and not self._unread:
            self._stand_still()
            self._loop.call_soon(self._go_on)

    def slow_down(self) -> None:
        """One that asks for more than can be done is read from only now and then."""
        if not self._slow:
            self._slow = True
            self._stand_still()
            self._loop.call_later(SLOW_S, self._no_longer_slow)

    def _no_longer_slow(self) -> None:
        self._slow = False
        if self._unread:
            self._take_next()
        else:
            self._go_on()

    def _take_next(self) -> None:
        """Goes on with what was read, a slice each turn of the loop, then with reading."""
        if self._unread and not self._slow:
            self._take(self._unread.popleft())
            self._loop.call_soon(self._take_next if self._unread else self._go_on)

    def _stand_still(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _go_on(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not (self.paused or self._unread or self._slow):
            transport.resume_reading()

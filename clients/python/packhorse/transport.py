"""One connection to a broker on an asyncio transport: bytes, heartbeats and back-pressure."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeAlias, cast

from packhorse.errors import ConnectionLost, InvalidValue, TooLarge
from packhorse.naming import as_written
from packhorse_protocol.connection import ClientConnection
from packhorse_protocol.errors import (
    FrameTooLarge,
    FramingError,
    LocalProtocolError,
    MalformedMessage,
)
from packhorse_protocol.limits import MAX_FRAME_BYTES
from packhorse_protocol.messages import BrokerMessage, ClientBeat, ClientMessage

WRITE_BUFFER_BYTES: Final = 1024 * 1024
"""Bytes that may wait in the transport before nothing more is written: a few full batches."""

Received: TypeAlias = Callable[[BrokerMessage | MalformedMessage], None]


class Wire(asyncio.Protocol):
    """A connection: `send` and `flush` to write; `received` gets each message that arrives.

    `closed` ends with what ended the connection, never raises, and is the only way in which
    its end is told.
    """

    def __init__(self, received: Received, writable_again: Callable[[], None]) -> None:
        self._received = received
        self._writable_again = writable_again
        self._core = ClientConnection(max_frame_bytes=MAX_FRAME_BYTES)
        self.loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[Exception] = self.loop.create_future()
        self._transport: asyncio.Transport | None = None
        self.writable = False
        """Whether the transport takes more at the moment."""
        self._out: list[bytes] = []
        self._sent_at = self._heard_at = self.loop.time()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    # -- the link's side ---------------------------------------------------------------------

    def send(self, message: ClientMessage) -> None:
        """Adds a message to what the next `flush` writes.

        Raises `TooLarge` if the broker takes no frame of this size, `InvalidValue` naming the
        argument if the wire does not allow a value; nothing is added then.
        """
        try:
            self._out.append(self._core.send(message))
        except FrameTooLarge as error:
            raise TooLarge(str(error), details={"limit": str(error.limit_bytes)}) from error
        except LocalProtocolError as error:
            raise InvalidValue(as_written(str(error))) from error

    def flush(self) -> None:
        """Writes what was added, in one go."""
        out, self._out = self._out, []
        transport = self._transport
        if out and transport is not None and not self.closed.done():
            transport.write(b"".join(out))
            self._sent_at = self.loop.time()

    def keep_alive(self, *, heartbeat_ms: int, timeout_ms: int) -> None:
        """From now on beats when silent, and ends when the broker is."""
        self._heard_at = self.loop.time()
        self._beat_when_silent(heartbeat_ms / 1_000)
        self._end_when_unheard(timeout_ms / 1_000)

    def close(self, cause: Exception) -> None:
        """Ends the connection once what was written has left."""
        if self._transport is not None:
            self._transport.close()
        self._ended(cause)

    def abort(self, cause: Exception) -> None:
        """Ends the connection at once."""
        if self._transport is not None:
            self._transport.abort()
        self._ended(cause)

    # -- the transport's side ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self.writable = not self.closed.done()

    def data_received(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        for message in self._core.receive(data):
            if self.closed.done():
                return
            if isinstance(message, FramingError):
                self.abort(ConnectionLost(f"the broker's frames can't be read: {message}"))
                return
            self._received(message)

    def eof_received(self) -> None:
        """The broker closed its side: so does the transport, as nothing is returned."""

    def connection_lost(self, error: Exception | None) -> None:
        said = f": {error}" if error is not None and str(error) else ""
        self._ended(ConnectionLost(f"the broker closed the connection{said}"))

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = not self.closed.done()
        self._writable_again()

    # -- liveness ----------------------------------------------------------------------------

    def _beat_when_silent(self, interval_s: float) -> None:
        if self.loop.time() >= self._sent_at + interval_s:
            self.send(ClientBeat())
            self.flush()
        self._timers["beat"] = self.loop.call_at(
            self._sent_at + interval_s, self._beat_when_silent, interval_s
        )

    def _end_when_unheard(self, timeout_s: float) -> None:
        # Whatever arrived while the loop was busy has been read by now: the loop reads sockets
        # before it runs timers.
        if self.loop.time() >= self._heard_at + timeout_s:
            self.abort(ConnectionLost(f"the broker was silent for {timeout_s:g} s"))
            return
        self._timers["silence"] = self.loop.call_at(
            self._heard_at + timeout_s, self._end_when_unheard, timeout_s
        )

    def _ended(self, cause: Exception) -> None:
        self.writable = False
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if not self.closed.done():
            self.closed.set_result(cause)

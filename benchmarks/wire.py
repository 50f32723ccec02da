"""A client without any comfort: the raw protocol on an asyncio transport.

It costs little, so that thousands fit into a process, and it does what no good client does:
asks without end, or stops reading.
"""

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, cast
from urllib.parse import urlsplit

from packhorse_protocol import ClientConnection, FramingError, MalformedMessage
from packhorse_protocol.messages import (
    BrokerMessage,
    Claim,
    Claims,
    ClientBeat,
    Hello,
    Ok,
    Refused,
    Request,
    Welcome,
)

Answered = Callable[[Ok | Refused], None]


class Wire(asyncio.Protocol):
    """`open`, then `ask` and wait, or `begin` and be called."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._core = ClientConnection()
        self._ids = count(1)
        self._pending: dict[int, Answered] = {}
        self._transport: asyncio.Transport | None = None
        self._beat: asyncio.TimerHandle | None = None
        self.greeted: asyncio.Future[Welcome | Refused] = self._loop.create_future()
        self.claims: asyncio.Queue[Claim] = asyncio.Queue()
        self.closed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @classmethod
    async def open(
        cls, url: str, *, receive_buffer_bytes: int | None = None, **hello: Any
    ) -> "Wire":
        """Raises ConnectionError if the broker takes no more."""
        parts = urlsplit(url)
        connected = socket.socket()
        connected.setblocking(False)
        if receive_buffer_bytes is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(connected, (parts.hostname, parts.port))
            _, wire = await loop.create_connection(cls, sock=connected)
        except BaseException:
            connected.close()
            raise
        await wire.greet(**hello)
        return wire

    async def greet(self, **hello: Any) -> None:
        if not self.greeted.done():  # The broker may have no place, and say so first.
            self.send(Hello(versions=(1,), **hello))
        answer = await self.greeted
        if isinstance(answer, Refused):
            self.close()
            raise ConnectionError(answer.code)
        self._beat_every(answer.heartbeat_ms / 1000)

    def send(self, message: Any) -> None:
        assert self._transport is not None
        self._transport.write(self._core.send(message))

    def begin(self, answered: Answered, request: Callable[..., Request], **fields: Any) -> None:
        """`answered` is called with what comes of it."""
        request_id = next(self._ids)
        self._pending[request_id] = answered
        self.send(request(id=request_id, **fields))

    async def ask(self, request: Callable[..., Request], **fields: Any) -> tuple[Any, ...]:
        """The results. Raises RuntimeError with the code if it was refused."""
        answer: asyncio.Future[Ok | Refused] = self._loop.create_future()
        self.begin(answer.set_result, request, **fields)
        came = await answer
        if isinstance(came, Refused):
            raise RuntimeError(came.code)
        return came.results

    async def room(self) -> None:
        """Until the broker reads what was sent."""
        await self._room.wait()

    def stop_reading(self) -> None:
        """For ever, and so that nothing is read ahead; heartbeats go on."""
        assert self._transport is not None
        self._transport.pause_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _beat_every(self, seconds: float) -> None:
        if not self.closed.is_set():
            self._beat = self._loop.call_later(seconds, partial(self._beat_every, seconds))
            self.send(ClientBeat())

    # -- from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _: Exception | None) -> None:
        self.closed.set()
        self._room.set()
        if self._beat is not None:
            self._beat.cancel()
        if not self.greeted.done():
            self.greeted.set_exception(ConnectionError("closed before the welcome"))

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def data_received(self, data: bytes) -> None:
        for message in self._core.receive(data):
            if isinstance(message, MalformedMessage | FramingError):
                raise TypeError(f"the broker sent {message!r}")
            self._take(message)

    def _take(self, message: BrokerMessage) -> None:
        match message:
            case Ok(id=request_id) | Refused(id=int() as request_id):
                self._pending.pop(request_id)(message)
            case Claims(claims=claims):
                for claim in claims:
                    self.claims.put_nowait(claim)
            case Welcome() | Refused() if not self.greeted.done():
                self.greeted.set_result(message)

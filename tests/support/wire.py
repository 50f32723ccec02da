"""A client that speaks the raw protocol over asyncio streams.

    wire = await Wire.open(address, client="runner")
    [created] = await wire.ask(Create, jobs=(NewJob(type="t"),))
    claims = await wire.push(Claims)

Nothing runs behind the test's back: it reads only while a method waits for something, and what it
read beside that is kept in order. So a wire that is not asked is a client that does not read.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from itertools import count
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import urlsplit

from packhorse_protocol import ClientConnection, FramingError, MalformedMessage
from packhorse_protocol.messages import (
    BrokerBeat,
    BrokerMessage,
    Claim,
    Claims,
    ClientMessage,
    Event,
    Events,
    Hello,
    Ok,
    Outcome,
    Outcomes,
    Refused,
    Request,
    Welcome,
)

WAIT_S: Final = 30
"""Far above what anything takes: it ends a wait for what never comes, and says what came."""

CHUNK_BYTES: Final = 64 * 1024

M = TypeVar("M")


class Wire:
    """One connection. Beats are read and dropped, or counted in `beats`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connection = ClientConnection()
        self.beats = 0
        self._reader = reader
        self._writer = writer
        self._ids = count(1)
        self._received: list[BrokerMessage] = []
        self._welcome: Welcome | None = None
        self.at_end = False

    # -- connecting

    @classmethod
    async def dial(cls, address: str, *, receive_buffer_bytes: int | None = None) -> "Wire":
        """Connects and says nothing. Raises OSError."""
        parts = urlsplit(address)
        if parts.scheme == "unix":
            return cls(*await asyncio.open_unix_connection(parts.path))
        connected = socket.socket()
        connected.setblocking(False)
        if receive_buffer_bytes is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        target = (parts.hostname, parts.port)
        try:
            await asyncio.get_running_loop().sock_connect(connected, target)
            return cls(*await asyncio.open_connection(sock=connected))
        except BaseException:
            connected.close()
            raise

    @classmethod
    async def open(
        cls, address: str, *, receive_buffer_bytes: int | None = None, **hello: Any
    ) -> "Wire":
        """Connects and is welcomed; `hello` has its fields beside `versions`."""
        wire = await cls.dial(address, receive_buffer_bytes=receive_buffer_bytes)
        await wire.greet(**hello)
        return wire

    async def greet(self, **hello: Any) -> Welcome:
        self.send(Hello(**{"versions": (1,), **hello}))
        welcome = await self.push(Welcome)
        self.accept(welcome)
        return welcome

    def accept(self, welcome: Welcome) -> None:
        """Of a hello that was sent otherwise."""
        self._welcome = welcome

    @property
    def welcome(self) -> Welcome:
        assert self._welcome is not None, "not welcomed yet"
        return self._welcome

    @property
    def id(self) -> str:
        """The client's."""
        return self.welcome.client

    # -- sending

    def send(self, message: ClientMessage) -> None:
        self._writer.write(self.connection.send(message))

    def send_bytes(self, data: bytes) -> None:
        """Past all checks."""
        self._writer.write(data)

    def expect(self, request: Request) -> None:
        """What was sent as bytes is to be answered as if it had been this request."""
        self.connection.send(request)

    async def drain(self) -> None:
        """Waits while more is on its way than the broker reads."""
        await self._writer.drain()

    def begin(self, request: Callable[..., Request], **fields: Any) -> int:
        """Sends a request; `answer` waits for what comes of it."""
        request_id = next(self._ids)
        self.send(request(id=request_id, **fields))
        return request_id

    # -- waiting

    async def answer(self, request_id: int) -> Ok | Refused:
        """Of a request that was begun."""
        found = await self._find(
            lambda message: isinstance(message, Ok | Refused) and message.id == request_id
        )
        assert isinstance(found, Ok | Refused)
        return found

    async def ask(self, request: Callable[..., Request], **fields: Any) -> tuple[Any, ...]:
        """The results of a request that is answered `ok`."""
        answer = await self.answer(self.begin(request, **fields))
        assert isinstance(answer, Ok), answer
        return answer.results

    async def refusal(self, request: Callable[..., Request], **fields: Any) -> Refused:
        """The error of a request that is refused as a whole."""
        answer = await self.answer(self.begin(request, **fields))
        assert isinstance(answer, Refused), answer
        return answer

    async def push(self, kind: type[M]) -> M:
        """The next message of a kind that answers nothing."""
        found = await self._find(lambda message: isinstance(message, kind))
        assert isinstance(found, kind)
        return found

    async def next(self) -> BrokerMessage:
        """What came next, whatever it is."""
        return await self._find(lambda _: True)

    async def claims(self, most: int) -> list[Claim]:
        """So many claims and no more, in however many pushes."""
        claims: list[Claim] = []
        while len(claims) < most:
            claims += (await self.push(Claims)).claims
        assert len(claims) == most, f"{len(claims)} claims instead of {most}"
        return claims

    async def outcomes(self, most: int) -> list[Outcome]:
        """So many outcomes and no more, in however many pushes."""
        outcomes: list[Outcome] = []
        while len(outcomes) < most:
            outcomes += (await self.push(Outcomes)).outcomes
        assert len(outcomes) == most, f"{len(outcomes)} outcomes instead of {most}"
        return outcomes

    async def events(self, job: str, until: Callable[[Event], bool]) -> list[Event]:
        """Events of a job up to the first one that `until` accepts; those of others are dropped."""
        events: list[Event] = []
        while not (events and until(events[-1])):
            events += [event for event in (await self.push(Events)).events if event.job == job]
        return events

    def kept(self, kind: type[M]) -> list[M]:
        """What was read of a kind and not waited for yet; takes it out."""
        found: list[M] = [message for message in self._received if isinstance(message, kind)]
        self._received = [message for message in self._received if not isinstance(message, kind)]
        return found

    async def ended(self) -> list[BrokerMessage]:
        """Reads until the broker has closed; what came that nobody had waited for."""
        while not self.at_end:
            await self._read()
        rest, self._received = self._received, []
        return rest

    async def closing_error(self) -> Refused:
        """The error with which the broker closes, the last thing that it sends."""
        *_, last = await self.ended()
        assert isinstance(last, Refused), last
        assert last.closing
        assert last.id is None
        return last

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        self.at_end = True

    def end_sending(self) -> None:
        """Closes its own direction only."""
        self._writer.write_eof()

    async def abort(self) -> None:
        """Closes without a word, whatever was on its way."""
        self._writer.transport.abort()
        await self.close()

    # -- reading

    async def _find(self, wanted: Callable[[BrokerMessage], bool]) -> BrokerMessage:
        seen = 0
        while True:
            for place in range(seen, len(self._received)):
                if wanted(self._received[place]):
                    return self._received.pop(place)
            seen = len(self._received)
            if self.at_end:
                self._fail("the broker closed the connection")
            await self._read()

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                data = await self._reader.read(CHUNK_BYTES)
        except TimeoutError:
            self._fail(f"nothing came for {WAIT_S} s")
        except ConnectionError:
            data = b""
        if not data:
            self.at_end = True
        for item in self.connection.receive(data):
            assert not isinstance(item, MalformedMessage | FramingError), repr(item)
            if isinstance(item, BrokerBeat):
                self.beats += 1
            else:
                self._received.append(item)

    def _fail(self, why: str) -> NoReturn:
        raise AssertionError(f"{why}; not waited for: {self._received[-5:]}")

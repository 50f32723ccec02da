"""A broker whose every word a test says: for what a real one does too rarely or too fast.

client = packhorse.connect(dial=scripted.dial)
peer = await scripted.accept()          # the client's connection
hello = await peer.welcome()
create = await peer.expect(Create)
peer.ok(create, Created(job="a", state="QUEUED"))
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

import packhorse
from packhorse.client import Client
from packhorse_protocol.connection import BrokerConnection
from packhorse_protocol.messages import (
    BrokerMessage,
    ClientBeat,
    ClientMessage,
    Hello,
    Limits,
    Ok,
    Refused,
    Request,
    Welcome,
)

WAIT_S: Final = 10
"""Far above what anything takes: it ends a wait for what never comes."""

LIMITS: Final[dict[str, int]] = {
    "payload_bytes": 256 * 1024,
    "result_bytes": 256 * 1024,
    "log_message_bytes": 4 * 1024,
    "batch": 1_000,
    "in_flight": 100,
}

SECRET: Final = b"s" * 32

M = TypeVar("M", bound=ClientMessage)


class Peer:
    """The broker's end of one connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frame_bytes: int
    ) -> None:
        self.connection = BrokerConnection(max_frame_bytes=frame_bytes)
        self._frame_bytes = frame_bytes
        self.beats = 0
        self._reader = reader
        self._writer = writer
        self._received: list[ClientMessage] = []

    async def welcome(
        self,
        *behind: BrokerMessage,
        client: str | None = None,
        resumed: bool = False,
        heartbeat_ms: int = 60_000,
        timeout_ms: int = 60_000,
        limits: dict[str, int] | None = None,
        registered_at: int = 1,
    ) -> Hello:
        """Takes the hello and accepts it; `behind` is said in the same breath."""
        hello = await self.expect(Hello)
        self.send(
            Welcome(
                version=1,
                client=client or hello.client or "client-1",
                secret=hello.secret or SECRET,
                resumed=resumed,
                roles=("create", "run", "handle", "read", "admin"),
                heartbeat_ms=heartbeat_ms,
                timeout_ms=timeout_ms,
                limits=Limits(**{**LIMITS, "frame_bytes": self._frame_bytes, **(limits or {})}),
                features=(),
                broker="scripted",
                store="none",
                now_ms=1,
                registered_at=registered_at,
            ),
            *behind,
        )
        return hello

    async def expect(self, kind: type[M]) -> M:
        """The client's next message, which has to be of this kind; beats are passed over."""
        message = await self.next()
        assert isinstance(message, kind), f"expected {kind.__name__}, got {message}"
        return message

    async def next(self) -> ClientMessage:
        """The client's next message but beats. Raises EOFError if there will be none."""
        async with asyncio.timeout(WAIT_S):
            while not self._received:
                await self._read()
            return self._received.pop(0)

    async def beat(self) -> None:
        """Waits for one more heartbeat."""
        before = self.beats
        async with asyncio.timeout(WAIT_S):
            while self.beats == before:
                await self._read()

    async def end(self) -> list[ClientMessage]:
        """Reads until the client closes; what it still sent."""
        with suppress(EOFError):
            async with asyncio.timeout(WAIT_S):
                while True:
                    await self._read()
        return self._received

    async def _read(self) -> None:
        data = await self._reader.read(64 * 1024)
        if not data:
            raise EOFError("the client closed the connection")
        for message in self.connection.receive(data):
            assert not isinstance(message, Exception), message
            if isinstance(message, ClientBeat):
                self.beats += 1
            else:
                self._received.append(message)

    def send(self, *messages: BrokerMessage) -> None:
        """Says this, in one write."""
        self._writer.write(b"".join(map(self.connection.send, messages)))

    def send_bytes(self, data: bytes) -> None:
        self._writer.write(data)

    def ok(self, request: Request, *results: object) -> None:
        """Answers a request, one result or `Problem` for each item."""
        self.send(Ok(id=request.id, results=results))

    def refuse(self, request: Request | None, code: str, **more: Any) -> None:
        """Refuses a request as a whole, or, with None, says something about the connection."""
        request_id = None if request is None else request.id
        self.send(Refused(id=request_id, code=code, message=f"it is {code}", **more))

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


class ScriptedBroker:
    """Give `dial` to a client, and `accept` its connections."""

    def __init__(self) -> None:
        self.unreachable = False
        """Whether connecting fails, as if nobody listened."""
        self.frame_bytes = 1024 * 1024
        """The largest frame that it accepts."""
        self.dialled = 0
        """How often somebody tried."""
        self._arrived: asyncio.Queue[Peer] = asyncio.Queue()
        self._peers: list[Peer] = []

    async def dial(self) -> socket.socket:
        self.dialled += 1
        if self.unreachable:
            raise ConnectionRefusedError(111, "Connection refused")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        peer = Peer(*await asyncio.open_unix_connection(sock=ours), self.frame_bytes)
        self._peers.append(peer)
        self._arrived.put_nowait(peer)
        return theirs

    async def accept(self) -> Peer:
        """The next connection that a client opens."""
        async with asyncio.timeout(WAIT_S):
            return await self._arrived.get()

    async def close(self) -> None:
        for peer in self._peers:
            await peer.close()


@asynccontextmanager
async def connected(
    scripted: ScriptedBroker, *, welcome: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[Client, Peer]]:
    """A client with its first connection; it leaves without a word."""
    client = packhorse.connect(dial=scripted.dial, stay=True, **options)
    opening = asyncio.create_task(client.__aenter__())
    peer = await scripted.accept()
    await peer.welcome(**(welcome or {}))
    await opening
    try:
        yield client, peer
    finally:
        await client.__aexit__(None, None, None)

"""A proxy in front of a broker that changes what passes: so a good broker becomes a bad one.

async with Meddler(address, from_broker=lambda message: []) as meddler:
    ... clients of meddler.address hear nothing ...
"""

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeAlias

from packhorse_conformance.address import TcpAddress
from packhorse_conformance.values import Message, NotReadable, packed, unpacked
from packhorse_protocol.framing import frame

Change: TypeAlias = Callable[[Message], list[Message]]
"""What is passed on instead of a message; none, or several."""


class Meddler:
    """Passes on what it can't read as it is."""

    def __init__(
        self,
        target: TcpAddress,
        from_client: Change | None = None,
        from_broker: Change | None = None,
    ) -> None:
        self._target = target
        self._from_client = from_client
        self._from_broker = from_broker
        self._passing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.address = TcpAddress(host=host, port=port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._passing:
            task.cancel()
        if self._passing:
            await asyncio.wait(self._passing)

    async def _connected(
        self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter
    ) -> None:
        broker_in, broker_out = await asyncio.open_connection(self._target.host, self._target.port)
        for reader, writer, change in (
            (client_in, broker_out, self._from_client),
            (broker_in, client_out, self._from_broker),
        ):
            task = asyncio.create_task(_pass_on(reader, writer, change))
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Change | None
) -> None:
    try:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                header = await reader.readexactly(4)
                body = await reader.readexactly(int.from_bytes(header, "big"))
                writer.write(_changed(header + body, body, change))
                await writer.drain()
    finally:
        writer.close()


def _changed(whole: bytes, body: bytes, change: Change | None) -> bytes:
    if change is None:
        return whole
    try:
        message = unpacked(body)
    except NotReadable:
        return whole
    return b"".join(frame(packed(one)) for one in change(message))

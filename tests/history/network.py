"""Links between a client and a broker that can be cut, frozen, slowed down and ground to bytes."""

import asyncio
import contextlib
import struct
from socket import SO_LINGER, SOL_SOCKET
from typing import Final
from urllib.parse import urlsplit

CHUNK_BYTES: Final = 64 * 1024

RESET: Final = struct.pack("ii", 1, 0)
"""Lingering for no time: a socket that is closed so resets its connection."""

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class NetworkLink:
    """Listens at `address` and passes on to `target`, both ways, as it is told.

    `cut` ends what is connected; the other troubles last until `heal`.
    """

    def __init__(self, target: str) -> None:
        self._host, self._port = _host_and_port(target)
        self._address = ""
        self._server: asyncio.Server | None = None
        self._passages: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._delay_s = 0.0
        self._trickling = False
        self._refusing = False

    @property
    def address(self) -> str:
        assert self._address, "not started"
        return self._address

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self._address = f"tcp://127.0.0.1:{port}"

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self.heal()
        self.cut()
        await asyncio.gather(*self._passages, return_exceptions=True)

    # -- what can be wrong with it

    def cut(self) -> None:
        """Resets each connection, whatever is on its way."""
        for writer in list(self._writers):
            writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, RESET)
            writer.transport.abort()

    def refuse(self) -> None:
        """Cuts, and lets nobody in."""
        self._refusing = True
        self.cut()

    def freeze(self) -> None:
        """Connections stay and are made, but nothing arrives: half open, as after a lost route."""
        self._open.clear()

    def delay(self, ms: int) -> None:
        self._delay_s = ms / 1000

    def trickle(self) -> None:
        """One byte at a time, each in a segment of its own."""
        self._trickling = True

    def heal(self) -> None:
        """What was kept back arrives."""
        self._refusing = self._trickling = False
        self._delay_s = 0.0
        self._open.set()

    # -- its inside

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passages.add(task)
        self._writers.add(writer)
        try:
            if self._refusing:
                return
            there, to = await asyncio.open_connection(self._host, self._port)
            self._writers.add(to)
            try:
                await self._pass_both((reader, writer), (there, to))
            finally:
                self._writers.discard(to)
                to.transport.abort()
        except OSError:
            return
        finally:
            self._passages.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _pass_both(self, near: Stream, far: Stream) -> None:
        ways = [
            asyncio.create_task(self._pass(near[0], far[1])),
            asyncio.create_task(self._pass(far[0], near[1])),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._open.wait()
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                await self._send(data, writer)

    async def _send(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        sent = 0
        if writer.transport.is_closing():
            raise ConnectionResetError
        while self._trickling and sent < len(data):
            writer.write(data[sent : sent + 1])
            sent += 1
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(data[sent:])
        await writer.drain()


def _host_and_port(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port

"""A connection that knows frames and msgpack and nothing else of the protocol."""

import asyncio
import contextlib
from typing import Any, Final
from urllib.parse import urlsplit

import msgpack

WAIT_S: Final = 30
"""Far above what anything takes: it ends a wait for what never comes."""
HEADER_BYTES: Final = 4


def framed(value: object) -> bytes:
    """The frame of a value."""
    body: bytes = msgpack.packb(value)
    return len(body).to_bytes(HEADER_BYTES, "big") + body


class RawFrames:
    """`send` bytes, and take the values that come one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: str) -> "RawFrames":
        parts = urlsplit(address)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    def send(self, stream: bytes) -> None:
        self._writer.write(stream)

    async def value(self) -> dict[str, Any] | None:
        """The next message, None where the broker has closed."""
        try:
            async with asyncio.timeout(WAIT_S):
                header = await self._reader.readexactly(HEADER_BYTES)
                body = await self._reader.readexactly(int.from_bytes(header, "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        message: dict[str, Any] = msgpack.unpackb(body)
        return message

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

"""What stands before a broker and speaks TLS with its clients."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeAlias

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

HOST: Final = "127.0.0.1"
CHUNK_BYTES: Final = 64 * 1024


@asynccontextmanager
async def terminated(
    open_inner: Callable[[], Awaitable[Streams]], tls: ssl.SSLContext
) -> AsyncIterator[str]:
    """The URL at which it listens. Each connection has one of its own within."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await open_inner()
        await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner_reader, writer))

    server = await asyncio.start_server(accept, HOST, 0, ssl=tls)
    async with server:
        yield f"tls://{HOST}:{server.sockets[0].getsockname()[1]}"


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()
        await writer.wait_closed()

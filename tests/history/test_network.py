"""A link passes everything on, and fails as it is told."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.history.network import NetworkLink

MESSAGE = b"there and back" * 100


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1_000):
        writer.write(data)
    writer.close()


@pytest.fixture
async def link() -> AsyncIterator[NetworkLink]:
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        link = NetworkLink(f"tcp://127.0.0.1:{port}")
        await link.start()
        yield link
        await link.stop()


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(link: NetworkLink) -> Stream:
    port = int(link.address.rpartition(":")[2])
    return await asyncio.open_connection("127.0.0.1", port)


async def there_and_back(stream: Stream) -> bytes:
    reader, writer = stream
    writer.write(MESSAGE)
    return await reader.readexactly(len(MESSAGE))


async def test_it_passes_on_both_ways(link: NetworkLink) -> None:
    stream = await connect(link)
    assert await there_and_back(stream) == MESSAGE
    stream[1].close()


@pytest.mark.parametrize("slow", ["trickle", "delay"])
async def test_slow_is_not_wrong(link: NetworkLink, slow: str) -> None:
    stream = await connect(link)
    if slow == "trickle":
        link.trickle()
    else:
        link.delay(5)
    assert await there_and_back(stream) == MESSAGE
    link.heal()
    assert await there_and_back(stream) == MESSAGE
    stream[1].close()


async def test_a_cut_ends_what_is_connected(link: NetworkLink) -> None:
    stream = await connect(link)
    assert await there_and_back(stream) == MESSAGE
    link.cut()
    with pytest.raises(ConnectionResetError):
        await stream[0].read()
    again = await connect(link)
    assert await there_and_back(again) == MESSAGE
    again[1].close()


async def test_nobody_is_let_in_until_it_is_healed(link: NetworkLink) -> None:
    link.refuse()
    stream = await connect(link)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await there_and_back(stream)
    link.heal()
    again = await connect(link)
    assert await there_and_back(again) == MESSAGE
    again[1].close()


async def test_what_froze_arrives_when_it_is_healed(link: NetworkLink) -> None:
    stream = await connect(link)
    assert await there_and_back(stream) == MESSAGE
    link.freeze()
    answer = asyncio.create_task(there_and_back(stream))
    # Another link is not frozen: what comes back on it was sent later and is there before.
    other = NetworkLink(f"tcp://{link._host}:{link._port}")
    await other.start()
    second = await connect(other)
    assert await there_and_back(second) == MESSAGE
    assert not answer.done()
    link.heal()
    assert await answer == MESSAGE
    for _, writer in (stream, second):
        writer.close()
    await other.stop()

"""The bytes of a connection to the store, against a server that sends what the test says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import InvalidResponse, OutOfMemoryError, ResponseError
from redis.exceptions import TimeoutError as StoreTimeout

from packhorse_broker.store.packing import pack
from packhorse_broker.store.replies import Replies

LONG_S = 20.0


class Store:
    """One connection of it: hears and says bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def hears(self, data: bytes) -> None:
        assert await self._reader.readexactly(len(data)) == data

    def says(self, data: bytes) -> None:
        self._writer.write(data)

    async def is_left(self) -> None:
        """Returns when the other side has closed the connection."""
        try:
            assert await self._reader.read() == b""
        except ConnectionError:
            return

    def cut(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[tuple[Replies, Store]]:
    """Both ends of a connection."""
    path = str(folder / "store.sock")
    accepted: asyncio.Queue[Store] = asyncio.Queue()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait(Store(reader, writer))

    server = await asyncio.start_unix_server(accept, path)
    _, writer = await asyncio.open_unix_connection(path)
    replies, store = Replies(writer), await accepted.get()
    try:
        yield replies, store
    finally:
        replies.drop()
        store.cut()
        server.close()


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[Replies, Store]]:
    async with pair(tmp_path) as ends:
        yield ends


@pytest.fixture
def replies(both: tuple[Replies, Store]) -> Replies:
    return both[0]


@pytest.fixture
def store(both: tuple[Replies, Store]) -> Store:
    return both[1]


def asked(replies: Replies, count: int, timeout_s: float = LONG_S) -> "asyncio.Task[list[object]]":
    return asyncio.create_task(replies.exchange(b"ask", count, timeout_s))


async def test_replies_of_any_type(replies: Replies, store: Store) -> None:
    question = asked(replies, 6)
    await store.hears(b"ask")
    store.says(b"+OK\r\n:7\r\n$2\r\n\r\n\r\n$-1\r\n*-1\r\n*2\r\n$1\r\na\r\n:1\r\n")
    assert await question == [b"OK", 7, b"\r\n", None, None, [b"a", 1]]


async def test_replies_byte_by_byte(replies: Replies, store: Store) -> None:
    question = asked(replies, 2)
    for byte in b"$5\r\nhello\r\n*1\r\n:12\r\n":
        store.says(bytes([byte]))
        await asyncio.sleep(0)
    assert await question == [b"hello", [12]]


async def test_one_exchange_after_the_other(replies: Replies, store: Store) -> None:
    for number in range(3):
        question = asked(replies, 1)
        await store.hears(b"ask")
        store.says(b":%d\r\n" % number)
        assert await question == [number]


async def test_what_nobody_asked_for_waits_to_be_read(replies: Replies, store: Store) -> None:
    store.says(b":1\r\n:2\r\n")
    assert await replies.next() == 1
    assert await replies.next() == 2


async def test_an_error_ends_an_exchange_of_which_no_more_comes(
    replies: Replies, store: Store
) -> None:
    question = asked(replies, 3)
    store.says(b"+OK\r\n-OOM command not allowed\r\n")
    with pytest.raises(OutOfMemoryError):
        await question


async def test_an_error_within_a_reply_is_part_of_it(replies: Replies, store: Store) -> None:
    question = asked(replies, 1)
    store.says(b"*2\r\n+OK\r\n-WRONGTYPE no list\r\n")
    [reply] = await question
    assert isinstance(reply, list)
    assert reply[0] == b"OK"
    assert isinstance(reply[1], ResponseError)


async def test_an_error_of_which_no_more_comes_is_the_end(replies: Replies, store: Store) -> None:
    question = asked(replies, 2)
    store.says(b"-ERR no\r\n")
    with pytest.raises(ResponseError):
        await question
    with pytest.raises(LostConnection, match="given up"):
        await replies.exchange(b"again", 1, LONG_S)


async def test_after_an_error_that_was_all_more_can_be_asked(
    replies: Replies, store: Store
) -> None:
    question = asked(replies, 2)
    await store.hears(b"ask")
    store.says(b"-ERR no\r\n+OK\r\n")
    with pytest.raises(ResponseError):
        await question
    question = asked(replies, 1)
    store.says(b"+AGAIN\r\n")
    assert await question == [b"AGAIN"]


async def test_a_question_that_was_cancelled_is_the_last(replies: Replies, store: Store) -> None:
    question = asked(replies, 1)
    await store.hears(b"ask")
    question.cancel()
    with pytest.raises(asyncio.CancelledError):
        await question
    store.says(b"+LATE\r\n")
    with pytest.raises(LostConnection, match="given up"):
        await replies.exchange(b"next", 1, LONG_S)


async def test_silence_has_an_end(replies: Replies) -> None:
    with pytest.raises(StoreTimeout, match="did not answer in time"):
        await asked(replies, 1, timeout_s=0.01)


async def test_a_connection_that_goes(replies: Replies, store: Store) -> None:
    question = asked(replies, 1)
    await store.hears(b"ask")
    store.says(b"$10\r\nhalf")
    store.cut()
    with pytest.raises(LostConnection, match="closed the connection"):
        await question
    with pytest.raises(LostConnection, match="closed the connection"):
        await replies.exchange(b"next", 1, LONG_S)
    with pytest.raises(LostConnection, match="closed the connection"):
        await replies.next()


async def test_what_is_no_reply_ends_the_connection(replies: Replies, store: Store) -> None:
    question = asked(replies, 1)
    store.says(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(InvalidResponse):
        await question
    await store.hears(b"ask")
    await store.is_left()


async def test_drop_sends_nothing_more(replies: Replies, store: Store) -> None:
    replies.drop()
    replies.drop()
    await store.is_left()
    with pytest.raises(LostConnection):
        await replies.next()


async def test_a_connection_is_taken_over_whole(store_url: str) -> None:
    connection = ConnectionPool.from_url(store_url, client_name="taken").make_connection()  # type: ignore[no-untyped-call]
    await connection.connect()
    replies = Replies.of(connection)
    await connection.disconnect()
    del connection
    assert await replies.exchange(pack(("CLIENT", "GETNAME")), 1, LONG_S) == [b"taken"]
    replies.drop()

"""The bytes of one connection to the store: commands out in one write, replies back as they come.

redis-py makes the connection, with TLS and credentials, and hands its transport over. Its own
streams cost several times what parsing does, and are on the path of every job; and its timeouts go
through asyncio.wait_for, which on Python 3.11 may lose a cancellation.
"""

import asyncio
import contextlib
import math
from collections.abc import Iterable
from typing import Any, Final

import hiredis
from redis.asyncio.connection import AbstractConnection, ConnectionPool, DefaultParser
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import InvalidResponse, RedisError
from redis.exceptions import TimeoutError as StoreTimeout

from packhorse_broker.store.tls import share_context

_NOT_YET: Final = object()
"""What the parser says where a reply is not complete."""


class Replies(asyncio.Protocol):
    """One exchange at a time, or one reader of what comes without being asked for."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        """Closes the connection when it goes."""
        self._transport = writer.transport
        self._transport.set_protocol(self)
        self._loop = asyncio.get_running_loop()
        self._parser = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=self._error,
            notEnoughData=_NOT_YET,
        )
        self._arrived: list[Any] = []
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline_s = 0.0
        """Of the exchange that is waited for. The timer is set anew only when it has run: almost
        all exchanges are over by then."""
        self._lost: RedisError | None = None
        self._has_errors = False
        """Whether errors have arrived that are not taken yet, perhaps within EXEC's answer."""

    @classmethod
    async def open(cls, url: str, options: dict[str, Any]) -> "Replies":
        """A new connection. `options`: arguments for redis-py, with `socket_connect_timeout` for
        all of it. Raises RedisError, OSError."""
        pool = ConnectionPool.from_url(url, **options)
        connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
        share_context(connection)
        try:
            async with asyncio.timeout(options["socket_connect_timeout"]):
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            with contextlib.suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)
            raise
        return cls.of(connection)

    @classmethod
    def of(cls, connection: AbstractConnection) -> "Replies":
        """Takes over a connection that redis-py made and on which no reply is awaited."""
        held: Any = connection
        replies = cls(held._writer)  # noqa: SLF001 - there is no other way to it
        held._reader = held._writer = None  # noqa: SLF001 - it would close what it holds
        return replies

    @property
    def is_lost(self) -> bool:
        """Whether the connection is known to have ended."""
        return self._lost is not None

    async def exchange(self, data: bytes, count: int, timeout_s: float) -> list[Any]:
        """One write, then so many replies.

        Raises the first error among them, a lost connection or a timeout as redis-py's
        exceptions. Unless every reply came, the connection is of no use then.
        """
        if self._lost is not None:
            raise self._lost
        self._transport.write(data)
        return await self.more(count, timeout_s)

    async def more(self, count: int, timeout_s: float) -> list[Any]:
        """The next replies to what was written. Raises as `exchange`."""
        if len(self._arrived) >= count:
            return await self._take(count)
        self._deadline_s = self._loop.time() + timeout_s
        if self._timer is None:
            self._timer = self._loop.call_later(timeout_s, self._expire)
        return await self._take(count)

    async def next(self) -> Any:
        """The next reply, however long it takes. Raises as `exchange`."""
        self._deadline_s = math.inf
        [reply] = await self._take(1)
        return reply

    async def _take(self, count: int) -> list[Any]:
        arrived = self._arrived
        if len(arrived) < count:
            if self._lost is not None:
                raise self._lost
            self._wanted = count
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            except BaseException:
                self._give_up()
                raise
            finally:
                self._waiter = None
            if len(arrived) < count:
                self._give_up()
        replies = arrived[:count]
        del arrived[:count]
        if self._has_errors:
            self._has_errors = _first_error(arrived) is not None
            refused = _first_error(replies)
            if refused is not None:
                raise refused
        return replies

    def _give_up(self) -> None:
        """What still comes would be taken for the answer to the next question."""
        self._end(LostConnection("the connection to the store was given up"))

    def drop(self) -> None:
        """Closes the connection at once; what was not sent yet is not sent."""
        self._transport.abort()

    # -- what the loop calls

    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)
        arrived = self._arrived
        try:
            arrived.extend(iter(self._parser.gets, _NOT_YET))
        except InvalidResponse as error:
            self._end(error)
            self._transport.abort()
            return
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        # Behind an error there may be no more: EXEC is not answered by a server that let go.
        if len(arrived) >= self._wanted or (self._has_errors and _first_error(arrived) is not None):
            waiter.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._end(LostConnection(f"the store closed the connection{f': {exc}' if exc else ''}"))

    def _error(self, text: str) -> RedisError:
        self._has_errors = True
        error: RedisError = DefaultParser.parse_error(text)  # type: ignore[no-untyped-call]
        return error

    def _expire(self) -> None:
        self._timer = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        left_s = self._deadline_s - self._loop.time()
        if left_s <= 0:
            waiter.set_exception(StoreTimeout("the store did not answer in time"))
        elif left_s < math.inf:
            self._timer = self._loop.call_later(left_s, self._expire)

    def _end(self, why: RedisError) -> None:
        self._lost = self._lost or why
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(why)


def _first_error(replies: Iterable[Any]) -> RedisError | None:
    return next((reply for reply in replies if isinstance(reply, RedisError)), None)

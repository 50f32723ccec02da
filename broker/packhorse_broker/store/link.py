"""One connection to the store, made by redis-py and used by us command by command.

redis-py makes it, with TLS, credentials and the name it goes by. Its retries and health checks
are off: both reopen a connection behind the caller's back, and a WATCH is then gone (a later EXEC
would overwrite somebody else's change). For the same reason a link that saw any error is
dropped, never used again.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast
from weakref import WeakSet

import hiredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError, ResponseError

from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.primary import Place, connection_to, find_primary
from packhorse_broker.store.replies import Replies

Arg = bytes | str | int | float
Argument = Sequence[Arg]
"""One command: its name and arguments."""

pack: Final = cast("Callable[[Argument], bytes]", hiredis.pack_command)
"""A command as the bytes that are sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAddress:
    """Where the store is and how long one exchange with it may take."""

    url: str
    """As `packhorse_broker.store_url` describes it."""
    timeout_ms: int
    client_name: str
    """Shown by the store's CLIENT LIST."""
    links: "WeakSet[Link]" = field(default_factory=WeakSet, compare=False, repr=False)
    """Those that were opened to it."""

    def options(self) -> dict[str, Any]:
        """Arguments for redis-py, the same for every connection."""
        return {
            "retry": Retry(NoBackoff(), 0),
            "health_check_interval": 0,
            # Timeouts are ours: redis-py's go through asyncio.wait_for, which on Python 3.11 loses
            # a cancellation that arrives when the write is done.
            "socket_timeout": None,
            "socket_connect_timeout": self.timeout_ms / 1000,
            "protocol": 2,
            "client_name": self.client_name,
        }

    async def leave_former_primary(self) -> bool:
        """Gives up the links to a server that Sentinels no longer call the primary, and says
        whether there were any.

        It may be alive and take writes for a while, all of which are lost when it learns that it
        is a replica. Nothing is done while no Sentinel knows a primary.
        """
        try:
            async with asyncio.timeout(self.timeout_ms / 1000):
                primary = await find_primary(self.url, self.options())
        except (RedisError, OSError, TimeoutError):
            return False
        former = [link for link in self.links if link.place != primary and not link.is_left]
        for link in former:
            link.leave()
        return bool(former)


class Link:
    """A live connection: `await Link.open(address)`, then `ask`, then `close`."""

    def __init__(self, replies: Replies, timeout_ms: int, place: Place | None) -> None:
        self._replies = replies
        self._timeout_s = timeout_ms / 1000
        self.place = place
        """Where Sentinels said that the primary is."""
        self.is_left = False
        """Nothing is sent on it any more."""
        self.connection_id = 0
        """The store's CLIENT ID of this connection."""
        self.run_id = ""
        """Names the store's process: connection ids mean nothing in another one."""

    @classmethod
    async def open(cls, address: StoreAddress) -> "Link":
        """Raises StoreUnavailable."""
        try:
            async with asyncio.timeout(address.timeout_ms / 1000):
                connection, place = await connection_to(address.url, address.options())
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(describe(error)) from error
        link = cls(Replies.of(connection), address.timeout_ms, place)
        try:
            [connection_id, info, role] = await link.ask(
                pack(("CLIENT", "ID")), pack(("INFO", "server")), pack(("ROLE",))
            )
        except (RedisError, OSError, TimeoutError) as error:
            link.drop()
            raise StoreUnavailable(describe(error)) from error
        if role[0] != b"master":
            link.drop()
            raise StoreUnavailable("the server is a replica: it can't be written to")
        link.connection_id = connection_id
        link.run_id = _info_field(info, "run_id")
        address.links.add(link)
        return link

    async def ask(self, *commands: bytes) -> list[Any]:
        """Sends packed commands in one write and reads a reply to each.

        Any error reply ends the exchange and is raised as redis-py's exception, as are lost
        connections and timeouts; the link has to be dropped then.
        """
        return await self.exchange(b"".join(commands), len(commands))

    async def exchange(self, data: bytes, replies: int) -> list[Any]:
        """One write, and so many replies, under one timeout. Raises as `ask`; it is not known
        then what was sent."""
        if self.is_left:
            raise LostConnection("the connection to the store is left")
        return await self._replies.exchange(data, replies, self._timeout_s)

    async def next_reply(self) -> Any:
        """The next reply, however long it takes."""
        return await self._replies.next()

    def leave(self) -> None:
        """From now on it raises what a lost connection does; an exchange that is under way ends
        as it would have."""
        self.is_left = True

    def drop(self) -> None:
        """Closes the connection at once."""
        self._replies.drop()


def _info_field(info: bytes, name: str) -> str:
    for line in info.decode().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    raise ResponseError(f"the store's INFO lacks {name}")


def describe(error: BaseException) -> str:
    """A line about a store error for people."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]

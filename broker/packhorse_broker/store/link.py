"""One connection to the store, made by redis-py and used by us command by command.

redis-py makes it, with TLS, credentials and the name it goes by. Its retries and health checks
are off: both reopen a connection behind the caller's back, and a WATCH is then gone (a later EXEC
would overwrite somebody else's change). For the same reason a link that saw any error is
dropped, never used again.
"""

import asyncio
from collections.abc import Awaitable
from copy import copy
from typing import Any
from weakref import WeakSet

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, RedisError, ResponseError
from redis.exceptions import ConnectionError as LostConnection

from packhorse_broker.store.cluster import Place
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.packing import pack
from packhorse_broker.store.primary import Primaries
from packhorse_broker.store.replies import Replies


class StoreAddress:
    """Where the store is and how long one exchange with it may take."""

    def __init__(self, *, url: str, timeout_ms: int, client_name: str) -> None:
        """`url`: as `packhorse_broker.store_url` describes it; `client_name`: shown by the store's
        CLIENT LIST."""
        self.timeout_ms = timeout_ms
        self.primaries = Primaries(url)
        self.slot = 0
        """Of a Cluster, where the keys are that are asked for."""
        self.links: WeakSet[Link] = WeakSet()
        """Those that were opened to it, for whatever slot."""
        self._client_name = client_name

    def of(self, key: bytes) -> "StoreAddress":
        """The same store and links, where this key is."""
        there = copy(self)
        there.slot = key_slot(key)
        return there

    def _slots(self) -> set[int]:
        """For which it has to be found out where the primary is."""
        return {self._slot_of(link) for link in self.links}

    def _slot_of(self, link: "Link") -> int:
        return link.slot if self.primaries.are_several else 0

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
            "client_name": self._client_name,
        }

    async def leave_former_primaries(self) -> bool:
        """Gives up the links to servers that Sentinels or a Cluster no longer call the primary,
        and says whether there were any.

        One may be alive and take writes for a while, all of which are lost when it learns that it
        is a replica. Nothing is done while nobody knows a primary.
        """
        self.primaries.outdated()
        places: dict[int, Place | None] = {}
        try:
            async with asyncio.timeout(self.timeout_ms / 1000):
                for slot in self._slots():
                    places[slot] = await self.primaries.find(slot, self.options())
        except (RedisError, OSError, TimeoutError):
            return False
        former = [
            link
            for link in self.links
            if not link.is_left and link.place != places.get(self._slot_of(link), link.place)
        ]
        for link in former:
            link.leave()
        return bool(former)


class Link:
    """A live connection: `await Link.open(address)`, then `ask`, then `close`."""

    def __init__(self, replies: Replies, address: StoreAddress, place: Place | None) -> None:
        self._replies = replies
        self._timeout_s = address.timeout_ms / 1000
        self.slot = address.slot
        self.place = place
        """Where Sentinels or a Cluster said that the primary is."""
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
                replies, place = await address.primaries.connect(address.slot, address.options())
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(describe(error)) from error
        link = cls(replies, address, place)
        try:
            [connection_id, info, role] = await link.ask(
                pack(("CLIENT", "ID")), pack(("INFO", "server")), pack(("ROLE",))
            )
        except (RedisError, OSError, TimeoutError) as error:
            link.drop()
            address.primaries.outdated()
            raise StoreUnavailable(describe(error)) from error
        except BaseException:
            link.drop()
            raise
        if role[0] != b"master":
            link.drop()
            address.primaries.outdated()
            raise StoreUnavailable("the server is a replica: it can't be written to")
        link.connection_id = connection_id
        link.run_id = _info_field(info, "run_id")
        address.links.add(link)
        return link

    @property
    def is_lost(self) -> bool:
        """Whether it is known that nothing can be sent on it any more."""
        return self.is_left or self._replies.is_lost

    async def ask(self, *commands: bytes) -> list[Any]:
        """Sends packed commands in one write and reads a reply to each.

        Any error reply ends the exchange and is raised as redis-py's exception, as are lost
        connections and timeouts; the link has to be dropped then.
        """
        return await self.exchange(b"".join(commands), len(commands))

    def exchange(self, data: bytes, replies: int) -> Awaitable[list[Any]]:
        """One write, and so many replies, under one timeout. Raises as `ask`; it is not known
        then what was sent."""
        if self.is_left:
            raise LostConnection("the connection to the store is left")
        return self._replies.exchange(data, replies, self._timeout_s)

    def more(self, replies: int) -> Awaitable[list[Any]]:
        """Further replies to what was sent by `exchange`. Raises as `ask`."""
        return self._replies.more(replies, self._timeout_s)

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
    if isinstance(error, MovedError):
        return f"slot {error.slot_id} of the Cluster is at {error.host}:{error.port} now"
    if isinstance(error, AskError):
        return f"slot {error.slot_id} of the Cluster is on its way to {error.host}:{error.port}"
    if isinstance(error, TimeoutError) and not str(error):
        return "the store did not answer in time"
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]

"""A channel of the store: saying something on it, and listening on a connection of its own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from redis.exceptions import RedisError

from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.link import Link, StoreAddress, describe
from packhorse_broker.store.packing import pack
from packhorse_broker.store.transaction import Lane

SILENCE_S: Final = 15
"""Brokers say every second that they run; this long without a message means a dead connection."""


class Publisher:
    """Says things on a channel, outside of any transaction. Raises StoreUnavailable."""

    def __init__(self, lane: Lane, channel: bytes) -> None:
        self._lane = lane
        self._channel = channel
        self._turn = asyncio.Lock()

    async def publish(self, data: bytes) -> None:
        async with self._turn:
            await self._lane.ask(pack(("SPUBLISH", self._channel, data)))

    async def close(self) -> None:
        await self._lane.close(forget_mark=False)


class Subscription:
    """`async with Subscription(...) as messages: async for data in messages`.

    Raises StoreUnavailable when the connection can't be made or is lost; make a new one then.
    """

    def __init__(self, address: StoreAddress, channel: bytes) -> None:
        self._address = address
        self._channel = channel
        self._link: Link | None = None

    async def __aenter__(self) -> AsyncIterator[bytes]:
        self._link = await Link.open(self._address)
        try:
            await self._link.ask(pack(("SSUBSCRIBE", self._channel)))
        except (RedisError, OSError, TimeoutError) as error:
            self._link.drop()
            raise StoreUnavailable(describe(error)) from error
        except BaseException:
            self._link.drop()
            raise
        return self._messages(self._link)

    async def _messages(self, link: Link) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):
                    [kind, _, data] = await link.next_reply()
            except (RedisError, OSError, TimeoutError) as error:
                raise StoreUnavailable(describe(error)) from error
            if kind == b"smessage":
                yield data
            elif kind == b"sunsubscribe":
                raise StoreUnavailable("another node of the Cluster has the channel now")

    async def __aexit__(self, *_: object) -> None:
        if self._link is not None:
            self._link.drop()


class Channel:
    """Both: `publish` on it, `listen` to it. `mark`: the key of the publishing writer's mark."""

    def __init__(self, address: StoreAddress, name: bytes, mark: bytes) -> None:
        self._address = address
        self._name = name
        publisher = Publisher(Lane(address, mark), name)
        self.publish = publisher.publish
        self.close = publisher.close

    def listen(self) -> Subscription:
        return Subscription(self._address, self._name)

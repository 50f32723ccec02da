"""Brokers in the test's process, on one store and under one prefix, with raw clients of them."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from packhorse_broker.broker import Broker
from packhorse_broker.config import Config
from packhorse_broker.parts import Parts
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.schema import StoreIdentity
from packhorse_protocol.messages import Hello, Refused, Welcome
from tests.support.inspection import Contents, Raw
from tests.support.wire import Wire

NEVER_MS: Final = 60_000
"""Longer than any test: a broker that finds something only by sweeping is not quick enough."""


async def at_rest(broker: Broker) -> None:
    """Until all is done that the broker began by itself: resumes, catching up, looking again."""
    while broker.server._tasks:
        await asyncio.gather(*broker.server._tasks, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    """Until something is true in this process of which nobody is told."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0)


class DeafBroker(Broker):
    """Listens where nobody speaks."""

    def _parts_for(self, identity: StoreIdentity) -> Parts:
        parts = super()._parts_for(identity)
        for channel in parts.notices._channels:
            channel._name = b"where-nobody-speaks"
        return parts


class Brokers:
    """`start` brokers and `connect` clients; `close` ends all and checks what they left."""

    def __init__(self, store_url: str, prefix: str, partitions: int = 1) -> None:
        self.store_url = store_url
        self.prefix = prefix
        self.partitions = partitions
        self.keys = PartitionKeys(prefix, 0)
        """Of the first partition."""
        self._brokers: list[Broker] = []
        self._wires: list[Wire] = []

    async def start(self, *, store_url: str | None = None, **settings: Any) -> Broker:
        """A broker that listens on a port of the system's choice and does not sweep by itself."""
        broker = self.make(store_url=store_url, **settings)
        await broker.start()
        return broker

    def make(self, *, store_url: str | None = None, deaf: bool = False, **settings: Any) -> Broker:
        """One that is not started yet; `deaf`: it hears nothing of what others tell."""
        defaults: dict[str, Any] = {
            "listen": ("tcp://127.0.0.1:0",),
            "prefix": self.prefix,
            "partitions": self.partitions,
            "sweep_ms": NEVER_MS,
            "last_response_flush_ms": NEVER_MS,
        }
        made = DeafBroker if deaf else Broker
        broker = made(Config(**{**defaults, **settings}), store_url or self.store_url)
        self._brokers.append(broker)
        return broker

    async def connect(self, broker: Broker, client: str | None = None, **hello: Any) -> Wire:
        """A client of that broker."""
        return self.keep(await Wire.open(broker.addresses[0], client=client, **hello))

    async def connect_when_possible(self, broker: Broker, client: str, **hello: Any) -> Wire:
        """A client that is refused for now, and tries until it is let in."""
        while True:
            wire = await self.dial(broker)
            wire.send(Hello(versions=(1,), client=client, **hello))
            answer = await wire.push(object)
            if isinstance(answer, Welcome):
                wire.accept(answer)
                return wire
            assert isinstance(answer, Refused)
            assert answer.retryable, answer

    async def dial(self, broker: Broker) -> Wire:
        """A connection that has said nothing yet."""
        return self.keep(await Wire.dial(broker.addresses[0]))

    def keep(self, wire: Wire) -> Wire:
        """Closes it at the end of the test."""
        self._wires.append(wire)
        return wire

    async def stop(self, broker: Broker) -> None:
        self._brokers.remove(broker)
        await broker.close()

    async def close(self) -> None:
        """Afterwards nothing of the prefix is left in the store."""
        for wire in self._wires:
            await wire.close()
        for broker in self._brokers:
            await broker.close()
        raw = await Raw.open(self.store_url)
        try:
            all_keys = [PartitionKeys(self.prefix, one) for one in range(self.partitions)]
            contents = [await Contents.read(raw, keys) for keys in all_keys]
            # Apart, for a cluster has them in different slots.
            for keys in all_keys:
                await raw.clear(keys.base)
            await raw.clear(f"{self.prefix}:".encode())
        finally:
            await raw.close()
        for keys, found in zip(all_keys, contents, strict=True):
            found.check(keys)

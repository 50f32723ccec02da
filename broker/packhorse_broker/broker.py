"""The whole broker: its start, its going away and its end.

broker = Broker(config, store_url)
await broker.start()      listens; raises StoreError, ListenError
await broker.drain()      announces its going away and lets clients leave
await broker.close()      commits what was asked, closes everything
"""

import asyncio
import importlib.metadata
import secrets
import socket
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import structlog

from packhorse_broker.clock import StoreClock
from packhorse_broker.config import Config
from packhorse_broker.parts import Parts
from packhorse_broker.server import Server
from packhorse_broker.sessions import Sessions
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import ClientKeys
from packhorse_broker.store.link import StoreAddress
from packhorse_broker.store.registry import Registry
from packhorse_broker.store.schema import StoreIdentity
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store_watch import StoreWatch
from packhorse_protocol.messages import BrokerInfo, Drain

_log = structlog.get_logger(__name__)

LIBRARY: Final = f"packhorse {importlib.metadata.version('packhorse')}"

STORE_RETRY_S: Final = (0.05, 2.0)
"""First and longest pause between looks for a store that is not there at the start."""


class Broker:
    """One broker over one store. `draining` is set once it goes away."""

    def __init__(
        self,
        config: Config,
        store_url: str,
        *,
        ephemeral: bool = False,
        shared: Mapping[str, socket.socket] | None = None,
    ) -> None:
        """`ephemeral`: the store is to end with this process, and nobody need be told. `shared`:
        as of Server."""
        self.config = config
        self.id = config.broker_name or f"broker-{secrets.token_hex(4)}"
        self.draining = False
        self.sessions = Sessions()
        self._shared = shared
        self._started_ms = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._clock = StoreClock()
        self._client_keys = ClientKeys(config.prefix)
        self._address = StoreAddress(
            url=store_url, timeout_ms=config.store_timeout_ms, client_name=f"packhorse:{self.id}"
        )
        self._registry = Registry(
            Lane(
                self._address.of(self._client_keys.base),
                self._client_keys.writer(secrets.token_hex(6)),
            ),
            self._client_keys,
        )
        self._store_watch = StoreWatch(
            config,
            self._address,
            self._client_keys,
            self._registry,
            self._clock,
            ephemeral=ephemeral,
            replaced=self._store_replaced,
            wiped=self._store_wiped,
        )
        self._parts: Parts | None = None
        self._server: Server | None = None

    @property
    def parts(self) -> Parts:
        assert self._parts is not None, "the broker has not been started"
        return self._parts

    @property
    def server(self) -> Server:
        assert self._server is not None, "the broker has not been started"
        return self._server

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return self.server.addresses

    # -- its life

    async def start(self) -> None:
        """Waits for the store, however long; then listens.

        Raises SchemaRefused, ListenError.
        """
        parts = await self._wait_for_store()
        self._started_ms = self._clock.now_ms()
        parts.committer.start()
        parts.partitions.minutes.start()
        self._server = Server(self.config, parts.reception(LIBRARY, self), self._shared)
        self._tasks = [
            asyncio.create_task(parts.notices.run(), name="packhorse-notices"),
            asyncio.create_task(parts.sweeper.run(), name="packhorse-sweeper"),
            asyncio.create_task(parts.timers.run(), name="packhorse-timers"),
        ]
        await self._server.start()
        _log.info("broker.ready", broker=self.id, listen=self.addresses, store=self.store.id)

    @property
    def store(self) -> StoreIdentity:
        identity = self._store_watch.identity
        assert identity is not None, "the broker has not been started"
        return identity

    async def _wait_for_store(self) -> Parts:
        pause_s, longest_s = STORE_RETRY_S
        while True:
            try:
                identity = await self._store_watch.agree()
                if self._parts is None:
                    self._parts = self._parts_for(identity)
                await self._store_watch.look()
                await self._parts.type_news.follow()
                await self._parts.sweeper.begin()
            except StoreUnavailable as error:
                _log.warning("store.waiting", error=str(error), retry_in_s=pause_s)
            else:
                return self._parts
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)

    def _parts_for(self, identity: StoreIdentity) -> Parts:
        if self.config.partitions not in (0, identity.partitions):
            _log.warning(
                "store.partitions_kept",
                partitions=identity.partitions,
                note="their number is fixed when a store is first used",
            )
        return Parts(
            self.config,
            self._address,
            self._client_keys,
            identity.partitions,
            self._registry,
            self._store_watch,
            self._clock,
            self.sessions,
            broker=self.id,
            spawn=self._spawn,
        )

    async def drain(self) -> None:
        """Takes in no work, tells every client, and waits a bounded time until they are gone."""
        self.draining = True
        self.parts.feeder.paused = True
        await self.server.stop_listening()
        self.server.broadcast(Drain(grace_ms=self.config.drain_ms))
        _log.info("broker.draining", connections=self.server.connections)
        try:
            async with asyncio.timeout(self.config.drain_ms / 1000):
                await self.server.emptied()
        except TimeoutError:
            _log.warning("broker.drain_timeout", connections=self.server.connections)

    async def close(self) -> None:
        """Ends at once but for what was asked already: that is committed and answered."""
        self.draining = True
        if self._parts is not None:
            await self._close(self._parts)
        await self._registry.close()
        _log.info("broker.closed", broker=self.id)

    async def _close(self, parts: Parts) -> None:
        parts.feeder.paused = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await parts.close()
        if self._server is not None:
            await self._server.close()
        try:
            await self._registry.withdraw_broker(self.id)
            await parts.takes.withdraw()
        except StoreUnavailable as error:
            _log.warning("store.unavailable", error=str(error))
        await parts.disconnect()

    async def attach(self, connected: socket.socket) -> None:
        """Serves a socket whose other end is a client in this process."""
        await self.server.attach(connected)

    # -- what the parts ask back

    async def info(self) -> BrokerInfo:
        watch = self._store_watch
        return BrokerInfo(
            broker=self.id,
            library=LIBRARY,
            store=self.store.id,
            schema=self.store.schema,
            started_ms=self._started_ms,
            now_ms=self._clock.now_ms(),
            connections=self.server.connections,
            clients=await self._registry.count(),
            kept=watch.kept,
            durability=self.config.durability,
            replicas=watch.waits.replicas,
            store_full=watch.full,
            partitions=self.store.partitions,
            commits=self.parts.committer.commits,
            conflicts=self.parts.committer.conflicts,
        )

    def _store_replaced(self) -> None:
        """Before anybody is served nobody was told anything of it."""
        if self._server is not None:
            self.parts.store_replaced()

    async def _store_wiped(self) -> None:
        if self._server is not None:
            await self.parts.store_wiped()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.server.spawn(work)

"""The whole broker, put together: every part is made here and handed what it needs.

broker = Broker(config, store_url)
await broker.start()      listens; raises StoreError, ListenError
await broker.drain()      announces its going away and lets clients leave
await broker.close()      commits what was asked, closes everything
"""

import asyncio
import importlib.metadata
import secrets
import socket
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import structlog

from packhorse_broker.changing import Changing
from packhorse_broker.clock import StoreClock
from packhorse_broker.config import Config
from packhorse_broker.delivery import Delivery
from packhorse_broker.dispatch import Dispatch
from packhorse_broker.fanout import Fanout
from packhorse_broker.feeder import Feeder
from packhorse_broker.finding import Finding
from packhorse_broker.governing import Governing
from packhorse_broker.group_delivery import GroupDelivery
from packhorse_broker.holding import Holding
from packhorse_broker.jobs.model import Retention, Rules
from packhorse_broker.looking import Looking
from packhorse_broker.notices import Notices
from packhorse_broker.operations import Operations
from packhorse_broker.reception import Reception
from packhorse_broker.server import Server
from packhorse_broker.sessions import Sessions
from packhorse_broker.store.assignments import Assignments
from packhorse_broker.store.changes import Change
from packhorse_broker.store.committer import Committer
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.finder import Finder
from packhorse_broker.store.keys import ClientKeys, PartitionKeys
from packhorse_broker.store.link import StoreAddress
from packhorse_broker.store.minutes import Minutes
from packhorse_broker.store.reader import Reader
from packhorse_broker.store.registry import Registry
from packhorse_broker.store.schema import StoreIdentity
from packhorse_broker.store.subscription import Publisher
from packhorse_broker.store.takes import TakesBoard
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store.type_changes import TypeChanges
from packhorse_broker.store.type_reader import TypeReader
from packhorse_broker.store.types import TypeBook
from packhorse_broker.store_watch import StoreWatch
from packhorse_broker.sweeper import Sweeper
from packhorse_broker.timers import Timers, earliest
from packhorse_broker.trimming import Trimming
from packhorse_broker.type_news import TypeNews
from packhorse_broker.watching import Watching
from packhorse_protocol.messages import BrokerInfo, Drain

_log = structlog.get_logger(__name__)

LIBRARY: Final = f"packhorse {importlib.metadata.version('packhorse')}"

STORE_RETRY_S: Final = (0.05, 2.0)
"""First and longest pause between looks for a store that is not there at the start."""

LEAVING_FLUSHES: Final = 3
"""A client's removal ends after so many periods in which brokers compare notes with the store."""


class Broker:
    """One broker over one store. `draining` is set once it goes away."""

    def __init__(self, config: Config, store_url: str, *, ephemeral: bool = False) -> None:
        """`ephemeral`: the store is to end with this process, and nobody need be told."""
        self.config = config
        self.id = config.broker_name or f"broker-{secrets.token_hex(4)}"
        self.draining = False
        self.sessions = Sessions()
        self._started_ms = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._clock = StoreClock()
        self._types = TypeBook()
        self._keys = PartitionKeys(config.prefix, 0)
        self._client_keys = ClientKeys(config.prefix)
        self._address = StoreAddress(
            url=store_url, timeout_ms=config.store_timeout_ms, client_name=f"packhorse:{self.id}"
        )
        writer = secrets.token_hex(6)
        self._registry = Registry(
            Lane(self._address, self._client_keys.writer(writer)), self._client_keys
        )
        self._reader = Reader(self._lane(writer), self._keys)
        self._publisher = Publisher(self._lane(writer), self._keys.events)
        self._feeder = Feeder(self.sessions, lambda work: self._committer.submit(work), self._clock)
        self._type_reader = TypeReader(self._lane(writer), self._keys)
        self._type_changes = TypeChanges(self._lane(f"{writer}-types"), self._keys)
        self._type_news = TypeNews(self._type_reader, self._types, self._feeder, self._clock)
        self._minutes = Minutes(self._lane(f"{writer}-minutes"), self._keys, self._clock.now_ms)
        self._finder = Finder(self._lane(writer), self._keys)
        self._takes = TakesBoard(
            Lane(self._address, self._client_keys.writer(writer)),
            self._client_keys,
            broker=self.id,
            taken=self._feeder.taken,
            claimed=self._feeder.claimed,
        )
        self._assignments = Assignments(self._lane(f"{writer}-groups"), self._keys, broker=self.id)
        self._groups = GroupDelivery(
            self._reader,
            self._assignments,
            self._spawn,
            say_owed=self._say_owed,
            say_given_back=self._say_given_back,
        )
        self._delivery = Delivery(self.sessions, self._reader, self._groups, self._spawn)
        self._watching = Watching(self._reader)
        self._holding = Holding(self._reader, self._feeder, self._clock)
        self._fanout = Fanout(
            self.sessions,
            self._feeder,
            self._delivery,
            self._watching,
            self._registry,
            self._holding,
            self._clock,
            self._spawn,
            due=lambda due_ms: self._timers.expect(due_ms),
            passed_on=lambda jobs, broker: self._committer.shares.passed_on(jobs, broker),
            types_changed=self._follow_types,
        )
        self._notices = Notices(
            self.id,
            self._address,
            self._keys.events,
            self._publisher,
            heard=self._fanout.heard,
            missed=self._fanout.missed,
            earliest=earliest,
            keeps=self._keeps,
            has_room=self._groups.has_room,
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
        self._committer = Committer(
            self._lane(writer),
            self._keys,
            Rules(
                retention=Retention(config.complete_retention_ms, config.failed_retention_ms),
                max_log_entries=config.max_log_entries,
                max_log_bytes=config.max_log_bytes,
                lost_limit=config.lost_limit,
                cancel_grace_ms=config.cancel_grace_ms,
            ),
            self._clock,
            types=self._types,
            wait_ms=config.store_timeout_ms,
            waits=lambda: self._store_watch.waits,
            publish=self._notices.of_changes,
            committed=self._committed,
            rivals=self._takes.rivals,
            left=self._feeder.left,
        )
        self._operations = Operations(
            self._committer,
            self._reader,
            self._registry,
            self._clock,
            broker=self.id,
            leaving_ms=LEAVING_FLUSHES * config.last_response_flush_ms,
            close_session=self._fanout.close_session,
            has_peers=lambda: bool(self._notices.peers),
        )
        self._timers = Timers(
            self._reader,
            self._operations,
            self._clock,
            has_peers=lambda: bool(self._notices.peers),
        )
        self._trimming = Trimming(self._operations, self._reader, self._type_reader, self._types)
        self._sweeper = Sweeper(
            self.sessions,
            self._registry,
            self._reader,
            self._operations,
            self._feeder,
            self._delivery,
            self._fanout,
            self._notices,
            self._clock,
            sweep_ms=config.sweep_ms,
            flush_ms=config.last_response_flush_ms,
            also=(
                self._store_watch.look,
                self._takes.announce,
                self._type_news.follow,
                self._trimming.trim,
            ),
        )
        self._server: Server | None = None

    def _lane(self, writer: str) -> Lane:
        return Lane(self._address, self._keys.writer(writer))

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
        await self._wait_for_store()
        self._started_ms = self._clock.now_ms()
        self._committer.start()
        self._minutes.start()
        reception = Reception(
            self.config,
            self.sessions,
            self._registry,
            self._reader,
            self._clock,
            self._feeder,
            self._delivery,
            self._watching,
            self._holding,
            broker=self.id,
            library=LIBRARY,
            store=self._store_watch,
            connected=self._say_moved,
            draining=lambda: self.draining,
            spawn=self._spawn,
        )
        self._server = Server(self.config, reception)
        reception.dispatch = Dispatch(
            self.config,
            self._operations,
            Changing(
                self.config,
                self._operations,
                self._feeder,
                self._delivery,
                self._clock,
                self._store_watch,
            ).requests(),
            {
                **Looking(self.config, self._reader, self._watching, self).requests(),
                **self._finding().requests(),
                **self._governing().requests(),
            },
            self,
            self._spawn,
        )
        self._tasks = [
            asyncio.create_task(self._notices.run(), name="packhorse-notices"),
            asyncio.create_task(self._sweeper.run(), name="packhorse-sweeper"),
            asyncio.create_task(self._timers.run(), name="packhorse-timers"),
        ]
        await self._server.start()
        _log.info("broker.ready", broker=self.id, listen=self.addresses, store=self.store.id)

    def _finding(self) -> Finding:
        return Finding(
            self.config, self._reader, self._finder, self._registry, self._takes, self._clock
        )

    def _governing(self) -> Governing:
        return Governing(
            self.config,
            self._type_changes,
            self._type_reader,
            self._type_news,
            self._minutes,
            self._takes,
            self._clock,
            say_changed=self._say_types_changed,
        )

    @property
    def store(self) -> StoreIdentity:
        identity = self._store_watch.identity
        assert identity is not None, "the broker has not been started"
        return identity

    async def _wait_for_store(self) -> None:
        pause_s, longest_s = STORE_RETRY_S
        while True:
            try:
                await self._store_watch.agree()
                await self._type_news.follow()
                await self._registry.announce_broker(self.id, self._clock.now_ms())
            except StoreUnavailable as error:
                _log.warning("store.waiting", error=str(error), retry_in_s=pause_s)
            else:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)

    async def drain(self) -> None:
        """Takes in no work, tells every client, and waits a bounded time until they are gone."""
        self.draining = True
        self._feeder.paused = True
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
        self._feeder.paused = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._committer.close()
        await self._minutes.close()
        self._type_news.close()
        if self._server is not None:
            await self._server.close()
        try:
            await self._registry.withdraw_broker(self.id)
            await self._takes.withdraw()
        except StoreUnavailable as error:
            _log.warning("store.unavailable", error=str(error))
        await self._reader.close()
        await self._finder.close()
        await self._type_reader.close()
        await self._type_changes.close()
        await self._takes.close()
        await self._assignments.close()
        await self._publisher.close()
        await self._registry.close()
        _log.info("broker.closed", broker=self.id)

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
            commits=self._committer.commits,
            conflicts=self._committer.conflicts,
        )

    def _committed(self, changes: Sequence[Change]) -> None:
        self._fanout.committed(changes)
        self._timers.committed(changes)
        self._minutes.committed(changes)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.server.spawn(work)

    def _store_replaced(self) -> None:
        self._fanout.missed()
        self._spawn(self._tell(self._type_news.begin_anew()))

    async def _store_wiped(self) -> None:
        self._committer.begin_anew()
        await self._type_news.begin_anew()
        self._fanout.missed()

    def _keeps(self, job_type: str, jobs: Sequence[str]) -> bool:
        """Whether these jobs, queued now, are for the runners here, so that nobody is told."""
        shares = self._committer.shares
        if self._feeder.has_places(job_type, len(jobs)):
            shares.keep(jobs)
            return True
        shares.passed_on(jobs, self.id)
        return False

    def _say_types_changed(self, types: Sequence[str]) -> None:
        if self._notices.peers:
            self._spawn(self._tell(self._notices.say_types_changed(types)))

    def _say_moved(self, client: str) -> None:
        if self._notices.peers:
            self._spawn(self._tell(self._notices.say_moved(client)))

    def _say_owed(self, group: str) -> None:
        if self._notices.peers:
            self._spawn(self._tell(self._notices.say_owed(group)))

    def _say_given_back(self, group: str) -> None:
        if self._notices.peers:
            self._spawn(self._tell(self._notices.say_given_back(group)))

    def _follow_types(self, types: Sequence[str]) -> None:
        self._spawn(self._follow(types))

    async def _follow(self, types: Sequence[str]) -> None:
        try:
            await self._type_news.follow()
        except StoreUnavailable as error:
            _log.warning("notices.not_followed", types=types, error=str(error))

    async def _tell(self, saying: Coroutine[Any, Any, None]) -> None:
        try:
            await saying
        except StoreUnavailable as error:
            _log.warning("notices.unsaid", error=str(error))

"""Every part of a broker, made and handed what it needs, once it is known what store it works on.

Data walks one way: a request comes from `reception` through `dispatch` to `operations` and into a
transaction; what that did goes from `committed` to runners, handlers and watchers.
"""

import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

import structlog

from packhorse_broker.changing import Changing
from packhorse_broker.clock import StoreClock
from packhorse_broker.config import Config
from packhorse_broker.delivery import Delivery
from packhorse_broker.dispatch import Dispatch, Going
from packhorse_broker.fanout import Fanout
from packhorse_broker.feeder import Feeder
from packhorse_broker.finding import Finding
from packhorse_broker.governing import Governing
from packhorse_broker.group_delivery import GroupDelivery
from packhorse_broker.holding import Holding
from packhorse_broker.jobs.model import Retention, Rules
from packhorse_broker.looking import Looking, Status
from packhorse_broker.notices import Notices
from packhorse_broker.operations import Operations
from packhorse_broker.outages import Outages
from packhorse_broker.reception import Reception
from packhorse_broker.sessions import Sessions
from packhorse_broker.store.changes import Change
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import ClientKeys
from packhorse_broker.store.link import StoreAddress
from packhorse_broker.store.partitions import Partitions
from packhorse_broker.store.registry import Registry
from packhorse_broker.store.subscription import Channel
from packhorse_broker.store.takes import TakesBoard
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store.types import TypeBook
from packhorse_broker.store.waiting import Waiting
from packhorse_broker.store_watch import StoreWatch
from packhorse_broker.sweeper import Sweeper
from packhorse_broker.timers import Timers
from packhorse_broker.trimming import Trimming
from packhorse_broker.type_news import TypeNews
from packhorse_broker.watching import Watching

_log = structlog.get_logger(__name__)

LEAVING_FLUSHES: Final = 3
"""A client's removal ends after so many periods in which brokers compare notes with the store."""

Spawn = Callable[[Coroutine[Any, Any, None]], None]


class Host(Status, Going, Protocol):
    """The broker, as those that answer its clients see it."""


class Parts:
    """Of one broker; `close` when it ends."""

    def __init__(
        self,
        config: Config,
        address: StoreAddress,
        client_keys: ClientKeys,
        partitions: int,
        registry: Registry,
        store_watch: StoreWatch,
        clock: StoreClock,
        sessions: Sessions,
        *,
        broker: str,
        spawn: Spawn,
    ) -> None:
        """`partitions`: as many as the store has; `broker`: its name."""
        self._config = config
        self._broker = broker
        self._spawn = spawn
        self._clock = clock
        self._registry = registry
        self._store_watch = store_watch
        self.sessions = sessions
        writer = secrets.token_hex(6)
        self.book = TypeBook()
        self.outages = Outages(sweep_ms=config.sweep_ms)
        self.partitions = Partitions(
            address, config.prefix, partitions, clock, writer=writer, broker=broker
        )
        store_watch.partitions = self.partitions.others
        self.reader = self.partitions.reader
        self.feeder = Feeder(
            sessions,
            lambda work: self.committer.submit(work),
            clock,
            self.outages,
            one_queue=partitions == 1,
        )
        self.type_news = TypeNews(
            self.partitions.types, self.partitions.type_copies, self.book, self.feeder, clock
        )
        self.takes = TakesBoard(
            Lane(address.of(client_keys.base), client_keys.writer(writer)),
            client_keys,
            broker=broker,
            taken=self.feeder.taken,
            claimed=self.feeder.claimed,
        )
        self.groups = GroupDelivery(
            self.reader,
            self.partitions.assignments,
            spawn,
            say_owed=self._say_owed,
            say_given_back=self._say_given_back,
        )
        self.delivery = Delivery(sessions, self.reader, self.groups, spawn)
        self.watching = Watching(self.reader)
        self.holding = Holding(self.reader, self.feeder, clock, self.outages)
        self.fanout = Fanout(
            sessions,
            self.feeder,
            self.delivery,
            self.watching,
            registry,
            self.holding,
            clock,
            spawn,
            due=lambda due_ms: self.timers.expect(due_ms),
            passed_on=lambda jobs, types, by: self.committer.passed_on(jobs, types, by),
            types_changed=self._follow_types,
        )
        self.notices = Notices(
            broker,
            [
                Channel(self.partitions.address_of(keys), keys.events, keys.writer(writer))
                for keys in self.partitions.keys
            ],
            heard=self.fanout.heard,
            missed=self._missed,
            earliest=lambda changes: self.timers.earliest(changes),
            keeps=self._keeps,
            has_room=self.groups.has_room,
        )
        self.committer = self.partitions.committing(
            Rules(
                retention=Retention(config.complete_retention_ms, config.failed_retention_ms),
                max_log_entries=config.max_log_entries,
                max_log_bytes=config.max_log_bytes,
                lost_limit=config.lost_limit,
                cancel_grace_ms=config.cancel_grace_ms,
            ),
            types=self.book,
            wait_ms=config.store_timeout_ms,
            waits=lambda: store_watch.waits,
            publish=self.notices.of_changes,
            committed=self._committed,
            rivals=self.takes.rivals,
            left=self.feeder.left,
            in_use=self.feeder.takes,
        )
        self.waiting = Waiting(self.partitions.read_lanes, self._found_waiting)
        self.operations = Operations(
            self.committer,
            self.reader,
            registry,
            clock,
            self.partitions.homes,
            broker=broker,
            leaving_ms=LEAVING_FLUSHES * config.last_response_flush_ms,
            close_session=self.fanout.close_session,
            has_peers=self._has_peers,
        )
        self.timers = Timers(
            self.reader, self.operations, clock, self.outages, has_peers=self._has_peers
        )
        self.trimming = Trimming(self.operations, self.reader, self.partitions.types, self.book)
        self.sweeper = Sweeper(
            sessions,
            registry,
            self.reader,
            self.operations,
            self.feeder,
            self.waiting,
            self.delivery,
            self.fanout,
            self.notices,
            clock,
            self.outages,
            sweep_ms=config.sweep_ms,
            flush_ms=config.last_response_flush_ms,
            also=(
                store_watch.look,
                self.takes.announce,
                self.type_news.follow,
                self.trimming.trim,
            ),
        )

    # -- what clients come to

    def reception(self, library: str, host: Host) -> Reception:
        """Lets clients in, and knows what answers them. `library`: as they are told who it is."""
        return Reception(
            self._config,
            self.sessions,
            self._registry,
            self.reader,
            self._clock,
            self.feeder,
            self.delivery,
            self.watching,
            self.holding,
            self._dispatch(host),
            broker=self._broker,
            library=library,
            store=self._store_watch,
            connected=self._say_moved,
            draining=lambda: host.draining,
            crowded=lambda: self.committer.crowded or self._store_watch.full,
            spawn=self._spawn,
        )

    def _dispatch(self, host: Host) -> Dispatch:
        return Dispatch(
            self._config,
            self.operations,
            self._changing().requests(),
            {
                **Looking(self._config, self.reader, self.watching, host).requests(),
                **self._finding().requests(),
                **self._governing().requests(),
            },
            host,
            self._spawn,
        )

    def _changing(self) -> Changing:
        return Changing(
            self._config,
            self.operations,
            self.feeder,
            self.delivery,
            self._clock,
            self.outages,
            self._store_watch,
        )

    def _finding(self) -> Finding:
        return Finding(
            self._config,
            self.reader,
            self.partitions.finder,
            self.partitions.standing,
            self._registry,
            self.takes,
            self._clock,
        )

    def _governing(self) -> Governing:
        return Governing(
            self._config,
            self.partitions.type_changes,
            self.partitions.types,
            self.type_news,
            self.partitions.minutes,
            self.takes,
            self._clock,
            say_changed=self._say_types_changed,
        )

    async def close(self) -> None:
        """Commits what was asked, then closes all connections to the store but the registry's."""
        await self.committer.close()
        await self.partitions.minutes.close()
        self.type_news.close()

    async def disconnect(self) -> None:
        """After all else: nothing is asked of the store any more."""
        await self.waiting.close()
        await self.partitions.close()
        await self.takes.close()
        await self.notices.close()

    # -- what the parts tell each other

    def store_replaced(self) -> None:
        """It may have lost its last changes."""
        self.fanout.missed()
        self._spawn(self._tell(self.type_news.begin_anew()))

    async def store_wiped(self) -> None:
        self.committer.begin_anew()
        await self.type_news.begin_anew()
        self.fanout.missed()

    def _missed(self) -> None:
        self.committer.look_everywhere()
        self.fanout.missed()

    def _committed(self, changes: Sequence[Change]) -> None:
        self.fanout.committed(changes)
        self.timers.committed(changes)
        self.partitions.minutes.committed(changes)

    def _found_waiting(self, partition: int, types: Sequence[str]) -> None:
        self.committer.filled(partition, types)
        for job_type in types:
            self.feeder.queued(job_type)

    def _keeps(self, job_type: str, jobs: Sequence[str]) -> bool:
        """Whether these jobs, queued now, are for the runners here, so that nobody is told."""
        if self.feeder.has_places(job_type, len(jobs)):
            self.committer.keep(jobs)
            return True
        self.committer.passed_on(jobs, (job_type,), self._broker)
        return False

    def _has_peers(self) -> bool:
        return bool(self.notices.peers)

    def _say_types_changed(self, types: Sequence[str]) -> None:
        if self._has_peers():
            self._spawn(self._tell(self.notices.say_types_changed(types)))

    def _say_moved(self, client: str) -> None:
        if self._has_peers():
            self._spawn(self._tell(self.notices.say_moved(client)))

    def _say_owed(self, group: str) -> None:
        if self._has_peers():
            self._spawn(self._tell(self.notices.say_owed(group)))

    def _say_given_back(self, group: str) -> None:
        if self._has_peers():
            self._spawn(self._tell(self.notices.say_given_back(group)))

    def _follow_types(self, types: Sequence[str]) -> None:
        self._spawn(self._follow(types))

    async def _follow(self, types: Sequence[str]) -> None:
        try:
            await self.type_news.follow()
        except StoreUnavailable as error:
            _log.warning("notices.not_followed", types=types, error=str(error))

    async def _tell(self, saying: Coroutine[Any, Any, None]) -> None:
        try:
            await saying
        except StoreUnavailable as error:
            _log.warning("notices.unsaid", error=str(error))

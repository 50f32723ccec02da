"""What the store is good for, and whether it is still the one that it was.

`agree` at the start; `look` in each sweep. A Cluster is as good as the worst of its primaries. It
finds that the store was

    replaced   another process answers: it was started anew, or a replica took its place; the
               last changes may be gone, so all that was pushed is compared with it
    wiped      its identity is gone or another one: all jobs that were in it are gone
    full       so much of its memory is in use that jobs in it might not be able to end any more
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

import structlog

from packhorse_broker.clock import StoreClock, monotonic_ms
from packhorse_broker.config import Config
from packhorse_broker.store.durability import AFTER_EXEC, Durability, Waits
from packhorse_broker.store.errors import SchemaRefused
from packhorse_broker.store.keys import ClientKeys, PartitionKeys
from packhorse_broker.store.link import StoreAddress
from packhorse_broker.store.packing import pack
from packhorse_broker.store.promises import KEPT, Kept, agree
from packhorse_broker.store.read_lane import ReadLane
from packhorse_broker.store.registry import Registry, StoreState
from packhorse_broker.store.schema import StoreIdentity, open_schema
from packhorse_broker.store.servers import ServerState, server_state
from packhorse_broker.store.transaction import Lane

_log = structlog.get_logger(__name__)

PARTITIONS_OF_CLUSTER: Final = 16
"""Of a Cluster, unless it is said: enough to be spread over some primaries, few enough that each
has batches to commit."""

CLOCK_ASKS: Final = 3
"""The first answer may have taken long, of a store that just comes back: then it says little, and
jobs would wait too short or too long by that."""


class StoreWatch:
    """`identity` is whose store it is, `kept` what its answers stand for, `waits` what is waited
    for beyond them; `full` tells creators to wait."""

    def __init__(
        self,
        config: Config,
        address: StoreAddress,
        keys: ClientKeys,
        registry: Registry,
        clock: StoreClock,
        *,
        ephemeral: bool,
        replaced: Callable[[], None],
        wiped: Callable[[], Awaitable[None]],
    ) -> None:
        """`ephemeral`: the store is to end with this process. `replaced`: compares what clients
        were told with the store; `wiped`: forgets what was known of it."""
        self._config = config
        self._ephemeral = ephemeral
        self._address = address
        self._keys = keys
        self._registry = registry
        self._clock = clock
        self._replaced = replaced
        self._wiped = wiped
        self._run_ids: tuple[str, ...] = ()
        self._written_identity: bytes | None = None
        self.identity: StoreIdentity | None = None
        self.kept: Kept = "unknown"
        self.waits = AFTER_EXEC
        self.full = False
        self.partitions: Sequence[ReadLane] = ()
        """Where there are several: each may be on a server of its own."""

    async def agree(self) -> StoreIdentity:
        """Sets the clock by the store's, makes it one of ours and finds out what it is good for.

        Raises StoreUnavailable, SchemaRefused, StoreUnsafe.
        """
        identity, _ = await self._agree()
        return identity

    async def _agree(self) -> tuple[StoreIdentity, StoreState]:
        for _ in range(CLOCK_ASKS):
            asked_ms = monotonic_ms()
            store_ms = await self._registry.time_ms()
            self._clock.set(store_ms, asked_ms, monotonic_ms())
        writer = self._keys.writer(secrets.token_hex(6))
        lane = Lane(self._address.of(self._keys.base), writer)
        try:
            self.kept, self.waits = await self._agree_with(lane, writer)
            former = self.identity
            identity = await open_schema(
                lane,
                self._keys,
                self._clock.now_ms(),
                partitions=former.partitions if former is not None else self._first_partitions(),
            )
            if former is not None and identity.partitions != former.partitions:
                raise SchemaRefused(
                    f"the store has {identity.partitions} partitions now, and had "
                    f"{former.partitions}: start the broker anew"
                )
            self.identity = identity
            await self._agree_with_others(identity, lane.run_id)
        finally:
            await lane.close()
        state = await self._registry.store_state()
        self._remember(state)
        return identity, state

    def _first_partitions(self) -> int:
        """Of a store that is used for the first time."""
        if self._config.partitions:
            return self._config.partitions
        return PARTITIONS_OF_CLUSTER if self._address.primaries.are_several else 1

    async def _agree_with(self, lane: Lane, key: bytes) -> tuple[Kept, Waits]:
        return await agree(
            lane,
            key,
            Durability[self._config.durability.upper()],
            self._config.replicas,
            min(self._config.durability_wait_ms, self._config.store_timeout_ms // 2),
            accept=self._config.store_checks == "warn",
            ephemeral=self._ephemeral,
        )

    async def _agree_with_others(self, identity: StoreIdentity, run_id: str) -> None:
        """Finds out about the other primaries; all are as good as the worst of them."""
        known = {run_id}
        for partition in range(identity.partitions):
            keys = PartitionKeys(self._config.prefix, partition)
            writer = keys.writer(secrets.token_hex(6))
            lane = Lane(self._address.of(keys.base), writer)
            try:
                await lane.ask(pack(("PING",)))
                if lane.run_id in known:
                    continue
                known.add(lane.run_id)
                kept, waits = await self._agree_with(lane, writer)
            finally:
                await lane.close()
            self.kept = min(self.kept, kept, key=KEPT.index)
            self.waits = self.waits.together_with(waits)

    async def look(self) -> None:
        """Raises StoreUnavailable, and SchemaRefused if the store is another program's now."""
        state = await self._registry.store_state()
        if state.identity is None or state.identity != self._written_identity:
            former = self.identity.id if self.identity is not None else None
            identity, state = await self._agree()
            if identity.id == former:
                _log.info("store.migrated", schema=identity.schema)
            else:
                _log.error(
                    "store.wiped",
                    former=former,
                    store=identity.id,
                    note="the jobs that were in it are gone; clients have to begin anew",
                )
                await self._wiped()
        others = [await server_state(part.ask) for part in self.partitions]
        run_ids = self._run_ids_of(state)
        if run_ids != self._run_ids and len(run_ids) == len(self._run_ids):
            _log.warning(
                "store.replaced",
                note="it was started anew or failed over; what was pushed is compared with it",
            )
            self._replaced()
        self._remember(state)
        servers = [state.server, *others]
        connected = min(server.replicas for server in servers)
        self.waits = replace(self.waits, connected=connected)
        self._look_for_room(servers)

    def _run_ids_of(self, state: StoreState) -> tuple[str, ...]:
        return (state.run_id, *(part.run_id for part in self.partitions))

    def _remember(self, state: StoreState) -> None:
        self._written_identity = state.identity
        self._run_ids = self._run_ids_of(state)

    def _look_for_room(self, servers: Sequence[ServerState]) -> None:
        percent = self._config.store_full_percent
        crowded = [server for server in servers if server.is_full(percent)]
        full = bool(crowded)
        if full != self.full:
            event = "store.full" if full else "store.has_room"
            told = (crowded or servers)[0]
            _log.warning(event, used_bytes=told.used_bytes, max_bytes=told.max_bytes)
        self.full = full

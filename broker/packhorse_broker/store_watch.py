"""What the store is good for, and whether it is still the one that it was.

`agree` at the start; `look` in each sweep. It finds that the store was

    replaced   another process answers: it was started anew, or a replica took its place; the
               last changes may be gone, so all that was pushed is compared with it
    wiped      its identity is gone or another one: all jobs that were in it are gone
    full       so much of its memory is in use that jobs in it might not be able to end any more
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import structlog

from packhorse_broker.clock import StoreClock, monotonic_ms
from packhorse_broker.config import Config
from packhorse_broker.store.durability import AFTER_EXEC, Durability
from packhorse_broker.store.keys import ClientKeys
from packhorse_broker.store.link import StoreAddress
from packhorse_broker.store.promises import Kept, agree
from packhorse_broker.store.registry import Registry, StoreState
from packhorse_broker.store.schema import StoreIdentity, open_schema
from packhorse_broker.store.transaction import Lane

_log = structlog.get_logger(__name__)

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
        self._run_id = ""
        self._written_identity: bytes | None = None
        self.identity: StoreIdentity | None = None
        self.kept: Kept = "unknown"
        self.waits = AFTER_EXEC
        self.full = False

    async def agree(self) -> None:
        """Sets the clock by the store's, makes it one of ours and finds out what it is good for.

        Raises StoreUnavailable, SchemaRefused, StoreUnsafe.
        """
        for _ in range(CLOCK_ASKS):
            asked_ms = monotonic_ms()
            store_ms = await self._registry.time_ms()
            self._clock.set(store_ms, asked_ms, monotonic_ms())
        writer = self._keys.writer(secrets.token_hex(6))
        lane = Lane(self._address, writer)
        try:
            self.kept, self.waits = await agree(
                lane,
                writer,
                Durability[self._config.durability.upper()],
                self._config.replicas,
                min(self._config.durability_wait_ms, self._config.store_timeout_ms // 2),
                accept=self._config.store_checks == "warn",
                ephemeral=self._ephemeral,
            )
            self.identity = await open_schema(lane, self._keys, self._clock.now_ms())
        finally:
            await lane.close()
        self._remember(await self._registry.store_state())

    async def look(self) -> None:
        """Raises StoreUnavailable, and SchemaRefused if the store is another program's now."""
        state = await self._registry.store_state()
        if state.identity is None or state.identity != self._written_identity:
            former = self.identity.id if self.identity is not None else None
            await self.agree()
            assert self.identity is not None
            if self.identity.id == former:
                _log.info("store.migrated", schema=self.identity.schema)
            else:
                _log.error(
                    "store.wiped",
                    former=former,
                    store=self.identity.id,
                    note="the jobs that were in it are gone; clients have to begin anew",
                )
                await self._wiped()
            state = await self._registry.store_state()
        elif state.run_id != self._run_id:
            _log.warning(
                "store.replaced",
                note="it was started anew or failed over; what was pushed is compared with it",
            )
            self._replaced()
        self._remember(state)
        self.waits = replace(self.waits, connected=state.replicas)
        self._look_for_room(state.used_bytes, state.max_bytes)

    def _remember(self, state: StoreState) -> None:
        self._written_identity = state.identity
        self._run_id = state.run_id

    def _look_for_room(self, used_bytes: int, max_bytes: int) -> None:
        full = 100 * used_bytes >= self._config.store_full_percent * max_bytes > 0
        if full != self.full:
            event = "store.full" if full else "store.has_room"
            _log.warning(event, used_bytes=used_bytes, max_bytes=max_bytes)
        self.full = full

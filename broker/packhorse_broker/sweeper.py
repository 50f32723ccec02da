"""Everything that time brings: liveness, retention, and what notices may have missed.

One loop, once a second by default. What it does is decided again from the watched records, so
brokers that sweep at the same time do no harm. No client is given up for time in which this
broker or the store was away: whoever is to be removed must have had a full timeout since.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from packhorse_broker.clock import MAX_DRIFT_MS, StoreClock, monotonic_ms
from packhorse_broker.fanout import CLIENT_GONE, SUPERSEDED, Fanout
from packhorse_broker.feeder import Feeder
from packhorse_broker.notices import Notices
from packhorse_broker.operations import Operations
from packhorse_broker.sessions import Session, Sessions
from packhorse_broker.store.errors import StoreError, StoreUnavailable
from packhorse_broker.store.reader import Reader
from packhorse_broker.store.records import ClientRecord, CorruptRecord
from packhorse_broker.store.registry import Registry

_log = structlog.get_logger(__name__)

PAGE: Final = 1_000
"""Clients or jobs that one sweep sees to."""

LOOK_SWEEPS: Final = 10
"""With other brokers on the store, what a lost notice was about is found so many sweeps later."""

GAP_FACTOR: Final = 5
"""Sweeps further apart than so many periods mean that this process was stopped meanwhile."""


class Sweeper:
    """`run` until cancelled."""

    def __init__(
        self,
        sessions: Sessions,
        registry: Registry,
        reader: Reader,
        operations: Operations,
        feeder: Feeder,
        fanout: Fanout,
        notices: Notices,
        clock: StoreClock,
        *,
        sweep_ms: int,
        flush_ms: int,
    ) -> None:
        self._sessions = sessions
        self._registry = registry
        self._reader = reader
        self._operations = operations
        self._feeder = feeder
        self._fanout = fanout
        self._notices = notices
        self._clock = clock
        self._sweep_ms = sweep_ms
        self._flush_ms = flush_ms
        self._watchful_since_ms = monotonic_ms()
        """Since when this broker has been up and in touch with the store without a break."""
        self._swept_ms = monotonic_ms()
        self._looked_ms = monotonic_ms()

    async def run(self) -> None:
        period_s = min(self._sweep_ms, self._flush_ms) / 1000
        while True:
            await asyncio.sleep(period_s)
            try:
                await self.sweep()
            except StoreUnavailable as error:
                self._watchful_since_ms = monotonic_ms()
                _log.warning("sweep.store_unavailable", error=str(error))

    async def sweep(self) -> None:
        """One round. Raises StoreUnavailable; what was not done is done by the next."""
        now_ms = monotonic_ms()
        if now_ms - self._swept_ms > GAP_FACTOR * self._sweep_ms:
            self._watchful_since_ms = now_ms
        self._swept_ms = now_ms
        for step in (
            self._set_clock,
            self._announce,
            self._renew,
            self._remove_silent,
            self._finish_removals,
            self._expire,
            self._look_again,
        ):
            await _guarded(step)

    async def _set_clock(self) -> None:
        drift_ms = self._clock.set(await self._registry.time_ms())
        if abs(drift_ms) > MAX_DRIFT_MS:
            _log.warning("clock.jumped", drift_ms=round(drift_ms))
            self._watchful_since_ms = monotonic_ms()

    async def _announce(self) -> None:
        """Says that this broker runs, and learns whether others do."""
        brokers = await self._registry.announce_broker(self._notices.broker, self._clock.now_ms())
        await self._notices.say_running()
        if self._notices.peers != brokers - 1:
            _log.info("brokers.counted", others=brokers - 1)
            self._notices.peers = brokers - 1

    async def _renew(self) -> None:
        """Tells the store who was heard of, in one command for all."""
        offset_ms = self._clock.now_ms() - monotonic_ms()
        heard = {
            session: session.last_response_ms
            for session in self._sessions
            if session.last_response_ms > session.renewed_ms
        }
        liveness = await self._registry.renew(
            {
                session.client: int(response_ms + offset_ms) + session.timeout_ms
                for session, response_ms in heard.items()
            }
        )
        for session, response_ms in heard.items():
            session.renewed_ms = response_ms
            newest = liveness.connections[session.client]
            if newest is None:
                session.outlet.close(*CLIENT_GONE)
            elif newest != session.connection:
                session.outlet.close(*SUPERSEDED)

    async def _remove_silent(self) -> None:
        now_ms = self._clock.now_ms()
        for client in await self._registry.silent(now_ms, PAGE):
            session = self._sessions.get(client.id)
            if self._spared(client, session):
                continue
            if await self._operations.remove_client(client.id, if_silent_at=now_ms):
                _log.info("client.removed", client=client.id, because="silent")
                await self._notices.say_gone(client.id)

    def _spared(self, client: ClientRecord, session: Session | None) -> bool:
        """Whether its silence proves nothing: we heard of it, or were not there to hear."""
        now_ms = monotonic_ms()
        if session is not None and now_ms - session.last_response_ms < client.timeout_ms:
            return True
        patience_ms = client.timeout_ms
        if client.broker != self._notices.broker:
            patience_ms += 2 * self._flush_ms
        return now_ms - self._watchful_since_ms < patience_ms

    async def _finish_removals(self) -> None:
        for client, since_ms in (await self._registry.leaving(PAGE)).items():
            await self._operations.finish_removal(client, since_ms)

    async def _expire(self) -> None:
        due = await self._reader.due(self._clock.now_ms(), PAGE)
        if due:
            await self._operations.expire(due)

    async def _look_again(self) -> None:
        """Finds what no notice told: at once for queues, which is cheap, else now and then."""
        self._feeder.queued_all()
        now_ms = monotonic_ms()
        if self._notices.peers and now_ms - self._looked_ms >= LOOK_SWEEPS * self._sweep_ms:
            self._looked_ms = now_ms
            self._fanout.missed()


async def _guarded(step: Callable[[], Awaitable[None]]) -> None:
    """What is wrong with one thing must not keep the others from being done."""
    try:
        await step()
    except StoreUnavailable:
        raise
    except (StoreError, CorruptRecord) as error:
        _log.error("sweep.failed", step=step.__name__, error=str(error))
    except Exception:  # noqa: BLE001 - the next sweep tries again
        _log.exception("sweep.failed", step=step.__name__)

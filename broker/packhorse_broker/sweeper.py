"""What is looked after once in a while: liveness, and what notices may have missed.

One loop, once a second by default. What it does is decided again from the watched records, so
brokers that sweep at the same time do no harm. No client is given up for time in which this
broker or the store was away: whoever is to be removed must have had a full timeout since.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import structlog

from packhorse_broker.clock import MAX_DRIFT_MS, StoreClock, monotonic_ms
from packhorse_broker.delivery import Delivery
from packhorse_broker.fanout import Fanout, close_if_outdated
from packhorse_broker.feeder import Feeder
from packhorse_broker.notices import Notices
from packhorse_broker.operations import Operations
from packhorse_broker.outages import Outages
from packhorse_broker.sessions import Session, Sessions
from packhorse_broker.store.errors import StoreError, StoreUnavailable
from packhorse_broker.store.readers import Reading
from packhorse_broker.store.records import ClientRecord, CorruptRecord
from packhorse_broker.store.registry import LastRun, Registry
from packhorse_broker.store.waiting import Waiting

_log = structlog.get_logger(__name__)

PAGE: Final = 1_000
"""Clients or jobs that one sweep sees to."""

LOOK_SWEEPS: Final = 10
"""What a lost notice was about, or went wrong in some other way, is found so many sweeps later.
Each of them looks for its part of the sessions, of which there may be thousands."""


class Sweeper:
    """`run` until cancelled."""

    def __init__(
        self,
        sessions: Sessions,
        registry: Registry,
        reader: Reading,
        operations: Operations,
        feeder: Feeder,
        waiting: Waiting,
        delivery: Delivery,
        fanout: Fanout,
        notices: Notices,
        clock: StoreClock,
        outages: Outages,
        *,
        sweep_ms: int,
        flush_ms: int,
        also: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self._sessions = sessions
        self._registry = registry
        self._reader = reader
        self._operations = operations
        self._feeder = feeder
        self._waiting = waiting
        self._delivery = delivery
        self._fanout = fanout
        self._notices = notices
        self._clock = clock
        self._outages = outages
        self._sweep_ms = sweep_ms
        self._flush_ms = flush_ms
        self._also = also
        """What else is done in each sweep."""
        self._looked_ms = monotonic_ms()
        self._part = 0
        """Of the sessions, that was looked for last."""
        self._last_run: LastRun | None = None
        """Before this broker ran."""

    async def begin(self) -> None:
        """Says for the first time that this broker runs, and learns until when others did. Raises
        StoreUnavailable; may be repeated."""
        if self._last_run is None:
            self._last_run = await self._registry.last_run()
        self._outages.begin(self._last_run, self._clock.now_ms())
        await self._say_running()

    async def run(self) -> None:
        period_s = min(self._sweep_ms, self._flush_ms) / 1000
        while True:
            await asyncio.sleep(period_s)
            try:
                await self.sweep()
            except StoreUnavailable as error:
                self._outages.failed()
                _log.warning("sweep.store_unavailable", error=str(error))

    async def sweep(self) -> None:
        """One round. Raises StoreUnavailable; what was not done is done by the next. Where a store
        has several servers and one is away, what does not need that one is done."""
        for step in (
            self._set_clock,
            self._announce,
            self._renew,
            self._remove_silent,
            self._finish_removals,
            self._look_again,
        ):
            await _guarded(step)
        lost: StoreUnavailable | None = None
        for also in self._also:
            try:
                await _guarded(also)
            except StoreUnavailable as error:
                lost = error
        if lost is not None:
            raise lost

    async def _set_clock(self) -> None:
        asked_ms = monotonic_ms()
        store_ms = await self._registry.time_ms()
        answered_ms = monotonic_ms()
        drift_ms = self._clock.set(store_ms, asked_ms, answered_ms)
        if abs(drift_ms) > MAX_DRIFT_MS:
            _log.warning("clock.jumped", drift_ms=round(drift_ms))
            self._outages.failed()

    async def _announce(self) -> None:
        """Says that this broker runs, and learns whether others do."""
        brokers = await self._say_running()
        if self._notices.peers != len(brokers) - 1:
            _log.info("brokers.counted", others=len(brokers) - 1)
            self._notices.peers = len(brokers) - 1
        self._delivery.groups.running(brokers)
        try:
            await self._notices.say_running()
        except StoreUnavailable as error:
            _log.warning("notices.unsaid", error=str(error))

    async def _say_running(self) -> frozenset[str]:
        """By that the store has taken a change; which brokers run."""
        now_ms = self._clock.now_ms()
        brokers = await self._registry.announce_broker(
            self._notices.broker, now_ms, self._outages.under_way(now_ms)
        )
        self._outages.sound(now_ms)
        return brokers

    async def _renew(self) -> None:
        """Tells the store who was heard of, and learns whose connection is not the newest."""
        offset_ms = self._clock.now_ms() - monotonic_ms()
        sessions = list(self._sessions)
        heard = {
            session: session.last_response_ms
            for session in sessions
            if session.last_response_ms > session.renewed_ms
        }
        await self._registry.renew(
            {
                session.client: int(response_ms + offset_ms) + session.timeout_ms
                for session, response_ms in heard.items()
            }
        )
        for session, response_ms in heard.items():
            session.renewed_ms = response_ms
        newest = await self._registry.newest_connections([one.client for one in sessions])
        for session in sessions:
            close_if_outdated(session, newest[session.client])

    async def _remove_silent(self) -> None:
        now_ms = self._clock.now_ms()
        for client in await self._registry.silent(now_ms, PAGE):
            session = self._sessions.get(client.id)
            if self._spared(client, session):
                continue
            if await self._operations.remove_client(client.id, if_silent_at=now_ms):
                _log.info("client.removed", client=client.id, because="silent")
                await self._notices.say_moved(client.id)

    def _spared(self, client: ClientRecord, session: Session | None) -> bool:
        """Whether its silence proves nothing: we heard of it, or were not there to hear."""
        heard_ms = session.last_response_ms if session is not None else float("-inf")
        if monotonic_ms() - heard_ms < client.timeout_ms:
            return True
        patience_ms = client.timeout_ms
        if client.broker != self._notices.broker:
            patience_ms += 2 * self._flush_ms
        return self._outages.spares(client.timeout_ms, patience_ms, self._clock.now_ms())

    async def _finish_removals(self) -> None:
        for client, since_ms in (await self._registry.leaving(PAGE)).items():
            await _guarded(partial(self._operations.finish_removal, client, since_ms))

    async def _look_again(self) -> None:
        """Finds what no notice told: at once where that is cheap, else now and then."""
        self._waiting.look(self._feeder.thought_empty())
        for session in self._sessions:
            if session.behind:
                self._delivery.catch_up(session)
        now_ms = monotonic_ms()
        if now_ms - self._looked_ms >= self._sweep_ms:
            self._looked_ms = now_ms
            self._part = (self._part + 1) % LOOK_SWEEPS
            self._fanout.missed_by(
                session
                for session in self._sessions
                if hash(session.client) % LOOK_SWEEPS == self._part
            )
            if not self._part:
                self._fanout.missed_by_many()


async def _guarded(step: Callable[[], Awaitable[None]]) -> None:
    """What is wrong with one thing must not keep the others from being done."""
    try:
        await step()
    except StoreUnavailable:
        raise
    except (StoreError, CorruptRecord) as error:
        _log.error("sweep.failed", step=_name(step), error=str(error))
    except Exception:  # noqa: BLE001 - the next sweep tries again
        _log.exception("sweep.failed", step=_name(step))


def _name(step: Callable[[], Awaitable[None]]) -> str:
    called = step.func if isinstance(step, partial) else step
    return str(called.__name__)

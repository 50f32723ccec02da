"""Moves on what time alone moves: delays, timeouts, grace times, retention.

Every broker sleeps until the earliest moment that it knows of and then asks the machine about
each job that is due; which of them comes first makes no difference. It learns of earlier moments
from what it commits itself and from the notices of others, and looks into the store now and then
in case it missed one.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from packhorse_broker.clock import StoreClock
from packhorse_broker.jobs.commands import Due
from packhorse_broker.jobs.deadlines import due_at
from packhorse_broker.jobs.model import Applied, State
from packhorse_broker.operations import Operations
from packhorse_broker.store.changes import Change
from packhorse_broker.store.errors import StoreError
from packhorse_broker.store.readers import Reading

_log = structlog.get_logger(__name__)

PAGE: Final = 500
"""Jobs that are moved on in one batch."""

LOOK_MS: Final = 1_000
"""How often to look for what nobody told of."""

STAGGER_MS: Final = 15
"""With other brokers on the store: up to so much later, drawn at random, so that not all of them
are at the same jobs."""

MAX_STUCK: Final = 1_000
"""Entries whose jobs are not due, that one look goes past; the next goes on behind them."""


class Timers:
    """`run` until cancelled; `committed` and `expect` tell of moments to come."""

    def __init__(
        self,
        reader: Reading,
        operations: Operations,
        clock: StoreClock,
        *,
        has_peers: Callable[[], bool],
    ) -> None:
        self._reader = reader
        self._operations = operations
        self._clock = clock
        self._has_peers = has_peers
        self._next_ms = 0
        """The earliest moment that is known of, by the store's clock."""
        self._sooner = asyncio.Event()
        self._stuck = 0

    def committed(self, changes: Sequence[Change]) -> None:
        self.expect(earliest(changes))

    def expect(self, due_ms: int) -> None:
        """Something is due then; 0: nothing."""
        if due_ms and due_ms < self._next_ms:
            self._next_ms = due_ms
            self._sooner.set()

    async def run(self) -> None:
        while True:
            try:
                await self._look()
            except StoreError as error:
                _log.warning("timers.store_unavailable", error=str(error))
                self._next_ms = self._clock.now_ms() + LOOK_MS
            except Exception:  # noqa: BLE001 - the next look tries again
                _log.exception("timers.failed")
                self._next_ms = self._clock.now_ms() + LOOK_MS
            await self._sleep()

    async def _sleep(self) -> None:
        while True:
            self._sooner.clear()
            wait_ms = self._next_ms - self._clock.now_ms()
            if wait_ms <= 0:
                break
            try:
                await asyncio.wait_for(self._sooner.wait(), wait_ms / 1000)
            except TimeoutError:
                break
        if self._has_peers():
            await asyncio.sleep(STAGGER_MS / 1000 * random.random())

    async def _look(self) -> None:
        """Moves on what is due, and learns when to look again."""
        stuck_before = self._stuck
        while True:
            now_ms = self._clock.now_ms()
            self._next_ms = now_ms + LOOK_MS
            due, next_ms = await self._reader.due(now_ms, PAGE, skip=self._stuck)
            if not due:
                self._stuck = 0
                self.expect(next_ms)
                return
            results = await self._operations.applied([(job_id, Due()) for job_id in due])
            moved = sum(isinstance(result, Applied) and result.changed for result in results)
            if not moved:
                # Stale entries, or another broker was quicker: look past them.
                self._stuck += len(due)
                if self._stuck - stuck_before >= MAX_STUCK:
                    return


def earliest(changes: Sequence[Change]) -> int:
    """When the first of these jobs is due, in ms; 0: none of them is."""
    found = 0
    for change in changes:
        job = change.job
        if change.removed or (job.terms is None and job.course is None and not job.expires_at):
            continue
        for moment in (due_at(job), job.delayed_until if job.state is State.PENDING else 0):
            if moment and (moment < found or not found):
                found = moment
    return found

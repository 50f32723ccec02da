"""Moves on what time alone moves: delays, timeouts, grace times, retention.

Every broker sleeps until the earliest moment that it knows of and then asks the machine about
each job that is due; which of them comes first makes no difference. It learns of earlier moments
from what it commits itself and from the notices of others, and looks into the store now and then
in case it missed one.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog

from packhorse_broker.clock import StoreClock
from packhorse_broker.jobs.commands import Due
from packhorse_broker.jobs.deadlines import due_at
from packhorse_broker.jobs.model import Applied, Job, State
from packhorse_broker.jobs.outages import Outage
from packhorse_broker.operations import Operations
from packhorse_broker.outages import Outages
from packhorse_broker.store.changes import Change
from packhorse_broker.store.errors import StoreError, StoreUnavailable
from packhorse_broker.store.readers import Reading

_log = structlog.get_logger(__name__)

PAGE: Final = 500
"""Jobs that are moved on in one batch."""

LOOK_MS: Final = 1_000
"""How often to look for what nobody told of."""

STAGGER_MS: Final = 15
"""With other brokers on the store: up to so much later, drawn at random, so that not all of them
are at the same jobs."""

PATIENCE_S: Final = 2.0
"""How long one batch may take before it is looked again what is due."""

MAX_STUCK: Final = 1_000
"""Entries whose jobs are not due, that one look goes past; the next goes on behind them."""


MAX_PUT_OFF: Final = 100_000
"""Jobs that are remembered for an outage; others are asked about with each look."""

PUT_OFF_MS: Final = 30_000
"""They are asked about again after so long at the latest: another broker, that is gone now, may
have made something else of them."""


class Timers:
    """`run` until cancelled; `committed` and `expect` tell of moments to come."""

    def __init__(
        self,
        reader: Reading,
        operations: Operations,
        clock: StoreClock,
        outages: Outages,
        *,
        has_peers: Callable[[], bool],
    ) -> None:
        self._reader = reader
        self._operations = operations
        self._clock = clock
        self._outages = outages
        self._has_peers = has_peers
        self._next_ms = 0
        """The earliest moment that is known of, by the store's clock."""
        self._sooner = asyncio.Event()
        self._stuck: Counter[int] = Counter()
        self._put_off: dict[str, int] = {}
        """Jobs with a timeout that is not over for an outage, and when to ask about them again."""

    def committed(self, changes: Sequence[Change]) -> None:
        if self._put_off:
            for change in changes:
                self._put_off.pop(change.job.id, None)
        self.expect(self.earliest(changes))

    def earliest(self, changes: Sequence[Change]) -> int:
        """When the first of these jobs is due, in ms; 0: none of them is.

        What outages add is reckoned only where it keeps from looking too early: else each change
        of a job whose timeout they put off would bring about a look.
        """
        due_ms = _earliest(changes)
        if due_ms and due_ms < self._next_ms:
            return _earliest(changes, self._outages.known.ended)
        return due_ms

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
                # Not wait_for: in Python 3.11 it swallows a cancellation that comes with the event.
                async with asyncio.timeout(wait_ms / 1000):
                    await self._sooner.wait()
            except TimeoutError:
                break
        if self._has_peers():
            await asyncio.sleep(STAGGER_MS / 1000 * random.random())

    async def _look(self) -> None:
        """Moves on what is due, and learns when to look again."""
        asked_in_vain = 0
        while True:
            now_ms = self._clock.now_ms()
            self._next_ms = now_ms + LOOK_MS
            due, next_ms = await self._reader.due(now_ms, PAGE, skip=self._stuck)
            if not due:
                self._stuck.clear()
                self._forget_put_off(now_ms)
                self.expect(next_ms)
                return
            asked = [job_id for job_id in due if self._put_off.get(job_id, 0) <= now_ms]
            moved, put_off = await self._move(asked)
            if moved:
                self._pass_by(set(due).difference(asked).union(put_off))
                continue
            # Stale entries, or another broker was quicker: look past them.
            self._pass_by(due)
            asked_in_vain += len(asked) - len(put_off)
            if asked_in_vain >= MAX_STUCK:
                return

    def _pass_by(self, jobs: Iterable[str]) -> None:
        self._stuck.update(map(self._operations.home_of, jobs))

    async def _move(self, asked: Sequence[str]) -> tuple[int, list[str]]:
        """How many of these were due, and those for which an outage puts it off."""
        if not asked:
            return 0, []
        outages = self._outages.known
        due = [(job_id, Due(outages)) for job_id in asked]
        try:
            # With several servers the jobs of all others wait for one that is away.
            async with asyncio.timeout(PATIENCE_S):
                results = await self._operations.applied(due)
        except TimeoutError as error:
            raise StoreUnavailable("what is due was not moved on in time") from error
        now_ms = self._clock.now_ms()
        unmoved = [
            result.job for result in results if isinstance(result, Applied) and not result.changed
        ]
        put_off = [job for job in unmoved if 0 < _next_ms(job) <= now_ms]
        for job in put_off[: MAX_PUT_OFF - len(self._put_off)]:
            due_ms = _next_ms(job, outages.at(now_ms))
            self._put_off[job.id] = min(due_ms, now_ms + PUT_OFF_MS)
        moved = sum(isinstance(result, Applied) and result.changed for result in results)
        return moved, [job.id for job in put_off]

    def _forget_put_off(self, now_ms: int) -> None:
        for job_id in [job_id for job_id, due_ms in self._put_off.items() if due_ms <= now_ms]:
            del self._put_off[job_id]


def _earliest(changes: Sequence[Change], outages: Sequence[Outage] = ()) -> int:
    """When the first of these jobs is due, in ms; 0: none of them is."""
    found = 0
    for change in changes:
        job = change.job
        if change.removed or (job.terms is None and job.course is None and not job.expires_at):
            continue
        moment = _next_ms(job, outages)
        if moment and (moment < found or not found):
            found = moment
    return found


def _next_ms(job: Job, outages: Sequence[Outage] = ()) -> int:
    """When time moves the job, in ms; 0: it does not."""
    due_ms = due_at(job, outages)
    delayed_ms = job.delayed_until if job.state is State.PENDING else 0
    return min(due_ms, delayed_ms) if due_ms and delayed_ms else due_ms or delayed_ms

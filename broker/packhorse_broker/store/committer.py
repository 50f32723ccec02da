"""Group commit: what many callers ask of one partition goes into one transaction.

While a transaction is in flight the next batch collects; what ends or claims jobs goes before what
creates them (`backlog.py`). If something changed that a batch depends on, it is read and decided
again (`writer.py`); one that keeps being disturbed is split in halves, so that one contended job
can't hold up its neighbours. In a store that is full what grows is refused, and the rest of its
batch goes on. Nobody is answered before EXEC was.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeGuard

import structlog

from packhorse_broker.jobs.commands import Claim
from packhorse_broker.jobs.model import Rules
from packhorse_broker.store.backlog import MAX_BATCH, Backlog, Room
from packhorse_broker.store.candidates import Candidates
from packhorse_broker.store.changes import Change
from packhorse_broker.store.durability import Waits
from packhorse_broker.store.errors import StoreError, StoreFull, StoreUnavailable
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.round import Clock, Round
from packhorse_broker.store.shares import ALONE, Rivals, Shares
from packhorse_broker.store.supply import UsageElsewhere
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store.types import TypeBook
from packhorse_broker.store.work import Draw, Failed, Result, Submission, Work, grows, halves
from packhorse_broker.store.writer import RETRY_PAUSE_S, Publish, Writer

_log = structlog.get_logger(__name__)

CONFLICTS_BEFORE_SPLIT: Final = 2
"""A batch that was disturbed this often is split."""

MAX_CONFLICTS: Final = 200
"""A single command that was disturbed this often gives up as unavailable."""

CONFLICT_PAUSE_MS: Final = 5
"""Longest pause after a conflict, drawn at random so that brokers get out of step."""

EXPIRY_LOOKS: Final = 4
"""How often, in the time that work may wait, is looked for what has waited too long."""

_OVERDUE: Final = StoreUnavailable("the store did not come to it in time")
_UNKNOWN: Final = StoreUnavailable("the store did not answer in time; it may have been done")
_CLOSED: Final = StoreUnavailable("the broker closed before it was done")


class Committer:
    """The one writer of a partition's jobs in this process. `start`, `submit`, `close`."""

    def __init__(
        self,
        lane: Lane,
        keys: PartitionKeys,
        rules: Rules,
        clock: Clock,
        *,
        types: TypeBook,
        wait_ms: int,
        waits: Callable[[], Waits],
        publish: Publish,
        committed: Callable[[Sequence[Change]], None],
        rivals: Callable[[str], Rivals] = lambda _: ALONE,
        left: Callable[[str], None] = lambda _: None,
        in_use: Callable[[str], bool] = lambda _: True,
        elsewhere: UsageElsewhere | None = None,
        room: Room | None = None,
    ) -> None:
        """`in_use`: whether anybody takes a type; `room`: what this one shares with other
        committers."""
        self._lane = lane
        self._wait_ms = wait_ms
        self._committed = committed
        self._backlog = Backlog(room if room is not None else Room())
        self._in_flight: list[Work] = []
        self._arrived = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._expiry: asyncio.Task[None] | None = None
        self.shares = Shares(rivals, clock.now_ms)
        self._left = left
        """Told of types of which jobs were left to other brokers, who may not come to them."""
        self._writer = Writer(
            lane,
            keys,
            rules,
            clock,
            types=types,
            waits=waits,
            publish=publish,
            candidates=Candidates(keys, self.shares, clock.now_ms, in_use),
            elsewhere=elsewhere,
        )
        self.commits = 0
        self.conflicts = 0
        self.commands = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="packhorse-committer")
        self._expiry = asyncio.create_task(self._expire(), name="packhorse-committer-expiry")

    def submit(self, work: Work) -> None:
        """Queues work for the next batch; its `done` is called once, after EXEC or a failure."""
        work.since_s = asyncio.get_running_loop().time()
        if self._closing or not self._backlog.add(work):
            _fail([work], StoreUnavailable("the broker has no room for more work right now"))
            return
        self._arrived.set()

    def keep(self, jobs: Sequence[str]) -> None:
        """This broker queues these and has places for them: nobody else is told."""
        self.shares.keep(jobs)

    def passed_on(self, jobs: Sequence[str], types: Sequence[str], broker: str) -> None:  # noqa: ARG002 - it matters to `Committers`
        """A broker, perhaps this one, queues these, of these types, and has no places for them."""
        self.shares.passed_on(jobs, broker)

    def look_everywhere(self) -> None:
        """Each draw looks at the whole queue."""

    def filled(self, partition: int, types: Iterable[str]) -> None:
        """The same."""

    def begin_anew(self) -> None:
        """The store was wiped: which types it has seen is not known any more."""
        self._writer.begin_anew()

    @property
    def waiting(self) -> int:
        """Commands that wait for their batch."""
        return self._backlog.size

    @property
    def crowded(self) -> bool:
        """Whether so much waits that whoever creates is to be slowed down."""
        return self._backlog.crowded

    async def close(self) -> None:
        """Commits what was submitted, then ends; later work is refused."""
        self._closing = True
        self._arrived.set()
        if self._task is not None and self._expiry is not None:
            await asyncio.wait({self._task}, timeout=2 * self._wait_ms / 1000)
            self._task.cancel()
            self._expiry.cancel()
            await asyncio.gather(self._task, self._expiry, return_exceptions=True)
            _fail(self._backlog.overdue(float("inf")), _CLOSED)
        await self._lane.close()

    async def _run(self) -> None:
        while True:
            if self._backlog:
                await self._commit(self._backlog.next_batch())
            elif self._closing:
                return
            else:
                self._arrived.clear()
                await self._arrived.wait()

    async def _expire(self) -> None:
        """Answers what waits too long for a transaction whose outcome is not known yet, or behind
        it. What was in it is settled when that is known; nobody is answered twice."""
        while True:
            await asyncio.sleep(self._wait_ms / 1000 / EXPIRY_LOOKS)
            since_s = asyncio.get_running_loop().time() - self._wait_ms / 1000
            _fail(self._backlog.overdue(since_s), _OVERDUE)
            for work in self._in_flight if self._lane.in_doubt else ():
                if work.since_s < since_s and _may_be_answered(work):
                    _call(work.done, [Failed(_UNKNOWN)] * work.size, True)
                    work.done = _answered

    async def _commit(self, batch: list[Work], *, into_full: bool = False) -> None:
        """Settles every member of the batch, each once, with a result or a failure."""
        try:
            self._in_flight = batch
            try:
                divide = await self._try(batch, into_full=into_full)
            finally:
                self._in_flight = []
        except StoreFull as error:
            _fail([work for work in batch if into_full or grows(work)], error)
            rest = [work for work in batch if not into_full and not grows(work)]
            if rest:
                await self._commit(rest, into_full=True)
            return
        except StoreError as error:
            _fail(batch, error)
            return
        except asyncio.CancelledError:
            _fail(batch, StoreUnavailable("the broker closes; whether it was done is not known"))
            raise
        except Exception as error:  # noqa: BLE001 - one failure costs one batch
            _log.exception("committer.failed", commands=sum(work.size for work in batch))
            _fail(batch, error)
            return
        parts = deque(halves(batch) if divide else [])
        try:
            while parts:
                await self._commit(parts.popleft(), into_full=into_full)
        finally:
            for part in parts:
                _fail(part, _CLOSED)

    async def _try(self, batch: list[Work], *, into_full: bool) -> bool:
        """Commits the batch and settles it, or says that it has to be divided.

        Raises StoreUnavailable with none of it written, StoreInconsistent.
        """
        size = sum(work.size for work in batch)
        if into_full and size > MAX_BATCH:
            return True  # A script takes only so many arguments.
        deadline = min(work.since_s for work in batch) + self._wait_ms / 1000
        conflicts = 0
        while True:
            try:
                round_ = await self._writer.attempt(batch, into_full=into_full)
            except StoreFull:
                raise
            except StoreUnavailable:
                if asyncio.get_running_loop().time() >= deadline:
                    raise
                await asyncio.sleep(random.uniform(*RETRY_PAUSE_S))
                continue
            if round_ is not None:
                self.commits += bool(round_.changes)
                self._settle(batch, round_)
                for job_type in round_.left:
                    _call(self._left, job_type)
                return False
            conflicts += 1
            self.conflicts += 1
            if conflicts >= CONFLICTS_BEFORE_SPLIT and size > 1:
                return True
            if conflicts >= MAX_CONFLICTS:
                raise StoreUnavailable("the job keeps being changed by others")
            await asyncio.sleep(random.uniform(0, CONFLICT_PAUSE_MS) / 1000)

    # -- answer

    def _settle(self, batch: list[Work], round_: Round) -> None:
        results = iter(round_.results)
        drawn = iter(round_.drawn)
        for work in batch:
            self.commands += work.size
            if isinstance(work, Submission):
                _call(work.done, next(results), round_.durable)
            else:
                _call(work.done, *next(drawn))
        if round_.changes:
            _call(self._committed, round_.told)


def _call(callback: Callable[..., None], *args: object) -> None:
    """What was committed stays so, whatever the one who is told makes of it."""
    try:
        callback(*args)
    except Exception:  # noqa: BLE001 - one failure costs one request
        _log.exception("committer.callback_failed")


def _may_be_answered(work: Work) -> TypeGuard[Submission]:
    """Whether its caller can do without what comes of it. Not who claims: a claim that nobody
    learns of is held for nothing; nor who only waits for others."""
    return (
        isinstance(work, Submission)
        and bool(work.items)
        and not any(type(command) is Claim for _, command in work.items)
    )


def _answered(_: list[Result], __: bool) -> None:
    """Takes the results of work whose caller could not wait for them."""


def _fail(batch: list[Work], error: Exception) -> None:
    for work in batch:
        if isinstance(work, Draw):
            _call(work.done, [], True)
        else:
            _call(work.done, [Failed(error)] * work.size, True)

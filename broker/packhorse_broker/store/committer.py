"""Group commit: what many callers ask of one partition goes into one transaction.

While a transaction is in flight the next batch collects. A batch watches the records of its
jobs and nothing else, decides each command in the order of arrival (the second command for a job
on the first one's result), and writes everything in one EXEC. If a record changed meanwhile the
batch is read and decided again; one that keeps being disturbed is split in halves, so that one
contended job can't hold up its neighbours. Nobody is answered before EXEC was.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog
from msgspec.structs import replace

from packhorse_broker.jobs.commands import Claim, Command
from packhorse_broker.jobs.machine import decide
from packhorse_broker.jobs.model import Applied, Decision, Job, Now, Rules, State
from packhorse_broker.store.backlog import Backlog
from packhorse_broker.store.changes import Change, Writes
from packhorse_broker.store.errors import StoreError, StoreUnavailable
from packhorse_broker.store.keys import PartitionKeys, job_of_member
from packhorse_broker.store.link import pack
from packhorse_broker.store.records import CorruptRecord, decode_job
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store.work import Draw, Failed, Result, Submission, Work, halves

_log = structlog.get_logger(__name__)

MAX_DRAWN_BYTES: Final = 8 * 1024 * 1024
"""Payloads kept apart that one batch of claims reads."""

MAX_UNDRAWABLE: Final = 1_000
"""Entries at the head of a queue that are looked past because they can't be claimed."""

MAX_TOLD: Final = 1_000
"""Corrupt records that are named in the log, once each."""

CONFLICTS_BEFORE_SPLIT: Final = 2
"""A batch that was disturbed this often is split."""

MAX_CONFLICTS: Final = 200
"""A single command that was disturbed this often gives up as unavailable."""

CONFLICT_PAUSE_MS: Final = 5
"""Longest pause after a conflict, drawn at random so that brokers get out of step."""

EXPIRY_LOOKS: Final = 4
"""How often, in the time that work may wait, is looked for what has waited too long."""

_OVERDUE: Final = StoreUnavailable("the store did not come to it in time")
_CLOSED: Final = StoreUnavailable("the broker closed before it was done")

RETRY_PAUSE_S: Final = (0.01, 0.1)
"""Bounds of the random pause before a store that was away is tried again."""


class Clock(Protocol):
    """The store's time, and places in the queue that only grow."""

    def now_ms(self) -> int: ...
    def next_order(self) -> int: ...


Publish = Callable[[Sequence[Change]], bytes | None]
"""What other brokers are told of changes, sent in the same transaction; None: nothing."""


class _Round:
    """One attempt at a batch: what was read, and what was decided on it."""

    def __init__(self, records: dict[str, Job | None], broken: dict[str, CorruptRecord]) -> None:
        self.records = records
        self.broken = broken
        self.changes: dict[str, Change] = {}
        self.results: list[list[Result]] = []
        self.drawn: list[tuple[list[Applied], bool]] = []


class _Window:
    """The head of a queue, as far as a batch wants it."""

    def __init__(self, candidates: deque[str], full: bool) -> None:
        self.candidates = candidates
        self.full = full
        """Whether the queue may hold more."""
        self.undrawable = 0
        """Candidates that were passed over though nobody in this batch took them."""


class Committer:
    """The one writer of a partition's jobs in this process. `start`, `submit`, `close`."""

    def __init__(
        self,
        lane: Lane,
        keys: PartitionKeys,
        rules: Rules,
        clock: Clock,
        *,
        wait_ms: int,
        publish: Publish,
        committed: Callable[[Sequence[Change]], None],
    ) -> None:
        self._lane = lane
        self._keys = keys
        self._rules = rules
        self._clock = clock
        self._wait_ms = wait_ms
        self._publish = publish
        self._committed = committed
        self._backlog = Backlog()
        self._arrived = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._expiry: asyncio.Task[None] | None = None
        self._known_types: set[str] = set()
        self._undrawable: dict[str, int] = {}
        """By type: how many entries at the head of the queue to look past."""
        self._told_corrupt: set[str] = set()
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

    @property
    def waiting(self) -> int:
        """Commands that wait for their batch."""
        return self._backlog.size

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
            await self._arrived.wait()
            batch = self._backlog.next_batch()
            if not batch:
                if self._closing:
                    return
                self._arrived.clear()
                continue
            await self._commit(batch)

    async def _expire(self) -> None:
        """Answers what waits too long behind a transaction whose outcome is not known yet."""
        while True:
            await asyncio.sleep(self._wait_ms / 1000 / EXPIRY_LOOKS)
            now_s = asyncio.get_running_loop().time()
            _fail(self._backlog.overdue(now_s - self._wait_ms / 1000), _OVERDUE)

    async def _commit(self, batch: list[Work]) -> None:
        """Settles every member of the batch, each once, with a result or a failure."""
        try:
            divide = await self._try(batch)
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
                await self._commit(parts.popleft())
        finally:
            for part in parts:
                _fail(part, _CLOSED)

    async def _try(self, batch: list[Work]) -> bool:
        """Commits the batch and settles it, or says that it has to be divided.

        Raises StoreUnavailable with none of it written, StoreInconsistent.
        """
        deadline = min(work.since_s for work in batch) + self._wait_ms / 1000
        conflicts = 0
        while True:
            try:
                round_ = await self._attempt(batch)
            except StoreUnavailable:
                if asyncio.get_running_loop().time() >= deadline:
                    raise
                await asyncio.sleep(random.uniform(*RETRY_PAUSE_S))
                continue
            if round_ is not None:
                self._settle(batch, round_)
                return False
            conflicts += 1
            self.conflicts += 1
            if conflicts >= CONFLICTS_BEFORE_SPLIT and sum(work.size for work in batch) > 1:
                return True
            if conflicts >= MAX_CONFLICTS:
                raise StoreUnavailable("the job keeps being changed by others")
            await asyncio.sleep(random.uniform(0, CONFLICT_PAUSE_MS) / 1000)

    async def _attempt(self, batch: list[Work]) -> _Round | None:
        """Watch, read, decide, write, EXEC; None after a conflict."""
        windows = await self._candidates([work for work in batch if isinstance(work, Draw)])
        ids = dict.fromkeys(
            [
                *(
                    job_id
                    for work in batch
                    if isinstance(work, Submission)
                    for job_id, _ in work.items
                ),
                *(job_id for window in windows.values() for job_id in window.candidates),
            ]
        )
        round_ = await self._read(list(ids))
        self._decide(batch, windows, round_)
        changes = list(round_.changes.values())
        if not changes:
            if ids:
                await self._lane.forget()
            return round_
        writes = Writes(self._keys, self._known_types)
        for change in changes:
            writes.add(change)
        commands = writes.commands()
        claims = _claims(batch, round_)
        bodies = [claimed.job.id for _, _, claimed in claims if claimed.job.body is None]
        if bodies:
            # First: a job that is claimed and removed in one batch is still given whole.
            commands.insert(0, ("MGET", *map(self._keys.body, bodies)))
        message = self._publish(changes)
        if message is not None:
            commands.append(("SPUBLISH", self._keys.events, message))
        replies = await self._lane.commit(commands)
        if replies is None:
            return None
        self._known_types |= writes.new_types
        if bodies:
            found = replies[0] if replies else await self._read_bodies(bodies)
            _put_bodies(claims, dict(zip(bodies, found, strict=True)))
        self.commits += 1
        return round_

    async def _candidates(self, draws: list[Draw]) -> dict[str, _Window]:
        """Heads of the queues that are drawn from. They are watched as records, never as a queue:
        then a new job in a queue disturbs no claim."""
        wanted: dict[str, int] = {}
        for draw in draws:
            wanted[draw.type] = wanted.get(draw.type, 0) + draw.size
        if not wanted:
            return {}
        for job_type in wanted:
            wanted[job_type] += self._undrawable.get(job_type, 0)
        replies = await self._lane.ask(
            *(
                pack(("ZRANGE", self._keys.queue(job_type), 0, count - 1))
                for job_type, count in wanted.items()
            )
        )
        return {
            job_type: _Window(deque(map(job_of_member, members)), len(members) == count)
            for (job_type, count), members in zip(wanted.items(), replies, strict=True)
        }

    async def _read(self, ids: list[str]) -> _Round:
        round_ = _Round({}, {})
        if not ids:
            return round_
        values = await self._lane.watch([self._keys.record(job_id) for job_id in ids])
        for job_id, value in zip(ids, values, strict=True):
            try:
                round_.records[job_id] = decode_job(value) if value is not None else None
            except CorruptRecord as error:
                self._tell_corrupt(job_id, error)
                round_.broken[job_id] = error
        return round_

    def _tell_corrupt(self, job_id: str, error: CorruptRecord) -> None:
        if job_id not in self._told_corrupt and len(self._told_corrupt) < MAX_TOLD:
            self._told_corrupt.add(job_id)
            _log.error("store.corrupt_record", job=job_id, error=str(error))

    # -- decide, in the order of arrival

    def _decide(self, batch: list[Work], windows: dict[str, _Window], round_: _Round) -> None:
        now_ms = self._clock.now_ms()
        for work in batch:
            if isinstance(work, Submission):
                round_.results.append(
                    [self._apply(round_, job_id, command, now_ms) for job_id, command in work.items]
                )
            else:
                round_.drawn.append(self._draw(round_, work, windows[work.type], now_ms))
        for job_type, window in windows.items():
            if window.undrawable:
                self._undrawable[job_type] = min(window.undrawable, MAX_UNDRAWABLE)
            else:
                self._undrawable.pop(job_type, None)

    def _apply(self, round_: _Round, job_id: str, command: Command, now_ms: int) -> Result:
        if job_id in round_.broken:
            return Failed(round_.broken[job_id])
        before = round_.records[job_id]
        try:
            decision: Decision = decide(
                before, command, Now(now_ms, self._clock.next_order()), self._rules
            )
        except Exception as error:  # noqa: BLE001 - one failure costs one request
            _log.exception("machine.failed", job=job_id, command=type(command).__name__)
            return Failed(error)
        if isinstance(decision, Applied) and decision.changed:
            round_.records[job_id] = None if decision.removed else decision.job
            self._merge(round_.changes, decision)
        return decision

    @staticmethod
    def _merge(changes: dict[str, Change], decision: Applied) -> None:
        job = decision.job
        change = changes.get(job.id)
        if change is None:
            changes[job.id] = Change(decision.before, job, decision.removed, list(decision.entries))
            return
        if decision.before is None:
            change.renewed = True
            change.log.clear()
        change.job = job
        change.removed = decision.removed
        change.log.extend(decision.entries)

    def _draw(
        self, round_: _Round, draw: Draw, window: _Window, now_ms: int
    ) -> tuple[list[Applied], bool]:
        """Pairs the draw's claims with candidates that are still QUEUED."""
        drawn: list[Applied] = []
        drawn_bytes = 0
        for claim in draw.claims:
            if drawn_bytes >= MAX_DRAWN_BYTES:
                break
            applied = self._draw_one(round_, draw.type, claim, window, now_ms)
            if applied is None:
                break
            drawn.append(applied)
            drawn_bytes += applied.job.body_bytes
        return drawn, window.full or bool(window.candidates)

    def _draw_one(
        self, round_: _Round, job_type: str, claim: Claim, window: _Window, now_ms: int
    ) -> Applied | None:
        while window.candidates:
            job_id = window.candidates.popleft()
            job = round_.records.get(job_id)
            if job is not None and job.state is State.QUEUED and job.type == job_type:
                applied = self._apply(round_, job_id, claim, now_ms)
                if isinstance(applied, Applied):
                    return applied
            if job_id not in round_.changes:
                window.undrawable += 1
        return None

    async def _read_bodies(self, ids: list[str]) -> list[bytes | None]:
        """Bodies of jobs whose claim was applied but whose answer was lost. The claims stand, so
        this waits for as long as the store is away."""
        while True:
            try:
                [bodies] = await self._lane.ask(pack(("MGET", *map(self._keys.body, ids))))
            except StoreUnavailable:
                await asyncio.sleep(random.uniform(*RETRY_PAUSE_S))
            else:
                found: list[bytes | None] = bodies
                return found

    # -- answer

    def _settle(self, batch: list[Work], round_: _Round) -> None:
        results = iter(round_.results)
        drawn = iter(round_.drawn)
        for work in batch:
            self.commands += work.size
            if isinstance(work, Submission):
                _call(work.done, next(results))
            else:
                _call(work.done, *next(drawn))
        if round_.changes:
            _call(self._committed, list(round_.changes.values()))


def _call(callback: Callable[..., None], *args: object) -> None:
    """What was committed stays so, whatever the one who is told makes of it."""
    try:
        callback(*args)
    except Exception:  # noqa: BLE001 - one failure costs one request
        _log.exception("committer.callback_failed")


def _fail(batch: list[Work], error: Exception) -> None:
    for work in batch:
        if isinstance(work, Draw):
            _call(work.done, [], True)
        else:
            _call(work.done, [Failed(error)] * work.size)


def _claims(
    batch: list[Work], round_: _Round
) -> list[tuple[list[Applied] | list[Result], int, Applied]]:
    """Every claim that was granted: the list of results it is in, its place there, itself."""
    found: list[tuple[list[Applied] | list[Result], int, Applied]] = [
        (drawn, place, applied) for drawn, _ in round_.drawn for place, applied in enumerate(drawn)
    ]
    submissions = (work for work in batch if isinstance(work, Submission))
    for work, results in zip(submissions, round_.results, strict=True):
        for place, ((_, command), result) in enumerate(zip(work.items, results, strict=True)):
            if isinstance(command, Claim) and isinstance(result, Applied):
                found.append((results, place, result))
    return found


def _put_bodies(
    claims: list[tuple[list[Applied] | list[Result], int, Applied]],
    bodies: dict[str, bytes | None],
) -> None:
    """Puts bodies that are kept apart into the records that runners are given."""
    for results, place, claimed in claims:
        if claimed.job.body is None:
            job = replace(claimed.job, body=bodies[claimed.job.id])
            results[place] = replace(claimed, job=job)

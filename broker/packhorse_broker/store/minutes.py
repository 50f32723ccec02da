"""What happened to the jobs of each type, minute by minute, for a day.

Every committed change is tallied in memory, and about once a second the tallies are added to
what the store has. A broker that is killed takes its last second of them along; nothing else
depends on these numbers.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from operator import add
from typing import Final, TypeAlias

import structlog
from msgspec import Struct

from packhorse_broker.jobs.model import AttemptRecord, End, Reason, State
from packhorse_broker.store.changes import Change
from packhorse_broker.store.errors import StoreError, StoreUnavailable
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.packing import Argument, pack
from packhorse_broker.store.transaction import Lane

_log = structlog.get_logger(__name__)

MINUTE_MS: Final = 60_000
HOUR_MINUTES: Final = 60
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
KEPT_S: Final = 25 * 3_600
"""An hour's numbers are kept until a day after its end."""

FLUSH_S: Final = 1.0
"""So much of the tallies a killed broker loses."""

CLOSE_S: Final = 2.0
"""How long closing waits for the last of them to be written."""

FLUSH_ROWS: Final = 500
"""Minutes of types written in one transaction, each with some ten commands."""


class Minute(Struct):
    """What happened to a type's jobs in one minute; in the order of `EVENTS`.

    Jobs: `created`, `completed`, `failed` (for good, but not as cancelled), `cancelled`,
    `removed`. Claims: `started`, `released`. Attempts: `lost`, `timed_out` (also jobs that waited
    too long), `retried` (spent, and there is a next one, by hand too). Sums: `wait_ms` over
    claims, `run_ms` over attempts ended.
    """

    at: int
    """When it began, in ms since the epoch."""
    created: int = 0
    started: int = 0
    completed: int = 0
    failed: int = 0
    retried: int = 0
    lost: int = 0
    timed_out: int = 0
    cancelled: int = 0
    released: int = 0
    removed: int = 0
    wait_ms: int = 0
    run_ms: int = 0


EVENTS: Final = Minute.__struct_fields__[1:]
(
    _CREATED,
    _STARTED,
    _COMPLETED,
    _FAILED,
    _RETRIED,
    _LOST,
    _TIMED_OUT,
    _CANCELLED,
    _RELEASED,
    _REMOVED,
    _WAIT_MS,
    _RUN_MS,
) = range(len(EVENTS))

_ENDS: Final = {
    End.LOST: _LOST,
    End.TIMED_OUT: _TIMED_OUT,
    End.RELEASED: _RELEASED,
}
"""Ends of attempts that are counted as such."""

_FINISHED: Final = (State.COMPLETE, State.FAILED)
_SPENT: Final = (End.FAILED, End.LOST, End.TIMED_OUT)

_Row: TypeAlias = list[int]
"""A number for each event."""

Place: TypeAlias = tuple[str, int]
"""A type, and a minute counted since the epoch."""


class Minutes:
    """`committed` after each transaction; `start` and `close` the writing; `day` tells."""

    def __init__(self, lane: Lane, keys: PartitionKeys, now_ms: Callable[[], int]) -> None:
        self._lane = lane
        self._keys = keys
        self._now_ms = now_ms
        self._minute = 0
        """The one that `_rows` belong to, counted since the epoch."""
        self._rows: dict[str, _Row] = {}
        """By type: what has happened in this minute and is not written."""
        self._due: dict[Place, _Row] = {}
        """What is to be written next, of whatever minute."""
        self._turn = asyncio.Lock()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # -- counting

    def committed(self, changes: Sequence[Change]) -> None:
        """Tallies what one transaction did."""
        minute = self._now_ms() // MINUTE_MS
        if minute != self._minute:
            self._put_by()
            self._minute = minute
        rows = self._rows
        for change in changes:
            job_type = change.job.type
            row = rows.get(job_type)
            if row is None:
                row = rows[job_type] = [0] * len(EVENTS)
            _count(row, change)

    def _put_by(self) -> None:
        for job_type, row in self._rows.items():
            self._merge((job_type, self._minute), row)
        self._rows = {}

    def _merge(self, place: Place, row: _Row) -> None:
        known = self._due.get(place)
        self._due[place] = row if known is None else list(map(add, known, row))

    # -- writing

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="packhorse-minutes")

    async def _run(self) -> None:
        closing = False
        while not closing:
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S):
                    await self._closing.wait()
            closing = self._closing.is_set()
            try:
                await self.flush()
            except StoreError as error:
                _log.warning("minutes.not_written", error=str(error))
            except Exception:  # noqa: BLE001 - the next flush tries again
                _log.exception("minutes.not_written")

    async def flush(self) -> None:
        """Adds what was tallied to what the store has, each number once.

        Raises StoreUnavailable: it is kept for the next time.
        """
        async with self._turn:
            self._put_by()
            while self._due:
                rows = dict(islice(self._due.items(), FLUSH_ROWS))
                for place in rows:
                    del self._due[place]
                try:
                    await self._write(rows)
                except StoreUnavailable:
                    for place, row in rows.items():
                        self._merge(place, row)
                    raise

    async def _write(self, rows: Mapping[Place, _Row]) -> None:
        commands: list[Argument] = []
        for (job_type, minute), row in rows.items():
            hour, of_hour = divmod(minute, HOUR_MINUTES)
            key = self._keys.minutes(job_type, hour)
            commands += (
                ("HINCRBY", key, f"{of_hour}:{event}", number)
                for event, number in zip(EVENTS, row, strict=True)
                if number
            )
            commands.append(("EXPIRE", key, KEPT_S))
        await self._lane.ask(pack(("PING",)))  # connects: a transaction does not
        if await self._lane.commit(commands) is None:
            raise StoreUnavailable("the connection was lost before anything was written")

    # -- reading

    async def day(self, job_type: str, since_ms: int) -> list[Minute]:
        """The minutes of the last day in which something happened, those that began at `since_ms`
        or later, oldest first. What this broker did is all in it. Raises StoreUnavailable."""
        await self.flush()
        now_ms = self._now_ms()
        first_ms = max(since_ms, now_ms - DAY_MS)
        hours = range(first_ms // HOUR_MS, now_ms // HOUR_MS + 1)
        if not hours:
            return []
        async with self._turn:
            replies = await self._lane.ask(
                *(pack(("HGETALL", self._keys.minutes(job_type, hour))) for hour in hours)
            )
        found = [
            minute
            for hour, fields in zip(hours, replies, strict=True)
            for minute in _minutes(hour * HOUR_MS, fields)
            if minute.at >= first_ms
        ]
        return sorted(found, key=lambda minute: minute.at)

    async def close(self) -> None:
        """Writes what is left, if the store is there."""
        self._closing.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CLOSE_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._lane.close()


def _count(row: _Row, change: Change) -> None:
    """In the path of every change, so the commonest ones come first and call nothing."""
    job = change.job
    before = change.before
    state = job.state
    claims = job.fence
    was_finished = False
    if before is None or change.renewed:
        row[_CREATED] += 1
        if before is not None:
            row[_REMOVED] += 1
    elif before.state is state and before.fence == claims and not change.removed:
        return  # its log, its progress or its handlers
    else:
        claims -= before.fence
        was_finished = before.state in _FINISHED
    if claims:
        row[_STARTED] += claims
        if job.started_at > job.queued_at:
            row[_WAIT_MS] += job.started_at - job.queued_at
    if change.attempts:
        _count_attempts(row, change.attempts)
    if state in _FINISHED:
        if not was_finished:
            _count_end(row, change)
    elif was_finished:
        row[_RETRIED] += 1
    if change.removed:
        row[_REMOVED] += 1


def _count_attempts(row: _Row, attempts: Sequence[AttemptRecord]) -> None:
    for attempt in attempts:
        row[_RUN_MS] += max(0, attempt.finished_at - attempt.started_at)
        if attempt.end in _SPENT:
            row[_RETRIED] += 1
        place = _ENDS.get(attempt.end)
        if place is not None:
            row[place] += 1


def _count_end(row: _Row, change: Change) -> None:
    job = change.job
    if job.state is State.COMPLETE:
        row[_COMPLETED] += 1
        if job.finished_at > job.started_at:
            row[_RUN_MS] += job.finished_at - job.started_at
        return
    row[_CANCELLED if job.reason is Reason.CANCELLED else _FAILED] += 1
    last = change.attempts[-1].end if change.attempts else End.NONE
    if last in _SPENT:
        row[_RETRIED] -= 1
    if job.reason is Reason.JOB_TIMEOUT and last is not End.TIMED_OUT:
        row[_TIMED_OUT] += 1


def _minutes(hour_ms: int, fields: Sequence[bytes]) -> Iterable[Minute]:
    """From an hour's fields and values in turn; those that are none of ours are left out."""
    found: dict[int, Minute] = {}
    for field, value in zip(fields[::2], fields[1::2], strict=True):
        of_hour, _, event = field.decode(errors="replace").partition(":")
        if event in EVENTS and of_hour.isdecimal():
            at = hour_ms + int(of_hour) * MINUTE_MS
            setattr(found.setdefault(at, Minute(at)), event, int(value))
    return found.values()

"""One attempt at a batch: what was read for it, and what is decided on that, in order.

The state machine decides about one job from its record. What concerns more than one is here:
unique keys, of which the holder decides; types that are paused, draining or full.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import random
from typing import Final, Protocol, TypeAlias

import structlog
from msgspec import Struct
from msgspec.structs import replace

from packhorse_broker.jobs.commands import (
    Claim,
    Command,
    Complete,
    Create,
    Handle,
    OnDuplicate,
    Replace,
    Retry,
)
from packhorse_broker.jobs.creation import repeats
from packhorse_broker.jobs.deadlines import holds_unique_key
from packhorse_broker.jobs.handlers import with_handlers
from packhorse_broker.jobs.machine import decide
from packhorse_broker.jobs.model import Applied, Job, Now, Refusal, RefusalCode, Rules, State
from packhorse_broker.jobs.terms import Scope, Unique
from packhorse_broker.store.candidates import Window, nothing_waits
from packhorse_broker.store.changes import Change
from packhorse_broker.store.records import CorruptRecord, size_bytes
from packhorse_broker.store.types import PLAIN, TypeSettings
from packhorse_broker.store.work import Draw, Failed, Result, Work

_log = structlog.get_logger(__name__)

MAX_DRAWN_BYTES: Final = 8 * 1024 * 1024
"""Payloads kept apart that one batch of claims reads."""

UniqueName: TypeAlias = tuple[str, str]
"""A type and a unique key of it."""


class Clock(Protocol):
    """The store's time, and places in the queue that only grow."""

    def now_ms(self) -> int: ...
    def next_order(self) -> int: ...


class Wanted(Struct):
    """What has to be watched and read: jobs' records, types' settings, holders of unique keys."""

    records: set[str]
    types: set[str]
    holders: set[UniqueName]

    def __bool__(self) -> bool:
        return bool(self.records or self.types or self.holders)


RulesOf: TypeAlias = Callable[[str], Rules]
"""The rules that hold for a type."""


class Round:
    """Filled by the committer with what it watched and read; `decide` makes the changes."""

    def __init__(self, clock: Clock, rules_of: RulesOf) -> None:
        self._clock = clock
        self._rules_of = rules_of
        self._rules: dict[str, Rules] = {}
        """Of the types that have been met."""
        self._now_ms = clock.now_ms()
        self._moment = Now(self._now_ms, 0)
        self._by_record: list[tuple[str, Claim | Retry]] = []
        """Commands for which the job's record tells what else has to be read."""
        self._created_in: set[str] = set()
        """Types that the batch creates jobs of."""
        self._created: dict[str, deque[str]] = {}
        """By type: jobs that the batch creates and that were not drawn."""
        self._ranked = False
        """Whether some of them have another priority than the plain one."""
        self.records: dict[str, Job | None] = {}
        self.broken: dict[str, CorruptRecord] = {}
        self.settings: dict[str, TypeSettings] = {}
        """Of the types that are created in or drawn from."""
        self.holders: dict[UniqueName, str | None] = {}
        """Which job holds each unique key that is asked for."""
        self.usage: dict[str, tuple[int, int]] = {}
        """Jobs and bytes of the types that have a limit."""
        self.changes: dict[str, Change] = {}
        self.told: Sequence[Change] = ()
        """What is told of them."""
        self.results: list[list[Result]] = []
        self.left: list[str] = []
        """Types of which jobs were left to other brokers."""
        self.durable = True
        """Whether what was waited for after EXEC came in time."""
        self.drawn: list[tuple[list[Applied], bool]] = []

    @property
    def may_have_claimed(self) -> bool:
        """Whether claims were asked for at all."""
        return bool(self.drawn or self._by_record)

    # -- what has to be read

    def wanted(self, batch: list[Work], windows: Mapping[str, Window]) -> Wanted:
        """What the batch names: to be watched and read before anything else."""
        wanted = Wanted(set(), set(), set())
        for job_type, window in windows.items():
            if window.candidates or window.fair:
                wanted.types.add(job_type)
                wanted.records.update(window.candidates, window.fair)
        for work in batch:
            if isinstance(work, Draw):
                continue
            for job_id, command in work.items:
                if type(command) is Create:
                    self._created_in.add(command.type)
                    if command.terms is not None and command.terms.unique is not None:
                        wanted.holders.add((command.type, command.terms.unique.key))
                elif type(command) is Claim or type(command) is Retry:
                    self._by_record.append((job_id, command))
                wanted.records.add(job_id)
        wanted.types |= self._created_in
        wanted.records -= self.records.keys()
        return wanted

    def wanted_further(self) -> Wanted:
        """What the records that were read name in turn: the type of a job that is claimed by its
        id, the unique key of one that is retried, the record of a key's holder."""
        wanted = Wanted(set(), set(), set())
        if not (self._by_record or self.holders):
            return wanted
        for job_id, command in self._by_record:
            job = self.records.get(job_id)
            if job is not None and isinstance(command, Claim):
                wanted.types.add(job.type)
            unique = _unique_of(job)
            if job is not None and unique is not None:
                wanted.holders.add((job.type, unique.key))
        wanted.types -= self.settings.keys()
        wanted.holders -= self.holders.keys()
        wanted.records.update(job_id for job_id in self.holders.values() if job_id is not None)
        wanted.records -= self.records.keys() | self.broken.keys()
        return wanted

    def limited_types(self) -> list[str]:
        """Types with a limit among those that are created in."""
        return [
            job_type
            for job_type, settings in self.settings.items()
            if (settings.max_jobs or settings.max_bytes) and job_type in self._created_in
        ]

    # -- decide, in the order of arrival

    def decide(self, batch: list[Work], windows: Mapping[str, Window]) -> None:
        """Draws come last: they may take what the batch creates."""
        draws: list[Draw] = []
        for work in batch:
            if isinstance(work, Draw):
                draws.append(work)
            else:
                self.results.append(
                    [self._answer(job_id, command) for job_id, command in work.items]
                )
        if draws and self._ranked:
            for job_type, created in self._created.items():
                self._created[job_type] = deque(sorted(created, key=self._rank))
        for draw in draws:
            self.drawn.append(self._draw(draw, windows.get(draw.type) or nothing_waits()))

    def _answer(self, job_id: str, command: Command) -> Result:
        if type(command) is Create:
            return self._create(job_id, command)
        if type(command) is Claim or type(command) is Retry:
            refusal = self._obstacle(job_id, command)
            if refusal is not None:
                return refusal
        return self._apply(job_id, command)

    def _obstacle(self, job_id: str, command: Claim | Retry) -> Refusal | None:
        """What is in the way although the job itself allows it: a pause, or another job."""
        job = self.records.get(job_id)
        if job is None:
            return None
        if isinstance(command, Retry):
            holder = self._holder(job)
            return _duplicate(*holder) if holder is not None else None
        if self._gives_out(job.type):
            return None
        return Refusal(RefusalCode.WRONG_STATE, "the type is paused", job.state, paused=True)

    def _create(self, job_id: str, command: Create) -> Result:
        if job_id in self.broken or self.records[job_id] is not None:
            return self._apply(job_id, command)
        unique = command.terms.unique if command.terms is not None else None
        holder = self._holder_of(command.type, unique) if unique is not None else None
        if holder is not None and holder[1] is not None and repeats(holder[1], command):
            return self._apply(holder[0], Replace(command))
        settings = self.settings[command.type]
        if settings.draining:
            return Refusal(
                RefusalCode.TYPE_DRAINING, f"the type {command.type!r} takes no new jobs"
            )
        if holder is not None:
            return self._create_duplicate(command, *holder)
        if command.type in self.usage:
            full = self._full(command, settings)
            if full is not None:
                return full
        result = self._apply(job_id, command)
        if type(result) is Applied:
            self._created.setdefault(command.type, deque()).append(job_id)
            self._ranked = self._ranked or result.job.priority != 0
            if unique is not None:
                self.holders[command.type, unique.key] = job_id
        return result

    def _full(self, command: Create, settings: TypeSettings) -> Refusal | None:
        jobs, held_bytes = self.usage[command.type]
        size = len(command.body)
        if settings.max_jobs and jobs >= settings.max_jobs:
            return _quota(f"the type {command.type!r} holds {jobs} jobs", settings.max_jobs)
        if settings.max_bytes and held_bytes + size > settings.max_bytes:
            return _too_big(command, held_bytes, size, settings.max_bytes)
        self.usage[command.type] = (jobs + 1, held_bytes + size)
        return None

    def _full_for(self, command: Create, replaced: Job) -> Refusal | None:
        """The same of new content for a job that is there."""
        limit = self.settings[command.type].max_bytes
        if command.type not in self.usage or not limit:
            return None
        jobs, held_bytes = self.usage[command.type]
        grown = held_bytes + len(command.body) - size_bytes(replaced)
        if grown > limit and grown > held_bytes:
            return _too_big(command, held_bytes, grown - held_bytes, limit)
        self.usage[command.type] = (jobs, grown)
        return None

    def _apply(self, job_id: str, command: Command) -> Result:
        if self.broken and job_id in self.broken:
            return Failed(self.broken[job_id])
        before = self.records[job_id]
        if before is not None:
            job_type = before.type
        else:
            job_type = command.type if type(command) is Create else ""
        rules = self._rules.get(job_type)
        if rules is None:
            rules = self._rules[job_type] = self._rules_of(job_type)
        try:
            decision = decide(before, command, self._moment_of(command), rules)
        except Exception as error:  # noqa: BLE001 - one failure costs one request
            _log.exception("machine.failed", job=job_id, command=type(command).__name__)
            return Failed(error)
        if type(decision) is Applied and decision.changed:
            self._take_over(decision)
        return decision

    def _moment_of(self, command: Command) -> Now:
        """Claims and completions, which are most of what is decided, queue nothing and leave
        nothing to chance: they share one."""
        if type(command) is Claim or type(command) is Complete:
            return self._moment
        return Now(self._now_ms, self._clock.next_order(), random())

    def _take_over(self, decision: Applied) -> None:
        job = decision.job
        self.records[job.id] = None if decision.removed else job
        change = self.changes.get(job.id)
        if change is None:
            self.changes[job.id] = Change.of(decision)
        else:
            change.follow(decision)
        before = decision.before
        if job.terms is not None or (before is not None and before.terms is not None):
            self._follow_hold(before, None if decision.removed else job)

    def _follow_hold(self, before: Job | None, after: Job | None) -> None:
        """The job's hold on its unique key, as commands that come later in the batch find it."""
        had, has = _held(before), _held(after)
        if (
            before is not None
            and had is not None
            and had != has
            and self.holders.get(had) == before.id
        ):
            self.holders[had] = None
        if after is not None and has is not None:
            self.holders[has] = after.id

    # -- unique keys

    def _holder_of(self, job_type: str, unique: Unique) -> tuple[str, Job | None] | None:
        """The job that holds a unique key; its record is None where it is gone but its window is
        not over."""
        holder_id = self.holders.get((job_type, unique.key))
        if holder_id is None:
            return None
        holder = self.records.get(holder_id)
        held = _unique_of(holder)
        if holder is None or held is None or (holder.type, held.key) != (job_type, unique.key):
            # A window outlives its job, and another job may have its id since.
            return holder_id, None
        if held.scope is Scope.WINDOW or holds_unique_key(holder):
            return holder_id, holder
        return None

    def _holder(self, job: Job) -> tuple[str, Job | None] | None:
        """Another job that holds the unique key which this one needs again."""
        unique = _unique_of(job)
        if unique is None or unique.scope is Scope.WINDOW:
            return None
        if unique.scope is Scope.UNTIL_STARTED and job.fence:
            return None
        holder = self._holder_of(job.type, unique)
        return None if holder is None or holder[0] == job.id else holder

    def _create_duplicate(self, command: Create, holder_id: str, holder: Job | None) -> Result:
        how = command.on_duplicate
        if holder is None or how is OnDuplicate.REJECT:
            return _duplicate(holder_id, holder)
        if how is OnDuplicate.REPLACE:
            return self._replace(command, holder_id, holder)
        if command.group is None:
            return self._apply(holder_id, Handle(command.created_by))
        both = with_handlers(holder, (command.created_by,), (command.group,))
        if isinstance(both, Refusal):
            return both
        self._apply(holder_id, Handle(command.created_by))
        return self._apply(holder_id, Handle(command.created_by, command.group))

    def _replace(self, command: Create, holder_id: str, holder: Job) -> Result:
        usage = self.usage.get(command.type)
        full = self._full_for(command, holder)
        if full is not None:
            return full
        replaced = self._apply(holder_id, Replace(command))
        if not isinstance(replaced, Refusal):
            return replaced
        if usage is not None:
            self.usage[command.type] = usage
        too_late = replaced.code is RefusalCode.WRONG_STATE
        return _duplicate(holder_id, holder) if too_late else replaced

    # -- claims from the head of a queue

    def _gives_out(self, job_type: str) -> bool:
        return self.settings.get(job_type, PLAIN).gives_out(self._now_ms)

    def _draw(self, draw: Draw, window: Window) -> tuple[list[Applied], bool]:
        """Pairs the draw's claims with candidates that are still QUEUED."""
        drawn: list[Applied] = []
        if not self._gives_out(draw.type):
            return drawn, False
        drawn_bytes = 0
        for claim in draw.claims:
            if drawn_bytes >= MAX_DRAWN_BYTES:
                break
            applied = self._draw_one(draw.type, claim, window)
            if applied is None:
                window.was_short = True
                break
            drawn.append(applied)
            drawn_bytes += applied.job.body_bytes
        return drawn, window.more

    def _draw_one(self, job_type: str, claim: Claim, window: Window) -> Applied | None:
        while (candidate := window.next()) is not None:
            job_id, head = candidate
            job = self.records.get(job_id)
            if job is not None and job.state is State.QUEUED and job.type == job_type:
                applied = self._apply(job_id, claim)
                if type(applied) is Applied:
                    window.took(job, head=head)
                    return applied
            if head and job_id not in self.changes:
                window.undrawable += 1
        return None if window.more else self._draw_created(job_type, claim)

    def _rank(self, job_id: str) -> int:
        """Jobs that are created together are drawn as from their queue: by falling priority."""
        job = self.records[job_id]
        return -job.priority if job is not None else 0

    def _draw_created(self, job_type: str, claim: Claim) -> Applied | None:
        created = self._created.get(job_type)
        while created:
            job_id = created.popleft()
            job = self.records[job_id]
            if job is not None and job.state is State.QUEUED:
                applied = self._apply(job_id, claim)
                if type(applied) is Applied:
                    return applied
        return None


def with_retention(rules: Rules, settings: TypeSettings) -> Rules:
    """The rules of a type with these settings."""
    retention = settings.retention(rules.retention)
    return rules if retention is rules.retention else replace(rules, retention=retention)


def _held(job: Job | None) -> UniqueName | None:
    """What the job holds by its record."""
    unique = _unique_of(job)
    if job is None or unique is None or not holds_unique_key(job):
        return None
    return job.type, unique.key


def _unique_of(job: Job | None) -> Unique | None:
    return job.terms.unique if job is not None and job.terms is not None else None


def _duplicate(holder_id: str, holder: Job | None) -> Refusal:
    state = holder.state if holder is not None else None
    return Refusal(
        RefusalCode.DUPLICATE, f"job {holder_id} holds this unique key", state, holder_id
    )


def _too_big(command: Create, held_bytes: int, more_bytes: int, limit: int) -> Refusal:
    held = f"the type {command.type!r} holds {held_bytes} bytes"
    return _quota(f"{held}, this one would add {more_bytes}", limit)


def _quota(what: str, limit: int) -> Refusal:
    return Refusal(RefusalCode.QUOTA, f"{what}, at most {limit}", limit=limit)

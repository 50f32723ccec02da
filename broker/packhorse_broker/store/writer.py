"""One attempt at a batch: watch, read, decide, write, EXEC.

A batch watches the records of its jobs, the settings of their types and the unique keys that it
needs, but no index. It decides the commands for one job in the order of arrival (the second on the
first one's result), and writes everything in one EXEC.

Some of what it depends on is taken for granted, which saves an exchange with the store: a few jobs
that are created are taken for new ones, which the transaction itself looks for, and the head of a
queue for what it was behind the transaction before, of whose jobs the records are watched. Where
that was wrong the batch is read and decided again, with nothing taken for granted.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

from packhorse_broker.jobs.model import Rules
from packhorse_broker.store.bodies import claims_of, put_bodies
from packhorse_broker.store.candidates import Candidates, Window
from packhorse_broker.store.changes import Change, told_of
from packhorse_broker.store.durability import Durability, Waits
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.foresight import Foresight
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.packing import pack
from packhorse_broker.store.round import Clock, Round, with_retention
from packhorse_broker.store.supply import Supply, UsageElsewhere
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store.types import TypeBook
from packhorse_broker.store.work import Draw, Work
from packhorse_broker.store.writes import Writes

RETRY_PAUSE_S: Final = (0.01, 0.1)
"""Bounds of the random pause before a store that was away is tried again."""

Publish: TypeAlias = Callable[[Sequence[Change]], bytes | None]
"""What other brokers are told of changes, sent in the same transaction; None: nothing."""


class Writer:
    """`attempt` one batch at a time."""

    def __init__(
        self,
        lane: Lane,
        keys: PartitionKeys,
        rules: Rules,
        clock: Clock,
        *,
        types: TypeBook,
        waits: Callable[[], Waits],
        publish: Publish,
        candidates: Candidates,
        elsewhere: UsageElsewhere | None,
    ) -> None:
        """`waits`: how it is waited for what jobs or the broker ask for beyond EXEC."""
        self._lane = lane
        self._keys = keys
        self._rules = rules
        self._clock = clock
        self._types = types
        self._waits = waits
        self._publish = publish
        self._candidates = candidates
        self._supply = Supply(lane, keys, types, elsewhere)
        self._foresight = Foresight(lane, keys)
        self._known_types: set[str] = set()

    def begin_anew(self) -> None:
        """The store was wiped: which types it has seen is not known any more."""
        self._known_types.clear()
        self._lane.distrust()

    async def attempt(
        self, batch: list[Work], *, into_full: bool, boldly: bool = True
    ) -> Round | None:
        """What was decided, once it is written; None after a conflict: nothing was.

        `boldly`: with what may be taken for granted. Raises StoreUnavailable with none of it
        written, StoreFull, StoreInconsistent.
        """
        wanted = _drawn_of(batch)
        windows = await self._windows(wanted, boldly=boldly) if wanted else {}
        new = self._foresight.new_jobs(batch) if boldly and not windows else ()
        round_ = Round(self._clock, self._rules_of)
        round_.records.update(dict.fromkeys(new))
        await self._supply.read(round_, batch, windows)
        round_.decide(batch, windows)
        if not self._can_be_proven(round_, windows, new):
            await self._lane.forget()
            return await self.attempt(batch, into_full=into_full, boldly=False)
        round_.left = [job_type for job_type, window in windows.items() if window.left]
        if not round_.changes:
            if round_.records or round_.broken or round_.settings:
                await self._lane.forget()
            self._candidates.settled(windows)
            return round_
        round_.told = told_of(list(round_.changes.values()))
        if await self._write(batch, round_, new, windows, wanted, into_full=into_full):
            self._candidates.settled(windows)
            return round_
        return await self.attempt(batch, into_full=into_full, boldly=False) if new else None

    def _can_be_proven(
        self, round_: Round, windows: Mapping[str, Window], new: Collection[str]
    ) -> bool:
        """Whether EXEC will tell if what was taken for granted is so."""
        if any(window.ahead and window.was_short for window in windows.values()):
            return False  # Others have taken what stood there, and more may have come.
        changes = len(round_.changes)
        return changes >= len(new) and (changes > 0 or not self._lane.trusts)

    async def _write(
        self,
        batch: list[Work],
        round_: Round,
        new: Collection[str],
        windows: Mapping[str, Window],
        wanted: Mapping[str, int],
        *,
        into_full: bool,
    ) -> bool:
        """Whether the changes were applied: if not, something that is watched was changed."""
        changes = list(round_.changes.values())
        writes = Writes(self._keys, self._known_types)
        for change in changes:
            writes.add(change)
            terms = change.job.terms
            if terms is not None and terms.priority:
                self._candidates.mixed(change.job.type)
        commands = writes.commands()
        claims = claims_of(batch, round_) if round_.may_have_claimed else []
        bodies = [claimed.job.id for _, _, claimed in claims]
        if bodies:
            # First: a job that is claimed and removed in one batch is still given whole.
            commands.insert(0, ("MGET", *map(self._keys.body, bodies)))
        message = self._publish(round_.told)
        if message is not None:
            commands.append(("SPUBLISH", self._keys.events, message))
        replies = await self._lane.commit(
            commands,
            grows=not into_full,
            ahead=self._foresight.needed_next(round_, changes),
            absent=[self._keys.record(job_id) for job_id in new],
            behind=self._candidates.asking_ahead(windows, wanted) if windows else (),
        )
        if replies is None:
            return False
        durability = _durability_of(changes)
        if durability or self._waits().least:
            round_.durable = await self._is_durable(Durability(durability))
        self._known_types |= writes.new_types
        if bodies:
            found = replies[0] if replies else await self._read_bodies(bodies)
            put_bodies(claims, dict(zip(bodies, found, strict=True)))
        return True

    async def _is_durable(self, wanted: Durability) -> bool:
        """Waits for what is wanted of the transaction just committed; whether it came."""
        waits = self._waits()
        wait = waits.command(wanted)
        if wait is None:
            return True
        if waits.hopeless(wanted):
            return False
        return waits.met(await self._lane.acknowledged(wait))

    def _rules_of(self, job_type: str) -> Rules:
        return with_retention(self._rules, self._types[job_type])

    async def _windows(self, wanted: Mapping[str, int], *, boldly: bool) -> Mapping[str, Window]:
        """Heads of the queues that are drawn from. They are watched as records, never as a queue:
        then a new job in a queue disturbs no claim."""
        ahead = self._candidates.ahead(wanted, self._lane.behind) if boldly else None
        if ahead is not None:
            return ahead
        replies = await self._lane.ask(*self._candidates.asking(wanted))
        return self._candidates.windows(wanted, replies)

    async def _read_bodies(self, ids: list[str]) -> list[Any]:
        """Bodies of jobs whose claim was applied but whose answer was lost. The claims stand, so
        this waits for as long as the store is away."""
        while True:
            try:
                [bodies] = await self._lane.ask(pack(("MGET", *map(self._keys.body, ids))))
            except StoreUnavailable:
                await asyncio.sleep(random.uniform(*RETRY_PAUSE_S))
            else:
                found: list[Any] = bodies
                return found


def _drawn_of(batch: list[Work]) -> dict[str, int]:
    """How many jobs are wanted of each queue."""
    wanted: dict[str, int] = {}
    for work in batch:
        if isinstance(work, Draw) and not work.of_created:
            wanted[work.type] = wanted.get(work.type, 0) + work.size
    return wanted


def _durability_of(changes: Sequence[Change]) -> int:
    """What the jobs of a batch ask for, all of them together."""
    wanted = 0
    for change in changes:
        terms = change.job.terms
        if terms is not None and terms.durability > wanted:
            wanted = terms.durability
    return wanted

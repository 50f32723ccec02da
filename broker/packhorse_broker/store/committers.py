"""Changing jobs of a store with several partitions: each has a committer, and all that is asked of
one job goes to its own.

What a caller asks of several jobs is a transaction in each partition, and is answered after the
last of them: each job's change is done or not done by itself, as always.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

import structlog

from packhorse_broker.jobs.commands import TakeBack
from packhorse_broker.jobs.model import Applied
from packhorse_broker.store.committer import Committer
from packhorse_broker.store.draws import Draws, Head
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.heads import Heads
from packhorse_broker.store.homes import Homes
from packhorse_broker.store.parted_draw import PartedDraw
from packhorse_broker.store.work import Draw, Result, Submission, Work

_log = structlog.get_logger(__name__)

Looking: TypeAlias = asyncio.Task[tuple[dict[int, int], bool]]
"""How many claims each partition gets, and whether there may be more jobs."""


class Committers:
    """What `Committer` offers, over one for each partition."""

    def __init__(
        self,
        parts: Sequence[Committer],
        heads: Sequence[Heads],
        gives_out: Callable[[str], bool],
        in_use: Callable[[str], bool],
    ) -> None:
        """`heads`: look at the queues of each; `gives_out`: whether a type is not paused;
        `in_use`: whether anybody takes it."""
        self._parts = parts
        self._heads = heads
        self._gives_out = gives_out
        self._homes = Homes(len(parts))
        self._draws = Draws(len(parts), in_use)
        self._looking: set[Looking] = set()
        self._closing = False

    def start(self) -> None:
        for part in self._parts:
            part.start()

    def submit(self, work: Work) -> None:
        """As `Committer.submit`."""
        if isinstance(work, Submission):
            if work.items:
                self._submit(work)
            else:
                self._after_looks(partial(self._submit, work))
        elif self._closing:
            work.done([], True)
        else:
            task = asyncio.create_task(self._look(work), name="packhorse-draw")
            self._looking.add(task)
            task.add_done_callback(partial(self._looked, work))

    def _after_looks(self, go_on: Callable[[], None]) -> None:
        """When the draws before have been submitted to their partitions."""
        waiting = set(self._looking)
        if not waiting:
            go_on()

        def looked(task: Looking) -> None:
            waiting.discard(task)
            if not waiting:
                go_on()

        for task in tuple(waiting):
            task.add_done_callback(looked)

    def _submit(self, submission: Submission) -> None:
        """One without items waits for what was submitted before it, in all partitions."""
        split = self._homes.split([job_id for job_id, _ in submission.items])
        if len(split) == 1:
            [home] = split
            self._parts[home].submit(submission)
            return
        results: list[Any] = [None] * submission.size
        waiting = len(split) or len(self._parts)
        all_durable = True

        def done(places: Sequence[int]) -> Callable[[list[Result], bool], None]:
            def part_done(found: list[Result], durable: bool) -> None:
                nonlocal waiting, all_durable
                for place, result in zip(places, found, strict=True):
                    results[place] = result
                all_durable &= durable
                waiting -= 1
                if not waiting:
                    submission.done(results, all_durable)

            return part_done

        for home in split or range(len(self._parts)):
            places = split.get(home, [])
            items = [submission.items[place] for place in places]
            self._parts[home].submit(Submission(items, done(places)))

    # -- claims from the heads of queues

    async def _look(self, draw: Draw) -> tuple[dict[int, int], bool]:
        ready = self._draws.ready(draw.type)
        depth = self._draws.depth(draw.size, max(1, len(ready)))
        looks = await asyncio.gather(
            *(self._heads[home].of(draw.type, depth) for home in ready), return_exceptions=True
        )
        heads: dict[int, list[Head]] = {}
        for home, entries in zip(ready, looks, strict=True):
            if isinstance(entries, list):
                heads[home] = entries
            elif isinstance(entries, StoreUnavailable):
                self._draws.away(home)
            else:
                raise entries
        allotted, more = self._draws.allot(draw.type, ready, heads, draw.size, depth)
        return allotted, more or bool(self._draws.are_away())

    def _looked(self, draw: Draw, task: Looking) -> None:
        """The draw is answered whatever happened: its type is not drawn from until then."""
        self._looking.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            _log.error("committers.look_failed", type=draw.type, exc_info=failure)
        if task.cancelled() or failure is not None:
            draw.done([], True)
        else:
            self._claim(draw, *task.result())

    def _claim(self, draw: Draw, allotted: dict[int, int], more: bool) -> None:
        if not allotted:
            draw.done([], more)
            return
        parted = PartedDraw(
            draw,
            allotted,
            more=more,
            barren=partial(self._barren, draw.type),
            slow=self._draws.away,
            late=self._take_back,
        )
        claims = iter(draw.claims)
        for home, count in allotted.items():
            part = [next(claims) for _ in range(count)]
            self._parts[home].submit(Draw(draw.type, part, partial(parted.came, home)))

    def _barren(self, job_type: str, partition: int) -> None:
        if self._gives_out(job_type):
            self._draws.barren(job_type, partition)

    def _take_back(self, late: Applied) -> None:
        """Ends a claim whose draw is over: nobody has seen it."""
        job = late.job
        assert job.runner is not None
        assert job.token is not None
        self._submit(Submission([(job.id, TakeBack(job.runner, job.token))], _ignored))

    # -- whose jobs they are, where several brokers claim

    def keep(self, jobs: Sequence[str]) -> None:
        """As `Committer.keep`."""
        for home, places in self._homes.split(jobs).items():
            self._parts[home].keep([jobs[place] for place in places])

    def passed_on(self, jobs: Sequence[str], types: Sequence[str], broker: str) -> None:
        """As `Committer.passed_on`."""
        for home, places in self._homes.split(jobs).items():
            self._draws.filled(home, types)
            self._parts[home].passed_on([jobs[place] for place in places], types, broker)

    def look_everywhere(self) -> None:
        """What was said of jobs that wait may have been missed."""
        self._draws.look_everywhere()

    def filled(self, partition: int, types: Iterable[str]) -> None:
        """Jobs of these types wait there, perhaps since it was looked last."""
        self._draws.filled(partition, types)

    # -- all of them

    def begin_anew(self) -> None:
        for part in self._parts:
            part.begin_anew()

    @property
    def waiting(self) -> int:
        return sum(part.waiting for part in self._parts)

    @property
    def crowded(self) -> bool:
        """They share the room."""
        return self._parts[0].crowded

    @property
    def commits(self) -> int:
        return sum(part.commits for part in self._parts)

    @property
    def conflicts(self) -> int:
        return sum(part.conflicts for part in self._parts)

    async def close(self) -> None:
        self._closing = True
        for task in self._looking:
            task.cancel()
        await asyncio.gather(*self._looking, return_exceptions=True)
        await asyncio.gather(*(part.close() for part in self._parts))
        await asyncio.gather(*(part.close() for part in self._heads))


def _ignored(_: list[Result], __: bool) -> None:
    """A claim that can't be taken back ends with its client's timeout."""


Committing: TypeAlias = Committer | Committers
"""Of one partition, or of several."""

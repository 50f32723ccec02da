"""From which partitions the claims of one draw are taken: together they serve a type as one queue.

Their heads are looked at, and the claims go to what comes first in all of them: by priority, then
by the order of arrival. One of every FAIR_EVERY goes to the partitions in turn, so that one whose
jobs are all of a low priority has its share. What the heads hold may have changed when it is
claimed: it is near enough, and nothing is lost by it.
"""

import heapq
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from typing import Final, TypeAlias

from packhorse_broker.store.candidates import FAIR_EVERY
from packhorse_broker.store.type_notes import TypeNotes

Head: TypeAlias = tuple[float, bytes]
"""Score and member of an entry of a queue: it is sorted by these."""

EMPTY_S: Final = 3.0
"""So long a partition that had no job of a type is not looked at again, unless it is told that
there is one: others may tell nobody, or nobody have heard it."""

BARREN_S: Final = 0.2
"""So long one whose head could not be claimed is not looked at again."""

AWAY_S: Final = 1.0
"""So long one that did not answer is not looked at again."""

SPARE_HEADS: Final = 4
"""Entries looked at in each partition beyond twice its share: few jobs are not spread evenly."""


class _Spread:
    """How one type is spread over the partitions."""

    __slots__ = ("claims", "empty", "filled", "turn")

    def __init__(self, partitions: int, number: int) -> None:
        self.filled = [number] * partitions
        """Of each partition the number of the last time that jobs were queued there."""
        self.empty: dict[int, float] = {}
        """Partitions that had none, and when that was, by the monotonic clock."""
        self.claims = 0
        """Since the last fair turn."""
        self.turn = -1
        """The partition that had the last one."""


class Draws:
    """Which partitions may hold jobs of each type, and whose turn it is."""

    def __init__(self, partitions: int, in_use: Callable[[str], bool] = lambda _: True) -> None:
        """`in_use`: whether a type is taken by anybody; others are forgotten, if there are many."""
        self._partitions = range(partitions)
        self._numbers = count()
        """No two times are taken for one, though a type was forgotten between them."""
        self._away: dict[int, float] = {}
        """Partitions that did not answer, and when, by the monotonic clock."""
        self._types = TypeNotes(lambda: _Spread(partitions, next(self._numbers)), in_use)

    def filled(self, partition: int, types: Iterable[str]) -> None:
        """Jobs of these types were queued there."""
        for job_type in types:
            spread = self._types.get(job_type)
            if spread is not None:
                spread.filled[partition] = next(self._numbers)
                spread.empty.pop(partition, None)

    def look_everywhere(self) -> None:
        """It may have been missed that jobs were queued."""
        for spread in self._types.values():
            spread.empty.clear()

    def barren(self, job_type: str, partition: int) -> None:
        """Nothing came of what stood at the head of the type's queue there: others may have taken
        it, or it can't be read. It is the turn of the other partitions for a moment."""
        until = time.monotonic() - EMPTY_S + BARREN_S
        self._types[job_type].empty[partition] = until

    def away(self, partition: int) -> None:
        """It did not answer: the others are served without waiting for it again at once."""
        self._away[partition] = time.monotonic()

    def are_away(self) -> set[int]:
        """Partitions that are not looked at for a moment: they may hold jobs."""
        since_s = time.monotonic() - AWAY_S
        self._away = {one: at_s for one, at_s in self._away.items() if at_s > since_s}
        return set(self._away)

    def ready(self, job_type: str) -> dict[int, int]:
        """Partitions that may hold jobs of the type, and when each was filled last, as a number."""
        spread = self._types[job_type]
        since_s = time.monotonic() - EMPTY_S
        away = self.are_away()
        return {
            one: spread.filled[one]
            for one in self._partitions
            if one not in away and spread.empty.get(one, since_s) <= since_s
        }

    @staticmethod
    def depth(claims: int, partitions: int) -> int:
        """How many entries of each of so many queues are to be looked at."""
        return min(claims, 2 * -(-claims // partitions) + SPARE_HEADS)

    def allot(
        self,
        job_type: str,
        ready: Mapping[int, int],
        heads: Mapping[int, Sequence[Head]],
        claims: int,
        depth: int,
    ) -> tuple[dict[int, int], bool]:
        """How many of the claims each partition gets, and whether there are more jobs than that.

        `heads`: at most `depth` entries of each partition's queue, read since it was `ready`.
        """
        spread = self._types[job_type]
        _note_empty(spread, ready, heads)
        left = {one: deque(entries) for one, entries in heads.items() if entries}
        may_hold_more = any(len(entries) == depth for entries in left.values())
        fair, spread.claims = divmod(spread.claims + claims, FAIR_EVERY)
        allotted = Counter(_in_turn(spread, left, fair))
        room = claims - allotted.total()
        first = heapq.merge(*([(head, one) for head in left[one]] for one in left))
        allotted.update(one for _, one in islice(first, room))
        seen = sum(map(len, heads.values()))
        return dict(allotted), may_hold_more or seen > allotted.total()


def _in_turn(spread: _Spread, left: dict[int, deque[Head]], claims: int) -> Iterator[int]:
    """Partitions that have jobs, one after the other from the last one on; takes their heads
    out of `left`."""
    for _ in range(claims):
        having = [one for one, entries in left.items() if entries]
        if not having:
            return
        last = spread.turn
        spread.turn = one = min(having, key=lambda one: (one <= last, one))
        left[one].popleft()
        yield one


def _note_empty(
    spread: _Spread, ready: Mapping[int, int], heads: Mapping[int, Sequence[Head]]
) -> None:
    """Unless a job came in while its queue was looked at."""
    now_s = time.monotonic()
    for one, entries in heads.items():
        if entries:
            spread.empty.pop(one, None)
        elif spread.filled[one] == ready[one]:
            spread.empty[one] = now_s

"""From which partitions the claims of one draw are taken: together they serve a type as one queue.

Their heads are looked at, and the claims go to what comes first in all of them: by priority, then
by the order of arrival. One of every FAIR_EVERY goes to the partitions in turn, so that one whose
jobs are all of a low priority has its share. What the heads hold may have changed when it is
claimed: it is near enough, and nothing is lost by it.
"""

import heapq
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, TypeAlias

from packhorse_broker.store.candidates import FAIR_EVERY

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


class Draws:
    """Which partitions may hold jobs of each type, and whose turn it is."""

    def __init__(self, partitions: int) -> None:
        self._fillings = [0] * partitions
        self._away: dict[int, float] = {}
        """Partitions that did not answer, and when, by the monotonic clock."""
        self._empty: dict[str, dict[int, float]] = {}
        """By type: partitions that had none, and when that was, by the monotonic clock."""
        self._claims: dict[str, int] = {}
        """By type: claims since the last fair turn."""
        self._turn: dict[str, int] = {}
        """By type: the partition that had the last one."""

    def filled(self, partition: int) -> None:
        """Jobs were queued there, of whatever types."""
        self._fillings[partition] += 1
        for empty in self._empty.values():
            empty.pop(partition, None)

    def look_everywhere(self) -> None:
        """It may have been missed that jobs were queued."""
        self._empty.clear()

    def barren(self, job_type: str, partition: int) -> None:
        """Nothing came of what stood at the head of the type's queue there: others may have taken
        it, or it can't be read. It is the turn of the other partitions for a moment."""
        until = time.monotonic() - EMPTY_S + BARREN_S
        self._empty.setdefault(job_type, {})[partition] = until

    def away(self, partition: int) -> None:
        """It did not answer: the others are served without waiting for it again at once."""
        self._away[partition] = time.monotonic()

    def are_away(self) -> set[int]:
        """Partitions that are not looked at for a moment: they may hold jobs."""
        since_s = time.monotonic() - AWAY_S
        self._away = {one: at_s for one, at_s in self._away.items() if at_s > since_s}
        return set(self._away)

    def ready(self, job_type: str) -> dict[int, int]:
        """Partitions that may hold jobs of the type, and how often each has been filled."""
        empty = self._empty.get(job_type, {})
        since_s = time.monotonic() - EMPTY_S
        away = self.are_away()
        return {
            one: fillings
            for one, fillings in enumerate(self._fillings)
            if one not in away and empty.get(one, since_s) <= since_s
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
        self._note_empty(job_type, ready, heads)
        left = {one: deque(entries) for one, entries in heads.items() if entries}
        may_hold_more = any(len(entries) == depth for entries in left.values())
        fair, self._claims[job_type] = divmod(self._claims.get(job_type, 0) + claims, FAIR_EVERY)
        allotted = Counter(self._in_turn(job_type, left, fair))
        room = claims - allotted.total()
        first = heapq.merge(*([(head, one) for head in left[one]] for one in left))
        allotted.update(one for _, one in islice(first, room))
        seen = sum(map(len, heads.values()))
        return dict(allotted), may_hold_more or seen > allotted.total()

    def _in_turn(self, job_type: str, left: dict[int, deque[Head]], claims: int) -> Iterator[int]:
        """Partitions that have jobs, one after the other from the last one on; takes their heads
        out of `left`."""
        for _ in range(claims):
            having = [one for one, entries in left.items() if entries]
            if not having:
                return
            last = self._turn.get(job_type, -1)
            self._turn[job_type] = one = min(having, key=lambda one: (one <= last, one))
            left[one].popleft()
            yield one

    def _note_empty(
        self, job_type: str, ready: Mapping[int, int], heads: Mapping[int, Sequence[Head]]
    ) -> None:
        """Unless a job came in while its queue was looked at."""
        empty = self._empty.setdefault(job_type, {})
        now_s = time.monotonic()
        for one, entries in heads.items():
            if entries:
                empty.pop(one, None)
            elif self._fillings[one] == ready[one]:
                empty[one] = now_s

"""Places for claims: those that have one run, others wait here in order.

A worker holds more claims than it has places where it fetches ahead, so that a place that falls
free is taken at once, without a word to the broker; and where the broker gives the places of
revoked claims away while their functions still stop (SPEC.md, section 10).
"""

from collections.abc import Mapping
from typing import Final

from packhorse.execution import Run
from packhorse.functions import JobFunction

WAITING_CLAIMS: Final = 1_000
"""As many claims may wait at least; as many as the worker asked for, where that is more."""


class Places:
    """`enter` or `wait` for each claim that comes, `leave` for each run that ends, then `next`."""

    def __init__(
        self, functions: Mapping[str, JobFunction], *, concurrency: int, prefetch: int
    ) -> None:
        self._free = concurrency
        self._free_of = {
            job_type: function.terms.concurrency
            for job_type, function in functions.items()
            if function.terms.concurrency
        }
        """By type, of those that have a bound of their own."""
        self._queues: dict[str, dict[bytes, tuple[int, Run]]] = {}
        """Those that wait, by type and token, in the order in which they came."""
        self._came = 0
        self._waiting = 0
        self._most_waiting = max(WAITING_CLAIMS, concurrency + prefetch)

    def enter(self, run: Run) -> bool:
        """Whether there is a place: it has it."""
        if self._free <= 0:
            return False
        if self._free_of:
            if not self._has_place(run.claim.type):
                return False
            self._count(run, -1)
        self._free -= 1
        return True

    def wait(self, run: Run) -> bool:
        """It waits for a place, unless too many do; whether it does."""
        if self._waiting >= self._most_waiting:
            return False
        self._waiting += 1
        self._came += 1
        queue = self._queues.setdefault(run.claim.type, {})
        queue[run.claim.token] = self._came, run
        return True

    def leave(self, run: Run) -> int:
        """It ran, and has ended; how many wait."""
        self._free += 1
        if self._free_of:
            self._count(run, 1)
        return self._waiting

    def promote(self, run: Run) -> bool:
        """It is to run at once, whether there is a place or not; whether it waited."""
        waited = self.drop(run)
        if waited:
            self._free -= 1
            self._count(run, -1)
        return waited

    def next(self) -> Run | None:
        """The one that waits for longest of those that have a place now: it has it."""
        if self._free <= 0:
            return None
        heads = [
            next(iter(queue.values()))
            for job_type, queue in self._queues.items()
            if queue and self._has_place(job_type)
        ]
        if not heads:
            return None
        _, run = min(heads, key=lambda head: head[0])
        self.promote(run)
        return run

    def drop(self, run: Run) -> bool:
        """It is not to run any more; whether it waited."""
        waited = self._queues.get(run.claim.type, {}).pop(run.claim.token, None) is not None
        self._waiting -= waited
        return waited

    def drop_all(self) -> list[Run]:
        """Nothing is to run any more: all that waited."""
        queues, self._queues, self._waiting = self._queues, {}, 0
        return [run for queue in queues.values() for _, run in queue.values()]

    def _has_place(self, job_type: str) -> bool:
        return self._free_of.get(job_type, 1) > 0

    def _count(self, run: Run, freed: int) -> None:
        if run.claim.type in self._free_of:
            self._free_of[run.claim.type] += freed

"""Claims that wait in the worker for a place: fetched ahead, so that a place that falls free is
taken at once, without a word to the broker."""

from collections.abc import Mapping

from packhorse.execution import Run
from packhorse.functions import JobFunction


class Prefetched:
    """`enter` for each claim that comes, `leave` for each run that ends, then `next`."""

    def __init__(self, functions: Mapping[str, JobFunction], concurrency: int) -> None:
        self._free = concurrency
        self._free_of = {
            job_type: function.terms.concurrency or concurrency
            for job_type, function in functions.items()
        }
        self._waiting: dict[str, dict[bytes, tuple[int, Run]]] = {}
        """By type and token, in the order in which they came."""
        self._came = 0

    def enter(self, run: Run, *, at_once: bool) -> bool:
        """Whether it has a place, or is to run without one; else it waits."""
        job_type = run.claim.type
        if at_once or (self._free > 0 and self._free_of[job_type] > 0):
            self._place(job_type)
            return True
        self._came += 1
        self._waiting.setdefault(job_type, {})[run.claim.token] = self._came, run
        return False

    def leave(self, run: Run) -> None:
        """It ran, and has ended."""
        self._free += 1
        self._free_of[run.claim.type] += 1

    def next(self) -> Run | None:
        """The one that waits for longest of those that have a place now."""
        if self._free <= 0:
            return None
        heads = [
            (next(iter(waiting.values())), waiting)
            for job_type, waiting in self._waiting.items()
            if waiting and self._free_of[job_type] > 0
        ]
        if not heads:
            return None
        (_, run), waiting = min(heads, key=lambda head: head[0][0])
        del waiting[run.claim.token]
        self._place(run.claim.type)
        return run

    def drop(self, run: Run) -> bool:
        """It is not to run any more; whether it waited."""
        return self._waiting.get(run.claim.type, {}).pop(run.claim.token, None) is not None

    def drop_all(self) -> list[Run]:
        """Nothing is to run any more: all that waited."""
        waiting, self._waiting = self._waiting, {}
        return [run for runs in waiting.values() for _, run in runs.values()]

    def _place(self, job_type: str) -> None:
        self._free -= 1
        self._free_of[job_type] -= 1

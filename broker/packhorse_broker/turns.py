"""Fair turns: how one runner's places are shared among the types it takes.

The next place goes to that type, of those that may have jobs waiting, which has had the least in
proportion to its weight; of equals, to the one that was not drawn from for longest. So while
several types always have jobs waiting, none is ever more than one place ahead of its share, nor
a whole turn behind it; a turn is as many places as the weights add up to. A type alone gets
every place. One that had no jobs for a while starts level with those that had: what it did not
want then is not made up for.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

PLAIN_WEIGHT: Final = 1
"""Of a type for which the runner named none."""


class Turns:
    """Of one runner. `weigh` as often as it says what it takes, `level` before places are given
    out, `served` for each that was used."""

    def __init__(self) -> None:
        self._weights: Mapping[str, int] = {}
        self._had: dict[str, float] = {}
        """What each type has had: places by weight, on a scale that all share."""
        self._now = 0.0
        """Where the least served of those that wanted places stood when it was looked last."""

    def weigh(self, types: Iterable[str], weights: Mapping[str, int]) -> None:
        """Replaces the weights. What the types have had still counts."""
        self._weights = weights
        self._had = {job_type: self._had.get(job_type, 0.0) for job_type in types}

    def level(self, wanting: Collection[str]) -> None:
        """These want places now. Those that did not for a while catch up with the others."""
        had = [self._had[job_type] for job_type in wanting]
        self._now = min((so_far for so_far in had if so_far >= self._now), default=self._now)
        for job_type in wanting:
            self._had[job_type] = max(self._had[job_type], self._now)

    def standing(self, job_type: str, reserved: int) -> float:
        """What a type has had once the places that are reserved for it are used; the type with
        the least is next."""
        return self._had[job_type] + reserved / self._weight(job_type)

    def step(self, job_type: str) -> float:
        """By how much one place moves a type."""
        return 1 / self._weight(job_type)

    def served(self, job_type: str) -> None:
        """The type has had a place."""
        if job_type in self._had:
            self._had[job_type] += self.step(job_type)

    def _weight(self, job_type: str) -> int:
        return self._weights.get(job_type, PLAIN_WEIGHT)

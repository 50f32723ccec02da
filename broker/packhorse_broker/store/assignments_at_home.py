"""Which broker brings which outcome to a group, in a store with several partitions: it is kept
where the job is, so that one transaction ends both."""

import asyncio
from collections.abc import Collection, Sequence
from typing import TypeAlias

from packhorse_broker.store.assignments import Assignments
from packhorse_broker.store.homes import Homes


class AssignmentsAtHome:
    """What `Assignments` offers, over one for each partition. All raise StoreUnavailable."""

    def __init__(self, parts: Sequence[Assignments]) -> None:
        self._parts = parts
        self._homes = Homes(len(parts))
        self.broker = parts[0].broker

    async def take(self, group: str, jobs: Sequence[str]) -> dict[str, str]:
        owners = await asyncio.gather(*(part.take(group, own) for part, own in self._split(jobs)))
        return {job: owner for part in owners for job, owner in part.items()}

    async def take_over(self, group: str, jobs: Sequence[str], gone: Collection[str]) -> None:
        await asyncio.gather(*(part.take_over(group, own, gone) for part, own in self._split(jobs)))

    async def give_back(self, group: str, jobs: Sequence[str]) -> None:
        await asyncio.gather(*(part.give_back(group, own) for part, own in self._split(jobs)))

    def _split(self, jobs: Sequence[str]) -> list[tuple[Assignments, list[str]]]:
        return [
            (self._parts[home], [jobs[place] for place in places])
            for home, places in self._homes.split(jobs).items()
        ]

    async def close(self) -> None:
        await asyncio.gather(*(part.close() for part in self._parts))


Assigning: TypeAlias = Assignments | AssignmentsAtHome
"""Of one partition, or of several."""

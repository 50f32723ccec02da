"""Which partition of the store a job lives in: it follows from its id.

What stands behind the last `~` of an id, or else all of it, is hashed. A job with a unique key has
to live where the key does, or no transaction could cover both: its id ends in the key's own tag.

    homes = Homes(16)
    homes.of("9qtz4mka1d7rw2he")              one of 0..15
    homes.of("9qtz4mka1d7rw2he~5f3a90c1")     the same one for whatever stands before the ~
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import TypeVar
from zlib import crc32

from packhorse_protocol.ids import tag_of, unique_tag

Answer = TypeVar("Answer")


class Homes:
    """Of a store with so many partitions."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions

    def of(self, job_id: str) -> int:
        """The job's partition."""
        return crc32(tag_of(job_id).encode()) % self.partitions

    def split(self, ids: Sequence[str]) -> dict[int, list[int]]:
        """Places in `ids`, by partition and in order."""
        places: dict[int, list[int]] = {}
        for place, job_id in enumerate(ids):
            places.setdefault(self.of(job_id), []).append(place)
        return places

    async def ask(
        self,
        ids: Sequence[str],
        ask: Callable[[int, Sequence[str]], Awaitable[Sequence[Answer]]],
    ) -> list[Answer]:
        """Asks each partition about its own of these jobs; the answers in the order of `ids`."""
        split = self.split(ids)
        answers = await asyncio.gather(
            *(ask(home, [ids[place] for place in places]) for home, places in split.items())
        )
        by_place = dict(
            zip(chain.from_iterable(split.values()), chain.from_iterable(answers), strict=True)
        )
        return [by_place[place] for place in range(len(ids))]

    def fits(self, job_id: str, job_type: str, unique_key: str) -> bool:
        """Whether a job of this id may have the unique key."""
        return self.of(job_id) == self.of(unique_tag(job_type, unique_key))

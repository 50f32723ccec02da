"""Looks at the head of a partition's queues, where several partitions serve a type together."""

import asyncio
from typing import Final

from packhorse_broker.store.draws import Head
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.packing import pack
from packhorse_broker.store.read_lane import ReadLane

PATIENCE_S: Final = 0.25
"""So long the other partitions wait for one that does not answer."""


class Heads:
    """Over a connection of its own, so that no draw waits for a long read."""

    def __init__(self, lane: ReadLane) -> None:
        self._lane = lane

    async def of(self, job_type: str, depth: int) -> list[Head]:
        """The first entries of the type's queue. Raises StoreUnavailable, also if it is slow."""
        queue = self._lane.keys.queue(job_type)
        try:
            async with asyncio.timeout(PATIENCE_S):
                [found] = await self._lane.ask(pack(("ZRANGE", queue, 0, depth - 1, "WITHSCORES")))
        except TimeoutError as error:
            raise StoreUnavailable("the head of a queue was not told in time") from error
        return [
            (float(score), member) for member, score in zip(found[::2], found[1::2], strict=True)
        ]

    async def close(self) -> None:
        await self._lane.close()

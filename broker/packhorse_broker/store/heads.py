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
        self._late: set[asyncio.Task[list[Head]]] = set()
        """Looks that nobody waits for any more."""

    async def of(self, job_type: str, depth: int) -> list[Head]:
        """The first entries of the type's queue. Raises StoreUnavailable, also if it is slow."""
        if self._late:
            raise StoreUnavailable("the server has not told the last one yet")
        look = asyncio.create_task(self._look(job_type, depth))
        try:
            await asyncio.wait((look,), timeout=PATIENCE_S)
        except asyncio.CancelledError:
            look.cancel()
            raise
        if not look.done():
            self._late.add(look)
            look.add_done_callback(self._came)
            raise StoreUnavailable("the head of a queue was not told in time")
        return look.result()

    async def _look(self, job_type: str, depth: int) -> list[Head]:
        queue = self._lane.keys.queue(job_type)
        [found] = await self._lane.ask(pack(("ZRANGE", queue, 0, depth - 1, "WITHSCORES")))
        return [
            (float(score), member) for member, score in zip(found[::2], found[1::2], strict=True)
        ]

    def _came(self, look: "asyncio.Task[list[Head]]") -> None:
        """Too late to be of use: but the connection is good for the next one."""
        self._late.discard(look)
        if not look.cancelled():
            look.exception()

    async def close(self) -> None:
        for look in tuple(self._late):
            look.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)
        await self._lane.close()

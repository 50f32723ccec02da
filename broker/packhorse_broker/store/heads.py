"""Looks at the head of a partition's queues, where several partitions serve a type together."""

from packhorse_broker.store.draws import Head
from packhorse_broker.store.packing import pack
from packhorse_broker.store.read_lane import ReadLane


class Heads:
    """Over a connection of its own, so that no draw waits for a long read."""

    def __init__(self, lane: ReadLane) -> None:
        self._lane = lane

    async def of(self, job_type: str, depth: int) -> list[Head]:
        """The first entries of the type's queue. Raises StoreUnavailable."""
        queue = self._lane.keys.queue(job_type)
        [found] = await self._lane.ask(pack(("ZRANGE", queue, 0, depth - 1, "WITHSCORES")))
        return [
            (float(score), member) for member, score in zip(found[::2], found[1::2], strict=True)
        ]

    async def close(self) -> None:
        await self._lane.close()

"""Finds types that have jobs waiting though nobody said so: a notice may be lost, a broker gone.

The store is asked about many types together, and about single ones only where any of these has
jobs: what is idle costs little, however many types and partitions there are.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import chain, compress
from typing import Final

import structlog

from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.packing import pack
from packhorse_broker.store.read_lane import ReadLane

_log = structlog.get_logger(__name__)

TOGETHER: Final = 50
"""Types in one question. Where any of them has jobs, as many further ones are asked."""

PAGE: Final = 1_000
"""Types in one exchange, so that others have their turn."""

PATIENCE_S: Final = 0.25
"""So long the other partitions wait for one that does not answer."""


class Waiting:
    """`look` now and then; `found` is told of types that have jobs, by partition."""

    def __init__(
        self, lanes: Sequence[ReadLane], found: Callable[[int, Sequence[str]], None]
    ) -> None:
        """`lanes`: one to each partition."""
        self._lanes = lanes
        self._found = found
        self._round: asyncio.Task[None] | None = None
        self._looks: dict[int, asyncio.Task[None]] = {}
        """Of partitions that have not answered yet."""

    def look(self, types: Sequence[str]) -> None:
        """Asks about these types, unless it is still being asked about those of the last time."""
        if types and (self._round is None or self._round.done()):
            self._round = asyncio.create_task(self._look(types), name="packhorse-waiting")

    async def _look(self, types: Sequence[str]) -> None:
        """One partition after the other, so that the loop has its turn in between."""
        for partition in range(len(self._lanes)):
            if partition not in self._looks:
                look = asyncio.create_task(self._look_in(partition, types))
                self._looks[partition] = look
                await asyncio.wait((look,), timeout=PATIENCE_S)

    async def _look_in(self, partition: int, types: Sequence[str]) -> None:
        try:
            for start in range(0, len(types), PAGE):
                found = await self._having(partition, types[start : start + PAGE])
                if found:
                    self._found(partition, found)
        except StoreUnavailable as error:
            # The next look asks again, and until then there is nothing to be had.
            _log.debug("waiting.not_told", partition=partition, error=str(error))
        finally:
            del self._looks[partition]

    async def _having(self, partition: int, types: Sequence[str]) -> list[str]:
        """Those of the types that have jobs waiting in the partition."""
        lane = self._lanes[partition]
        groups = [types[start : start + TOGETHER] for start in range(0, len(types), TOGETHER)]

        async def counts(groups: Sequence[Sequence[str]]) -> list[int]:
            queues = (map(lane.keys.queue, group) for group in groups)
            return await lane.ask(*(pack(("EXISTS", *keys)) for keys in queues))

        closer = [*chain.from_iterable(compress(groups, await counts(groups)))]
        if not closer:
            return []
        return [*compress(closer, await counts([(job_type,) for job_type in closer]))]

    async def close(self) -> None:
        tasks = [*self._looks.values()]
        if self._round is not None:
            tasks.append(self._round)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

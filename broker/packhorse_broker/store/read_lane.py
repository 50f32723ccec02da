"""A connection for reading one partition, one exchange at a time."""

import asyncio
from typing import Any

from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.transaction import Lane


class ReadLane:
    """Whoever asks waits for those before. Raises StoreUnavailable."""

    def __init__(self, lane: Lane, keys: PartitionKeys) -> None:
        self.keys = keys
        self._lane = lane
        self._turn = asyncio.Lock()

    async def ask(self, *commands: bytes) -> list[Any]:
        """A reply to each packed command."""
        async with self._turn:
            return await self._lane.ask(*commands)

    @property
    def run_id(self) -> str:
        """Names the store's process that answered last; empty before."""
        return self._lane.run_id

    async def close(self) -> None:
        await self._lane.close(forget_mark=False)

"""What types hold in the other partitions, so that a limit holds for all of them together.

One that is away counts as it told last: whoever creates jobs elsewhere does not wait for it, and a
limit may be exceeded by what it holds more.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.reader import Reader
from packhorse_broker.store.usage import Usage

PATIENCE_S: Final = 0.1

NOTHING: Final[Usage] = (0, 0)


class UsageElsewhere:
    """Asks the readers of all partitions but one."""

    def __init__(self, parts: Sequence[Reader]) -> None:
        self._parts = parts
        self._told: list[dict[str, Usage]] = [{} for _ in parts]
        """Of each partition, by type, what it told last."""

    async def of(self, partition: int, types: list[str]) -> list[list[Usage]]:
        """What each partition but this one holds of these types."""
        others = [number for number in range(len(self._parts)) if number != partition]
        await asyncio.gather(*(self._ask(number, types) for number in others))
        return [
            [self._told[number].get(job_type, NOTHING) for job_type in types] for number in others
        ]

    async def _ask(self, partition: int, types: list[str]) -> None:
        """A transaction waits for the answer, and others behind it: not for long."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await self._parts[partition].usage(types)
        except (StoreUnavailable, TimeoutError):
            return
        self._told[partition].update(zip(types, answer, strict=True))

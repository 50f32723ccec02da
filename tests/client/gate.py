"""Where job functions wait until the test lets them go on."""

import asyncio


class Gate:
    """Counts those who are in, and lets them out together."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self._open = asyncio.Event()
        self._entered = asyncio.Condition()

    async def enter(self) -> None:
        async with self._entered:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self._entered.notify_all()
        await self._open.wait()
        self.inside -= 1

    async def has(self, number: int) -> None:
        async with self._entered:
            await self._entered.wait_for(lambda: self.inside >= number)

    def open(self) -> None:
        self._open.set()

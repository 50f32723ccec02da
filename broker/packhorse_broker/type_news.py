"""Learns what was set about types, at whatever broker, and lets runners know that they may go on.

A pause holds by the transactions that watch it, not by what is known here. What is learnt here
ends it: a type that gives out jobs again is drawn from at once, also when its pause ends by
itself. `follow` after a change here, after a notice of one elsewhere, and now and then in case
that a notice was lost.
"""

import asyncio

from packhorse_broker.clock import StoreClock
from packhorse_broker.feeder import Feeder
from packhorse_broker.store.type_copies import TypeCopies
from packhorse_broker.store.type_readers import ReadingTypes
from packhorse_broker.store.types import TypeBook, TypeSettings


class TypeNews:
    """Keeps the book of types up to date."""

    def __init__(
        self,
        reader: ReadingTypes,
        copies: TypeCopies,
        book: TypeBook,
        feeder: Feeder,
        clock: StoreClock,
    ) -> None:
        self._reader = reader
        self._copies = copies
        self._book = book
        self._feeder = feeder
        self._clock = clock
        self._number = 0
        """Of the newest change that was read."""
        self._turn = asyncio.Lock()
        self._resuming: dict[str, asyncio.TimerHandle] = {}
        """Types whose pause ends by itself."""

    async def follow(self) -> None:
        """Reads what was changed since the last time; it holds everywhere then. Raises
        StoreUnavailable."""
        async with self._turn:
            while True:
                changed, number = await self._reader.changed_since(self._number)
                if not changed:
                    return
                await self._copies.bring(changed)
                self._number = number
                for job_type, settings in changed.items():
                    self._book.put(job_type, settings)
                    self._wake(job_type, settings)

    async def begin_anew(self) -> None:
        """The store was wiped, or has lost its last changes. Raises StoreUnavailable."""
        async with self._turn:
            await self._copies.restore()
            known = [job_type for job_type, _ in self._book]
            self._book.clear()
            self._number = 0
        for job_type in known:
            self._wake(job_type, self._book[job_type])
        await self.follow()

    def _wake(self, job_type: str, settings: TypeSettings) -> None:
        resuming = self._resuming.pop(job_type, None)
        if resuming is not None:
            resuming.cancel()
        now_ms = self._clock.now_ms()
        if settings.gives_out(now_ms):
            self._feeder.queued(job_type)
        elif settings.paused_until:
            wait_s = (settings.paused_until - now_ms) / 1000
            loop = asyncio.get_running_loop()
            self._resuming[job_type] = loop.call_later(wait_s, self._wake, job_type, settings)

    def close(self) -> None:
        for resuming in self._resuming.values():
            resuming.cancel()
        self._resuming.clear()

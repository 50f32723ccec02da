"""Evidence of what a store lost: marks that are written to it all the time, and the last one last.

A server that came back, or took the place of another, has all that was acknowledged before the
newest mark in it. If that is not the newest one that was acknowledged, acknowledged changes are
gone: what was answered since is recorded as `rolled back`, and only that.
"""

import asyncio
import contextlib
import time
from typing import Final

from redis.exceptions import RedisError

from packhorse_broker.store.errors import StoreError
from tests.history.history import ROLLED_BACK, Recorder
from tests.support.inspection import Raw

KEY: Final = "chaos:mark"
"""Outside of the prefix of the brokers."""

GAP_S: Final = 0.02
"""Between two marks: how exactly the begin of a loss is known."""

LAST_S: Final = 0.3
"""For the last mark of a server that is about to be killed."""


class Marks:
    """What was acknowledged, and what was found of it."""

    def __init__(self, recorder: Recorder, slot: str = "") -> None:
        """`slot`: the part of the store that these are about, where it has several."""
        self._recorder = recorder
        self._slot = slot
        self._acknowledged = 0

    def acknowledged(self, mark: int) -> None:
        self._acknowledged = max(self._acknowledged, mark)

    def found(self, mark: int, where: str) -> None:
        """If it is not the newest, what was answered since is recorded as lost."""
        if mark < self._acknowledged:
            self.lost(mark, where)

    def lost(self, since: int, where: str) -> None:
        """What was answered by it since then, and to now, may be gone."""
        now = time.monotonic_ns()
        number = now - since
        self._recorder.write("note", ROLLED_BACK, text=where, number=number, slot=self._slot)


class Marking:
    """Of one server that is killed and started again: `begin` when it listens, `end` before."""

    def __init__(self, marks: Marks, name: str, url: str) -> None:
        self._marks = marks
        self._name = name
        self._url = url
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Looks for the marks from before, and goes on with new ones."""
        raw = await Raw.open(self._url)
        self._marks.found(int(await raw("GET", KEY) or 0), f"{self._name} started again")
        self._task = asyncio.create_task(self._write(raw))

    async def end(self) -> None:
        """With a last one, if it can be had."""
        await self.stop()
        with contextlib.suppress(StoreError, RedisError, OSError, TimeoutError):
            async with asyncio.timeout(LAST_S):
                raw = await Raw.open(self._url)
                try:
                    await self._put(raw)
                finally:
                    await raw.close()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _write(self, raw: Raw) -> None:
        try:
            while True:
                await self._put(raw)
                await asyncio.sleep(GAP_S)
        finally:
            await raw.close()

    async def _put(self, raw: Raw) -> None:
        mark = time.monotonic_ns()
        await raw("SET", KEY, mark)
        self._marks.acknowledged(mark)

"""Looks at the head of a partition's queues, where several partitions serve a type together."""

import asyncio
from typing import Any, Final, TypeAlias

from packhorse_broker.store.draws import Head
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.packing import pack
from packhorse_broker.store.read_lane import ReadLane

PATIENCE_S: Final = 0.25
"""So long the other partitions wait for one that does not answer."""

Look: TypeAlias = "asyncio.Future[list[Head]]"


class Heads:
    """Over a connection of its own, so that no draw waits for a long read. All looks that are
    asked for in one turn of the loop, or while others are under way, are one exchange."""

    def __init__(self, lane: ReadLane) -> None:
        self._lane = lane
        self._asked: list[tuple[bytes, Look]] = []
        self._asking: asyncio.Task[None] | None = None
        self._late = False
        """Whether nobody waits any more for the exchange that is under way."""

    def of(self, job_type: str, depth: int) -> Look:
        """The first entries of the type's queue. Raises StoreUnavailable, also if it is slow."""
        look: Look = asyncio.get_running_loop().create_future()
        if self._late:
            look.set_exception(StoreUnavailable("the server has not told the last one yet"))
            return look
        queue = self._lane.keys.queue(job_type)
        self._asked.append((pack(("ZRANGE", queue, 0, depth - 1, "WITHSCORES")), look))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name="packhorse-heads")
        return look

    async def _ask(self) -> None:
        try:
            while self._asked:
                await self._exchange()
        finally:
            self._asking = None

    async def _exchange(self) -> None:
        asked, self._asked = self._asked, []
        looks = [look for _, look in asked]
        loop = asyncio.get_running_loop()
        patience = loop.call_later(PATIENCE_S, self._give_up, looks)
        try:
            replies = await self._lane.ask(*(command for command, _ in asked))
        except StoreUnavailable as error:
            _fail(looks, str(error))
        except BaseException:
            self._fail_all(looks, "the look was broken off")
            raise
        else:
            for look, reply in zip(looks, replies, strict=True):
                if not look.done():
                    look.set_result(_heads(reply))
        finally:
            patience.cancel()
            self._late = False

    def _give_up(self, looks: list[Look]) -> None:
        """What comes is too late to be of use: but the connection is good for the next ones."""
        self._late = True
        self._fail_all(looks, "the head of a queue was not told in time")

    def _fail_all(self, looks: list[Look], why: str) -> None:
        """These, and all that wait for the next exchange."""
        asked, self._asked = self._asked, []
        _fail([*looks, *(look for _, look in asked)], why)

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait((self._asking,))
        self._fail_all([], "the broker ends")
        await self._lane.close()


def _heads(found: list[Any]) -> list[Head]:
    return [(float(score), member) for member, score in zip(found[::2], found[1::2], strict=True)]


def _fail(looks: list[Look], why: str) -> None:
    for look in looks:
        if not look.done():
            look.set_exception(StoreUnavailable(why))

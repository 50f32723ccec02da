"""Which types the connected runners take, at all brokers.

Each broker says so about once a second (`announce`), and what it said is forgotten soon after it
stopped. Of this broker what holds now is asked instead, so that with one broker nothing is late.

    takes = await board.takes()
    runners, free_places = takes.get("resize", NOBODY)
"""

import asyncio
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final, TypeAlias

import msgpack
import structlog

from packhorse_broker.store.keys import ClientKeys
from packhorse_broker.store.link import pack
from packhorse_broker.store.transaction import Lane

_log = structlog.get_logger(__name__)

Taken: TypeAlias = Mapping[str, tuple[int, int]]
"""By type: how many connected runners take it, and the places that they have free for it."""

NOBODY: Final = (0, 0)

TAKES_TTL_MS: Final = 5_000
"""What a broker said is forgotten after as long as the broker itself."""

MAX_TYPES: Final = 10_000
"""Types in one announcement, so that a client that names very many costs no more than that."""

MAX_BROKERS: Final = 1_000
"""Brokers whose announcements are read."""


class TakesBoard:
    """`announce` now and then; `takes` tells. Both raise StoreUnavailable."""

    def __init__(
        self, lane: Lane, keys: ClientKeys, *, broker: str, taken: Callable[[], Taken]
    ) -> None:
        self._lane = lane
        self._keys = keys
        self._broker = broker
        self._taken = taken
        """What the runners of this broker take now."""
        self._turn = asyncio.Lock()

    async def announce(self) -> None:
        """Tells the other brokers what the runners of this one take."""
        taken = dict(islice(self._taken().items(), MAX_TYPES))
        key = self._keys.takes(self._broker)
        async with self._turn:
            await self._lane.write(
                ("SET", key, _encode(taken), "PX", TAKES_TTL_MS) if taken else ("DEL", key)
            )

    async def withdraw(self) -> None:
        """This broker ends, and its runners with it."""
        await self._ask(pack(("DEL", self._keys.takes(self._broker))))

    async def takes(self) -> dict[str, tuple[int, int]]:
        """By type: connected runners that take it, and their free places, at all brokers. Types
        that nobody takes are not in it.

        Of other brokers this is about a second old; free places say how busy they are, no more.
        """
        [members] = await self._ask(pack(("ZRANGE", self._keys.brokers, 0, MAX_BROKERS - 1)))
        others = [name for name in map(bytes.decode, members) if name != self._broker]
        told: list[bytes | None] = []
        if others:
            [told] = await self._ask(pack(("MGET", *map(self._keys.takes, others))))
        sums: dict[str, tuple[int, int]] = dict(self._taken())
        for broker, data in zip(others, told, strict=True):
            for job_type, (runners, free) in _decoded(broker, data).items():
                so_far = sums.get(job_type, NOBODY)
                sums[job_type] = (so_far[0] + runners, so_far[1] + free)
        return sums

    async def _ask(self, *commands: bytes) -> list[Any]:
        async with self._turn:
            return await self._lane.ask(*commands)

    async def close(self) -> None:
        await self._lane.close(forget_mark=False)


def _encode(taken: Taken) -> bytes:
    packed: bytes = msgpack.packb(taken)
    return packed


def _decoded(broker: str, data: bytes | None) -> dict[str, tuple[int, int]]:
    if data is None:
        return {}
    try:
        return {
            str(job_type): (int(runners), int(free))
            for job_type, (runners, free) in msgpack.unpackb(data).items()
        }
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as error:
        _log.error("store.corrupt_takes", broker=broker, error=repr(error))
        return {}

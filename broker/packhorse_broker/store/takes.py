"""Which types the connected runners take, at all brokers.

Each broker says so about once a second (`announce`), and what it said is forgotten soon after it
stopped. Of this broker what holds now is asked instead, so that with one broker nothing is late.

    takes = await board.takes()
    runners, free_places = takes.get("resize", NOBODY)
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import Any, Final, TypeAlias

import msgpack
import structlog

from packhorse_broker.store.keys import ClientKeys
from packhorse_broker.store.packing import pack
from packhorse_broker.store.shares import ALONE, Rivals
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
        self,
        lane: Lane,
        keys: ClientKeys,
        *,
        broker: str,
        taken: Callable[[], Taken],
        claimed: Callable[[], Collection[str]],
    ) -> None:
        self._lane = lane
        self._keys = keys
        self._broker = broker
        self._taken = taken
        """What the runners of this broker take now."""
        self._claimed = claimed
        """Types of which jobs were claimed here since it was asked last."""
        self._turn = asyncio.Lock()
        self._others: dict[str, list[str]] = {}
        """By type: other brokers whose runners take it, as it was when this one announced."""

    async def announce(self) -> None:
        """Tells the other brokers what the runners of this one take."""
        claimed = self._claimed()
        taken = {
            job_type: (runners, free, bool(free) or job_type in claimed)
            for job_type, (runners, free) in islice(self._taken().items(), MAX_TYPES)
        }
        key = self._keys.takes(self._broker)
        async with self._turn:
            await self._lane.write(
                ("SET", key, _encode(taken), "PX", TAKES_TTL_MS) if taken else ("DEL", key)
            )
        found: dict[str, list[str]] = {}
        for broker, theirs in (await self._told_by_others()).items():
            for job_type, (_, _, claims) in theirs.items():
                if not claims:
                    continue  # Its runners are busy with long jobs.
                found.setdefault(job_type, []).append(broker)
        self._others = found

    def rivals(self, job_type: str) -> Rivals:
        """Who claims jobs of a type: as of the last announcement, and this broker in any case. Not
        those whose runners had no place free, and got no job either since the one before."""
        others = self._others.get(job_type)
        if not others:
            return ALONE
        brokers = tuple(sorted((*others, self._broker)))
        return Rivals(brokers, brokers.index(self._broker))

    async def withdraw(self) -> None:
        """This broker ends, and its runners with it."""
        await self._ask(pack(("DEL", self._keys.takes(self._broker))))

    async def takes(self) -> dict[str, tuple[int, int]]:
        """By type: connected runners that take it, and their free places, at all brokers. Types
        that nobody takes are not in it.

        Of other brokers this is about a second old; free places say how busy they are, no more.
        """
        sums: dict[str, tuple[int, int]] = dict(self._taken())
        for theirs in (await self._told_by_others()).values():
            for job_type, (runners, free, _) in theirs.items():
                so_far = sums.get(job_type, NOBODY)
                sums[job_type] = (so_far[0] + runners, so_far[1] + free)
        return sums

    async def _told_by_others(self) -> dict[str, dict[str, tuple[int, int, bool]]]:
        """By broker that runs: what its runners take, and whether it claims any."""
        [members] = await self._ask(pack(("ZRANGE", self._keys.brokers, 0, MAX_BROKERS - 1)))
        others = [name for name in map(bytes.decode, members) if name != self._broker]
        if not others:
            return {}
        [told] = await self._ask(pack(("MGET", *map(self._keys.takes, others))))
        return {broker: _decoded(broker, data) for broker, data in zip(others, told, strict=True)}

    async def _ask(self, *commands: bytes) -> list[Any]:
        async with self._turn:
            return await self._lane.ask(*commands)

    async def close(self) -> None:
        await self._lane.close(forget_mark=False)


def _encode(taken: Mapping[str, tuple[int, int, bool]]) -> bytes:
    packed: bytes = msgpack.packb(taken)
    return packed


def _decoded(broker: str, data: bytes | None) -> dict[str, tuple[int, int, bool]]:
    if data is None:
        return {}
    try:
        return {
            str(job_type): (int(runners), int(free), bool(claims))
            for job_type, (runners, free, claims) in msgpack.unpackb(data).items()
        }
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as error:
        _log.error("store.corrupt_takes", broker=broker, error=repr(error))
        return {}

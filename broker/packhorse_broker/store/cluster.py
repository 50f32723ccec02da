"""Which primary of a Cluster holds a slot, as its nodes said last.

They are asked anew when what they said has turned out to be wrong, one after the other until one
answers. Of two answers the one of the newer configuration counts: a node that is cut off goes on
naming former primaries.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError

from packhorse_broker.store.packing import pack
from packhorse_broker.store.replies import Replies
from packhorse_broker.store_url import ClusterUrl

Place: TypeAlias = tuple[str, int]
"""Host and port."""

PAUSE_S: Final = 0.05
"""Nodes are asked no more often than this: a failover takes far longer."""

SHARE_OF_NODE: Final = 0.3
"""Of the time for a connection, what one node has to answer: others may have to be asked."""


@dataclass(frozen=True, slots=True)
class SlotMap:
    """What a node knows. `epoch`: of its configuration, the higher the newer."""

    epoch: int
    ranges: tuple[tuple[int, int, Place], ...]
    """First and last slot, and their primary."""

    def place_of(self, slot: int) -> Place | None:
        for first, last, place in self.ranges:
            if first <= slot <= last:
                return place
        return None


class ClusterMap:
    """`place_of` a slot; `outdated` says that it was wrong."""

    def __init__(self, url: ClusterUrl) -> None:
        self._url = url
        self._map = SlotMap(-1, ())
        self._is_outdated = True
        self._asked_s = -PAUSE_S
        """By the monotonic clock."""
        self._turn = asyncio.Lock()

    def outdated(self) -> None:
        """A connection could not be made, or its server holds the slot no more."""
        self._is_outdated = True

    async def place_of(self, slot: int, options: dict[str, Any]) -> Place:
        """`options`: arguments for redis-py. Raises RedisError, OSError."""
        if self._is_outdated:
            async with self._turn:
                if self._is_outdated:
                    await self._ask(options)
        place = self._map.place_of(slot)
        if place is None:
            self._is_outdated = True
            raise LostConnection(f"no node of the Cluster holds slot {slot}")
        return place

    async def _ask(self, options: dict[str, Any]) -> None:
        await asyncio.sleep(self._asked_s + PAUSE_S - time.monotonic())
        self._asked_s = time.monotonic()
        lost: RedisError | OSError = LostConnection("no node of the Cluster answers")
        for place in self._nodes():
            try:
                found = await _asked(self._url, place, options)
            except (RedisError, OSError) as error:
                lost = error
                continue
            if found.epoch >= self._map.epoch and found.ranges:
                self._map = found
                self._is_outdated = False
                return
        raise lost

    def _nodes(self) -> Sequence[Place]:
        """In any order: the same one need not be asked by all, nor first when it hangs."""
        places = list({place for *_, place in self._map.ranges} | set(self._url.seeds))
        random.shuffle(places)
        return places


async def _asked(url: ClusterUrl, place: Place, options: dict[str, Any]) -> SlotMap:
    within_s = SHARE_OF_NODE * options["socket_connect_timeout"]
    node = await Replies.open(url.of_node(*place), {**options, "socket_connect_timeout": within_s})
    try:
        info, slots = await node.exchange(
            pack(("CLUSTER", "INFO")) + pack(("CLUSTER", "SLOTS")), 2, within_s
        )
    finally:
        node.drop()
    lines = (line.partition(":") for line in info.decode().splitlines())
    told = {name: value.strip() for name, _, value in lines}
    if told.get("cluster_state") != "ok":
        raise LostConnection("a node says that the Cluster is down")
    return SlotMap(int(told["cluster_current_epoch"]), _ranges(slots, place[0]))


def _ranges(slots: Sequence[Any], host: str) -> tuple[tuple[int, int, Place], ...]:
    """`host`: of the node that was asked, where it does not know its own name."""
    return tuple(
        (int(first), int(last), ((primary[0] or b"").decode() or host, int(primary[1])))
        for first, last, primary, *_ in slots
    )

"""Evidence of what a Cluster lost: marks as in `marks.py`, one in each slot that has keys of ours.

A slot's mark is read before another is written: over each new connection, and wherever the slot
has gone. What is there is not overwritten before it was compared with what was acknowledged.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

from redis.exceptions import RedisError

from packhorse_broker.store.errors import StoreError
from tests.history.history import NS_PER_MS, Recorder
from tests.history.marks import GAP_S, Marks
from tests.support.cluster import LOOK_S, ClusterGroup, slot_of
from tests.support.cluster_node import ANSWER_S, ClusterNode
from tests.support.inspection import Raw

AWAY: Final = (StoreError, RedisError, OSError, TimeoutError)


class ClusterMarks:
    """`start`, then it notes by itself what is lost, who takes whose place, and for how long one of
    the slots had nobody to take a mark."""

    def __init__(self, recorder: Recorder, group: ClusterGroup, tags: Sequence[str]) -> None:
        """`tags`: of the slots."""
        self._recorder = recorder
        self._group = group
        keys = {f"chaos:{{{tag}}}".encode(): tag for tag in tags}
        self._slots = {key: slot_of(key) for key in keys}
        self._marks = {key: Marks(recorder, tag) for key, tag in keys.items()}
        self._owners: Mapping[bytes, ClusterNode] = {}
        self._looked_s = 0.0
        self._primaries: dict[int, ClusterNode] = {}
        """By shard."""
        self._links: dict[ClusterNode, Raw] = {}
        self._read_on: dict[bytes, Raw] = {}
        """The connection over which a slot's mark was compared: it may be written over that."""
        self._marked_at = dict.fromkeys(self._slots, 0)
        self._away_since: dict[bytes, int] = {}
        self._turns = {node: asyncio.Lock() for node in group.nodes}
        self._looking = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        """The tasks end by it too: a connection is made by redis-py, which may lose a
        cancellation on Python 3.11."""

    async def start(self) -> None:
        await self._find_owners()
        self._tasks = [asyncio.create_task(self._write(node)) for node in self._group.nodes]

    async def stop(self) -> None:
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for node in list(self._links):
            await self._leave(node)

    async def all_marked(self) -> None:
        """Until every slot has taken a mark from now on. Raises what a task has ended with."""
        since = time.monotonic_ns()
        while min(self._marked_at.values()) < since:
            for task in self._tasks:
                if task.done():
                    await task
            await asyncio.sleep(LOOK_S)

    async def put_last(self, node: ClusterNode, within_s: float) -> None:
        """Of one that is about to be killed, if it can be had."""
        await self._mark(node, within_s)

    async def _write(self, node: ClusterNode) -> None:
        while not self._stopping:
            await self._mark(node, ANSWER_S)
            await asyncio.sleep(GAP_S)

    async def _mark(self, node: ClusterNode, within_s: float) -> None:
        began = time.monotonic_ns()
        async with self._turns[node]:
            keys = [key for key, owner in self._owners.items() if owner is node]
            if not keys:
                return
            try:
                async with asyncio.timeout(within_s):
                    mark = await self._put(node, keys)
            except AWAY:
                await self._leave(node)
                for key in keys:
                    self._away_since.setdefault(key, began)
                await self._find_owners()
                return
        for key in keys:
            self._marks[key].acknowledged(mark)
            self._marked_at[key] = mark
        self._came_back(keys, began)

    async def _put(self, node: ClusterNode, keys: Sequence[bytes]) -> int:
        link = self._links.get(node)
        if link is None:
            link = self._links[node] = await Raw.open(node.url)
        unread = [key for key in keys if self._read_on.get(key) is not link]
        if unread:
            found = await link.all(*(("GET", key) for key in unread))
            for key, mark in zip(unread, found, strict=True):
                self._marks[key].found(int(mark or 0), f"shard {self._group.shard_of(node)}")
                self._read_on[key] = link
        mark = time.monotonic_ns()
        await link.all(*(("SET", key, mark) for key in keys))
        return mark

    async def _leave(self, node: ClusterNode) -> None:
        if (link := self._links.pop(node, None)) is not None:
            await link.close()

    def _came_back(self, keys: Sequence[bytes], at: int) -> None:
        since = min(self._away_since.values(), default=at)
        for key in keys:
            self._away_since.pop(key, None)
        if since < at and not self._away_since:
            away_ms = (at - since) // NS_PER_MS
            self._recorder.write("note", "outage", text="store", number=away_ms)

    async def _find_owners(self) -> None:
        """Slots that nobody has keep their owners: it may be back."""
        async with self._looking:
            # All that found it wrong meanwhile are served by one look.
            if time.monotonic() < self._looked_s + LOOK_S:
                return
            owners = await self._group.owners(self._slots.values())
            found = {key: owners[slot] for key, slot in self._slots.items() if slot in owners}
            self._owners = {**self._owners, **found}
            self._looked_s = time.monotonic()
            for owner in found.values():
                self._adopt(owner)

    def _adopt(self, owner: ClusterNode) -> None:
        shard = self._group.shard_of(owner)
        former = self._primaries.get(shard)
        self._primaries[shard] = owner
        if former is not None and former is not owner:
            self._recorder.write("note", "failover", text=f"{former.name} -> {owner.name}")

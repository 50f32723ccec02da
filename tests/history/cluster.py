"""A Cluster of three shards, a primary and a replica each, in which any server can be lost and
partitions move between shards."""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Final

from packhorse_broker.store.keys import ClientKeys, PartitionKeys
from tests.history.cluster_marks import ClusterMarks
from tests.history.history import CLIENTS, Recorder
from tests.history.marks import LAST_S, Marks
from tests.history.topology import PREFIX, REPLICATED, Topology
from tests.support.cluster import LOOK_S, PRIMARIES, ClusterGroup, slot_of
from tests.support.cluster_node import AWAY, ClusterNode
from tests.support.proxy import Fault

PARTITIONS: Final = 16

STRANDED_S: Final = 0.4
"""For which a primary works without its replica before it is lost: less than what nodes notice."""

TOLD_S: Final = 10.0
"""For what a failover or a move that is asked for may take: nodes that are lost meanwhile make it
come to nothing."""

STRAYED: Final = b"not accepted: Requested offset for second ID"
"""What a promoted node says of its former primary that has done something on its own since."""


class Clustered(Topology):
    """Targets are shards, whichever of their two servers is the primary at the time: `shard-0`,
    `replica-0`; and what has a slot of its own: `partition-0`, `clients`."""

    has_proxies = False

    def __init__(self, recorder: Recorder, *, replicated: bool = False) -> None:
        self.broker_flags = ("--partitions", str(PARTITIONS))
        settings: tuple[str, ...] = ()
        if replicated:
            self.broker_flags += REPLICATED
            settings = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2")
        self._recorder = recorder
        self._group = ClusterGroup(*settings)
        partitions = {f"partition-{n}": PartitionKeys(PREFIX, n).base for n in range(PARTITIONS)}
        keys = {**partitions, "clients": ClientKeys(PREFIX).store}
        self._slots = {name: slot_of(key) for name, key in keys.items()}
        self._marks = ClusterMarks(recorder, self._group, [*map(str, range(PARTITIONS)), CLIENTS])
        self._strays = Marks(recorder)
        self._resumed_at: dict[ClusterNode, int] = {}
        self._meant: dict[str, ClusterNode] = {}
        """Which server a target was when it was last asked whether it may be lost."""
        self._watch: asyncio.Task[None] | None = None

    # -- its life

    async def start(self, brokers: int) -> None:
        await self._group.__aenter__()
        await self._marks.start()
        self._watch = asyncio.create_task(self._watch_strays())

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._marks.stop()
        await self._group.__aexit__(None, None, None)

    async def settled(self) -> None:
        await self._group.settled()
        await self._marks.all_marked()

    # -- where it is

    def store_url(self, broker: int) -> str:
        return self._group.url

    @property
    def direct_url(self) -> str:
        return self._group.url

    async def url_of(self, key: bytes) -> str:
        return (await self._group.primary_of(key)).url

    def servers(self) -> Mapping[str, Sequence[str]]:
        shards = [f"shard-{number}" for number in range(PRIMARIES)]
        return {
            "primary": shards,
            "shard": shards,
            "replica": [f"replica-{number}" for number in range(PRIMARIES)],
            "slot": list(self._slots),
        }

    # -- what is done to it

    async def may_lose(self, server: str) -> bool:
        """Only while every shard has a primary, for two of three have to agree on who follows one;
        and only a server whose shard has both: the other might lack what was written since it
        went."""
        if server in self._slots:
            return True
        primaries = await self._group.primaries()
        number = int(server.rpartition("-")[2])
        pair = self._group.shard(number)
        replicas = [node for node in pair if node.is_up and node not in primaries]
        if len(primaries) < PRIMARIES or len(replicas) != 1:
            return False
        [replica] = replicas
        [primary] = [node for node in pair if node is not replica]
        self._meant[server] = replica if server.startswith("replica") else primary
        try:
            role = await replica.ask("ROLE")
        except AWAY:
            return False
        return bool(role[0] == b"slave" and role[3] == b"connected")

    async def kill(self, server: str) -> None:
        hit = self._meant[server]
        await self._marks.put_last(hit, LAST_S)
        await hit.kill()

    async def strand(self, server: str) -> None:
        """As for Sentinels: the primary drops what its replica could still read."""
        primary = self._meant[server]
        replica = await self._group.replica_of(primary)
        replica.pause()
        with contextlib.suppress(*AWAY):
            await primary.ask("CLIENT", "KILL", "TYPE", "replica")
        await asyncio.sleep(STRANDED_S)
        await self._marks.put_last(primary, LAST_S)
        await primary.kill()
        replica.resume()

    async def restart(self, server: str) -> None:
        await self._meant[server].start()

    def pause(self, server: str) -> None:
        self._meant[server].pause()

    def resume(self, server: str) -> None:
        hit = self._meant[server]
        self._resumed_at[hit] = time.monotonic_ns()
        hit.resume()

    async def fail_over(self, shard: str) -> None:
        with contextlib.suppress(*AWAY, AssertionError, TimeoutError):
            async with asyncio.timeout(TOLD_S):
                replica = await self._group.replica_of(self._meant[shard])
                await self._group.failover(replica)

    async def move(self, slot: str) -> None:
        number, came_to = self._slots[slot], "nothing"
        with contextlib.suppress(*AWAY, AssertionError, TimeoutError):
            async with asyncio.timeout(TOLD_S):
                shard = self._group.shard_of(await self._group.owner_of(number))
                following = self._group.shard((shard + 1) % PRIMARIES)
                for to in [node for node in await self._group.primaries() if node in following]:
                    await self._group.move_slot(number, to)
                    came_to = to.name
        self._recorder.write("note", "move", text=f"{slot} -> {came_to}")

    def fail_exec(self, broker: int, fault: Fault) -> None:
        raise NotImplementedError("there is nothing between broker and store")

    def cut_store(self, broker: int) -> None:
        raise NotImplementedError("there is nothing between broker and store")

    # -- what became of it

    async def _watch_strays(self) -> None:
        """One that was paused and comes back answers what had come to it meanwhile before it hears
        that another has taken its place."""
        said = dict.fromkeys(self._group.nodes, 0)
        while True:
            looked_at = time.monotonic_ns()
            await asyncio.sleep(LOOK_S)
            for promoted, before in said.items():
                said[promoted] = promoted.said(STRAYED)
                if said[promoted] > before:
                    shard = self._group.shard_of(promoted)
                    [former] = [one for one in self._group.shard(shard) if one is not promoted]
                    since = self._resumed_at.get(former, looked_at)
                    self._strays.lost(since, f"shard {shard}, by a former primary")

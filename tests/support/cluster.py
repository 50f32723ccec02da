"""A Cluster of three primaries with a replica each: real servers on loopback that a test may kill,
pause, start again, fail over and move slots between."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from redis.crc import key_slot

from tests.support.cluster_node import AWAY, UNSOUND, ClusterNode, Place, Seen
from tests.support.replicas import HOST, WAIT_S
from tests.support.tls import Tls

PRIMARIES: Final = 3
SLOTS: Final = 16_384

LOOK_S: Final = 0.05
"""Between two looks at nodes that tell nobody what became of them."""

MIGRATE_MS: Final = 5_000
"""For the keys of one MIGRATE."""

KEYS_AT_ONCE: Final = 100

ENDED: Final = (b"success", b"failed", b"cancelled", b"canceled")
"""States of a slot's move, as the servers say them."""


class ClusterGroup:
    """`async with` it; `url` is for a broker, with all nodes as seeds.

    Which node is what changes by itself: each question here goes to the nodes that are up.
    """

    def __init__(self, *settings: str, password: str = "", tls: Tls | None = None) -> None:
        """With `tls` without a password, and slots move by keys alone: the servers are older."""
        self._folder = tempfile.TemporaryDirectory(prefix="ph-cluster-")
        self._password = password
        self._tls = tls
        self.nodes = [
            ClusterNode(Path(self._folder.name) / f"node-{number}", password, *settings, tls=tls)
            for number in range(2 * PRIMARIES)
        ]
        """First those that start as primaries."""

    @property
    def url(self) -> str:
        if self._tls is not None:
            places = ",".join(f"{HOST}:{node.port}" for node in self.nodes)
            return f"clusters://{places}/?{self._tls.query}"
        credentials = f":{self._password}@" if self._password else ""
        return f"cluster://{credentials}{','.join(f'{HOST}:{n.port}' for n in self.nodes)}/"

    async def __aenter__(self) -> "ClusterGroup":
        try:
            await self._form()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stop()

    # -- who is what

    async def primaries(self) -> list[ClusterNode]:
        """Those that have slots, by their own word; a former one that does not know it yet is
        left out. While slots have no primary that is up, fewer than three."""
        claims = await self._claims()
        firsts = [some.start for claim in claims for some in claim.slots]
        owners = {owner.id for slot in firsts if (owner := _owner(claims, slot)) is not None}
        return [node for node in self.nodes if node.id in owners]

    async def primary_of(self, key: bytes) -> ClusterNode:
        """That has the key's slot; while none does that is up, waits for the one that will."""
        return await self.owner_of(slot_of(key))

    async def owner_of(self, slot: int) -> ClusterNode:
        """As `primary_of`."""
        found: dict[int, ClusterNode] = {}

        async def missing() -> str:
            found.update(await self.owners([slot]))
            return "" if found else f"nobody has slot {slot}"

        await _until_nothing(missing)
        return found[slot]

    async def owners(self, slots: Iterable[int]) -> dict[int, ClusterNode]:
        """Those that have these slots now; some may have none that is up."""
        claims = await self._claims()
        by_id = {node.id: node for node in self.nodes}
        found = {slot: _owner(claims, slot) for slot in slots}
        return {slot: by_id[owner.id] for slot, owner in found.items() if owner is not None}

    async def replica_of(self, primary: ClusterNode) -> ClusterNode:
        """One that is up and follows it, by its own word. Raises AssertionError."""
        for node in self.nodes:
            seen = await _itself(node)
            if seen is not None and seen.primary == primary.id:
                return node
        raise AssertionError(f"{primary.name} has no replica")

    def shard(self, number: int) -> list[ClusterNode]:
        """The two of which one follows the other: replicas go to no other primary."""
        return self.nodes[number::PRIMARIES]

    def shard_of(self, node: ClusterNode) -> int:
        return self.nodes.index(node) % PRIMARIES

    async def settled(self) -> None:
        """Until all nodes that are up serve, follow whom they should, and agree, also on which
        ones are not up. Raises AssertionError with what is missing."""
        await _until_nothing(self._missing)

    # -- what is done to it

    async def failover(self, replica: ClusterNode) -> None:
        """It takes the place of its primary, which lives on as its replica and has passed on all
        that it had. Returns when it serves; others may not know yet."""
        await replica.ask("CLUSTER", "FAILOVER")

        async def missing() -> str:
            return (
                "" if (await replica.sees_itself()).slots else f"{replica.name} did not take over"
            )

        await _until_nothing(missing)

    async def move_slot(self, slot: int, to: ClusterNode) -> None:
        """With all of its keys at once, by the servers themselves. Returns when `to` has it;
        others may not know yet. Raises AssertionError if it failed, and as `ask`."""
        source = await self.owner_of(slot)
        if source is to:
            return
        before = {job[b"name"] for job in await _migrations(source)}
        ranges = b"%d-%d" % (slot, slot)
        await source.ask(*("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", to.id))

        async def missing() -> str:
            jobs = [job for job in await _migrations(source) if job[b"slot_ranges"] == ranges]
            [job] = [job for job in jobs if job[b"name"] not in before]
            state = job[b"state"]
            assert state == b"success" or state not in ENDED, f"slot {slot}: {job[b'message']!r}"
            return "" if state == b"success" else f"the move of slot {slot} is {state!r}"

        await _until_nothing(missing)
        assert await self.owner_of(slot) is to

    async def move_slot_by_keys(self, slot: int, to: ClusterNode) -> None:
        """As `valkey-cli --cluster reshard` does: key by key, with redirects meanwhile."""
        async with self.slot_on_its_way(slot, to):
            pass

    @asynccontextmanager
    async def slot_on_its_way(self, slot: int, to: ClusterNode) -> AsyncIterator[None]:
        """The same, held where half of the keys are moved: the source answers ASK for what it does
        not have, and TRYAGAIN for several keys of which it has some."""
        source = await self.owner_of(slot)
        await to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        await source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)
        count: int = await source.ask("CLUSTER", "COUNTKEYSINSLOT", slot)
        await self._move_keys(slot, source, to, count // 2)
        try:
            yield
        finally:
            while count := await source.ask("CLUSTER", "COUNTKEYSINSLOT", slot):
                await self._move_keys(slot, source, to, count)
            # The one that gets it first: slots that nobody has are refused.
            for node in (to, source):
                await node.ask("CLUSTER", "SETSLOT", slot, "NODE", to.id)

    async def _move_keys(self, slot: int, source: ClusterNode, to: ClusterNode, count: int) -> None:
        names = await source.ask("CLUSTER", "GETKEYSINSLOT", slot, count)
        auth = ("AUTH", self._password) if self._password else ()
        for start in range(0, len(names), KEYS_AT_ONCE):
            some = names[start : start + KEYS_AT_ONCE]
            await source.ask("MIGRATE", HOST, to.port, "", 0, MIGRATE_MS, *auth, "KEYS", *some)

    # -- its life

    async def _form(self) -> None:
        await asyncio.gather(*(node.start() for node in self.nodes))
        for number, node in enumerate(self.nodes):
            await node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        primaries, replicas = self.nodes[:PRIMARIES], self.nodes[PRIMARIES:]
        for number, primary in enumerate(primaries):
            first, last = SLOTS * number // PRIMARIES, SLOTS * (number + 1) // PRIMARIES - 1
            await primary.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        first_node, *others = self.nodes
        for node in others:
            await first_node.ask("CLUSTER", "MEET", HOST, node.port, node.bus_port)
        # A replica has to know its primary before it can follow it.
        await _until_nothing(self._strangers)
        for primary, replica in zip(primaries, replicas, strict=True):
            await replica.ask("CLUSTER", "REPLICATE", primary.id)
        await self.settled()

    async def _stop(self) -> None:
        await asyncio.gather(*(node.kill() for node in self.nodes))
        self._folder.cleanup()

    # -- what they say

    async def _claims(self) -> list[Seen]:
        """What each primary that is up says of itself."""
        found = [await _itself(node) for node in self.nodes]
        return [seen for seen in found if seen is not None and seen.is_primary]

    async def _strangers(self) -> str:
        for node in self.nodes:
            known = [seen for seen in await node.sees() if not seen.flags & UNSOUND]
            if len(known) < len(self.nodes):
                return f"{node.name} knows {len(known)} nodes"
        return ""

    async def _missing(self) -> str:
        up = [node for node in self.nodes if node.is_up]
        away = {node.id for node in self.nodes} - {node.id for node in up}
        views: list[set[Place]] = []
        for node in up:
            seen = await node.sees()
            unsound = {other.id for other in seen if other.flags & UNSOUND - {"fail?"}}
            doubted = {other.id for other in seen if "fail?" in other.flags} - away
            if unsound != away or doubted:
                names = [one.name for one in self.nodes if one.id in unsound | doubted]
                return f"{node.name} takes {names} for lost"
            if not await node.is_well():
                return f"{node.name} does not serve, or follow"
            moving = await _migrations(node) if self._tls is None else []
            if any(job[b"state"] not in ENDED for job in moving):
                return f"a slot of {node.name} is on its way"
            views.append({other.place for other in seen})
        return "" if all(view == views[0] for view in views) else "not all know the same"


def slot_of(key: bytes) -> int:
    return key_slot(key)


def _owner(claims: Sequence[Seen], slot: int) -> Seen | None:
    having = [seen for seen in claims if seen.has(slot)]
    return max(having, key=lambda seen: seen.epoch, default=None)


async def _itself(node: ClusterNode) -> Seen | None:
    """None if it is not up, or does not answer."""
    if not node.is_up:
        return None
    try:
        return await node.sees_itself()
    except AWAY:
        return None


async def _migrations(node: ClusterNode) -> list[dict[bytes, Any]]:
    jobs = await node.ask("CLUSTER", "GETSLOTMIGRATIONS")
    return [dict(zip(job[::2], job[1::2], strict=True)) for job in jobs]


async def _until_nothing(missing: Callable[[], Awaitable[str]]) -> None:
    """Asks again and again what is missing; a node that does not answer is asked again, too."""
    said = ""
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    said = await missing()
                except AWAY as error:
                    said = f"{type(error).__name__}: {error}"
                if not said:
                    return
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise AssertionError(f"after {WAIT_S} s: {said}") from None

"""Performs the faults that were planned, each at its time, and heals each after its own."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from tests.history.faults import PlannedFault
from tests.history.scene import Scene
from tests.support.proxy import Fault

AT_EXEC: Final[dict[str, Fault]] = {
    "exec cut before": Fault.CUT_BEFORE,
    "exec answer lost": Fault.SWALLOW_ANSWER,
    "exec answer cut": Fault.CUT_IN_ANSWER,
    "exec held": Fault.HOLD,
}


class Injection:
    """`run` returns when the last fault is healed. What the store could not stand is left out."""

    def __init__(self, scene: Scene, planned: Sequence[PlannedFault]) -> None:
        self._scene = scene
        self._planned = planned
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """A target that takes longer to come back than was planned is hit again after that."""

    async def run(self) -> None:
        began_s = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for fault in self._planned:
                group.create_task(self._at_its_time(began_s, fault))

    async def _at_its_time(self, began_s: float, fault: PlannedFault) -> None:
        now_s = asyncio.get_running_loop().time()
        # The plan says when and for how long, here and below: no event brings a fault about.
        await asyncio.sleep(max(0.0, began_s + fault.at_s - now_s))
        async with self._turns[fault.target]:
            if not await self._scene.topology.may_lose(fault.target):
                return
            self._record(fault, healed=False)
            await self._perform(fault)
            self._record(fault, healed=True)

    def _record(self, fault: PlannedFault, *, healed: bool) -> None:
        self._scene.recorder.write(
            "fault",
            fault.kind,
            text=fault.target,
            number=round(1000 * fault.length_s),
            flag=healed,
        )

    async def _perform(self, fault: PlannedFault) -> None:
        match fault.kind.split():
            case ["exec", *_]:
                self._scene.topology.fail_exec(self._broker(fault), AT_EXEC[fault.kind])
            case ["cut", "store"]:
                self._scene.topology.cut_store(self._broker(fault))
            case [how, "store" | "primary" | "replica" | "sentinel"]:
                await self._on_server(how, fault)
            case ["failover", "shard"]:
                await self._scene.topology.fail_over(fault.target)
            case ["move", "slot"]:
                await self._scene.topology.move(fault.target)
            case ["kill", what]:
                await self._kill(what, fault)
            case ["pause", what]:
                await self._pause(what, fault)
            case [how]:
                await self._on_links(how, fault)

    def _broker(self, fault: PlannedFault) -> int:
        return self._scene.brokers.index(fault.target)

    async def _on_server(self, how: str, fault: PlannedFault) -> None:
        topology = self._scene.topology
        self._scene.went("store", fault.target)
        if how == "pause":
            topology.pause(fault.target)
            await asyncio.sleep(fault.length_s)
            topology.resume(fault.target)
        else:
            await (topology.strand if how == "strand" else topology.kill)(fault.target)
            await asyncio.sleep(fault.length_s)
            await topology.restart(fault.target)
        self._scene.came_back("store", fault.target)

    async def _kill(self, what: str, fault: PlannedFault) -> None:
        await self._scene.process(fault.target).kill()
        if what == "broker":
            self._scene.went("brokers", fault.target)
        await asyncio.sleep(fault.length_s)
        if what == "broker":
            await self._scene.start_broker(fault.target)
            self._scene.came_back("brokers", fault.target)
        else:
            await self._scene.start_program(fault.target)

    async def _pause(self, what: str, fault: PlannedFault) -> None:
        process = self._scene.process(fault.target)
        process.pause()
        if what == "broker":
            self._scene.went("brokers", fault.target)
        await asyncio.sleep(fault.length_s)
        process.resume()
        if what == "broker":
            self._scene.came_back("brokers", fault.target)

    async def _on_links(self, how: str, fault: PlannedFault) -> None:
        links = self._scene.links(fault.target)
        for link in links:
            match how:
                case "cut":
                    link.cut()
                case "refuse":
                    link.refuse()
                case "freeze":
                    link.freeze()
                case "delay":
                    link.delay(fault.delay_ms)
                case "trickle":
                    link.trickle()
        await asyncio.sleep(fault.length_s)
        for link in links:
            link.heal()

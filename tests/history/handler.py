"""Two kinds of handlers beside the creators: members of the group, and one that adds itself."""

import asyncio
from collections.abc import Sequence
from typing import Any

from packhorse_protocol.messages import Get, Handle, Join, ListJobs, Request
from tests.history.producer import GROUP, told_view
from tests.history.recording import Item
from tests.history.role import Program
from tests.history.runner import TAKE_ID


class Member(Program):
    """Deals with what the group is owed."""

    roles = ("handle",)

    def opened(self) -> Sequence[Request]:
        return (Join(id=TAKE_ID, groups=(GROUP,)),)

    async def work(self) -> None:
        await self.handle_outcomes()


class Collector(Program):
    """Finds jobs by their label, becomes a handler of each, and reads what it has seen."""

    roles = ("handle", "read")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._idle = asyncio.Event()

    async def work(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.handle_outcomes())
            await self._collect()
            self._idle.set()

    async def idle(self) -> None:
        await self._idle.wait()

    async def _collect(self) -> None:
        known: set[str] = set()
        while not self.winding_down.is_set():
            await self.pause(self.chance.expovariate(1 / (2 * self.mean_pause_s)))
            for job in await self._labelled():
                if job not in known:
                    known.add(job)
                    await self._one("handle", Handle, job)
                elif self.chance.random() < 0.2:
                    await self._one("get", Get, job, told_view)

    async def _labelled(self) -> list[str]:
        item = Item(fields={"text": "shared"})
        [answer] = await self.client.ask(
            "list", ListJobs, [item], label="shared", newest_first=True, limit=20
        )
        return [job.id for job in answer.result.jobs] if answer.result is not None else []

    async def _one(self, op: str, request: Any, job: str, told: Any = None) -> None:
        item = Item(fields={"job": job}, told=told or (lambda ended: {"state": ended.state}))
        await self.client.ask(op, request, [item], jobs=(job,))

"""What the programs of a run have in common: their client, their life, their outcomes."""

import asyncio
import contextlib
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from packhorse_protocol.messages import (
    BrokerMessage,
    Events,
    Handled,
    Outcome,
    Outcomes,
    Request,
    Role,
)
from tests.history.history import Recorder
from tests.history.recording import Item, Pace, RecordingClient

LATE_SHARE: Final = 0.1
"""Of the outcomes, those that are answered late, so that a death may come before the answer."""

LATE_S: Final = 0.5

REFUSED_PAUSE_S: Final = 0.1
"""Before a request that was answered `unavailable` is repeated."""


class Program(ABC):
    """One client in a process of its own. Subclasses say what it does in `work`."""

    roles: ClassVar[Sequence[Role]] = ("handle",)

    def __init__(
        self,
        *,
        folder: Path,
        who: str,
        life: int,
        seed: str,
        addresses: Sequence[str],
        pace: Pace,
        mean_pause_s: float,
    ) -> None:
        self.life = life
        """Counts the processes that were this client, from 1."""
        self.seed = f"{seed}/{who}/{life}"
        self.mean_pause_s = mean_pause_s
        self.chance = random.Random(self.seed)
        self.recorder = Recorder(folder, who, str(life))
        self.winding_down = asyncio.Event()
        self._owed: asyncio.Queue[Outcome] = asyncio.Queue()
        self.client = RecordingClient(
            self.recorder,
            addresses,
            # The same in each life, and nobody else's: how a program resumes that was killed.
            secret=f"the secret of {who:20}".encode(),
            roles=self.roles,
            chance=random.Random(f"{self.seed}/client"),
            pushed=self.pushed,
            opened=self.opened,
            pace=pace,
        )

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.client.run())
            group.create_task(self.work())

    @abstractmethod
    async def work(self) -> None: ...

    async def idle(self) -> None:
        """Waits until it begins nothing new; called when it winds down."""
        await self.winding_down.wait()

    def opened(self) -> Sequence[Request]:
        """Requests that follow each welcome: what belongs to a connection."""
        return ()

    async def pause(self, seconds: float) -> None:
        """At most so long: not at all once it winds down."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.winding_down.wait()

    # -- outcomes

    def pushed(self, message: BrokerMessage) -> None:
        if isinstance(message, Outcomes):
            for outcome in message.outcomes:
                self._record_outcome(outcome)
                self._owed.put_nowait(outcome)
        elif isinstance(message, Events):
            for event in message.events:
                self.recorder.write(
                    "push",
                    "event",
                    job=event.job,
                    version=event.version,
                    state=event.state or "",
                    flag=event.removed,
                )

    def _record_outcome(self, outcome: Outcome) -> None:
        self.recorder.write(
            "push",
            "outcome",
            job=outcome.job,
            state=outcome.state,
            code=outcome.reason or "",
            text=outcome.result.decode() if outcome.result is not None else "",
            version=outcome.version,
            attempt=outcome.attempt,
            group=outcome.group or "",
            finished_at=outcome.finished_at,
            created_at=outcome.created_at,
        )

    async def handle_outcomes(self) -> None:
        """Answers each; one whose answer got lost is pushed again by the broker."""
        async with asyncio.TaskGroup() as group:
            while True:
                outcome = await self._owed.get()
                late = self.chance.random() < LATE_SHARE
                group.create_task(self._handle(outcome, LATE_S if late else 0.0))

    async def _handle(self, outcome: Outcome, after_s: float) -> None:
        if after_s:
            await self.pause(after_s)
        fields: dict[str, Any] = {"job": outcome.job, "finished_at": outcome.finished_at}
        if outcome.group is not None:
            fields["group"] = outcome.group
        while True:
            [answer] = await self.client.ask(
                "handled", Handled, [Item(fields=fields)], jobs=(outcome.job,), group=outcome.group
            )
            # With the connection lost the broker pushes it again; refused for now, it does not.
            if not (answer.unknown and answer.code):
                return
            await asyncio.sleep(REFUSED_PAUSE_S)

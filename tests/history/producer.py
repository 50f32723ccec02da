"""Creates jobs of every kind, handles their outcomes, and does things to them by hand."""

import asyncio
import random
from collections import deque
from typing import Any, Final

from packhorse_protocol.messages import (
    Backoff,
    BrokerMessage,
    Cancel,
    Create,
    Get,
    JobView,
    NewJob,
    Outcomes,
    Remove,
    Retry,
    RunNow,
    Timeouts,
    Unique,
)
from tests.history.history import Asked
from tests.history.recording import Answer, Item
from tests.history.role import REFUSED_PAUSE_S, Program

GROUP: Final = "accounts"
TYPES: Final = ("bake", "brew")

CREATORS: Final = 3
"""Tasks that create, each waits for its answer before it goes on."""

REMEMBERED: Final = 200
"""Of its own jobs, those to which it may still do something."""

UNIQUE_KEYS: Final = 12

MAX_BATCH: Final = 8

BY_HAND: Final = {"get": 60, "cancel": 10, "retry": 15, "run_now": 12, "remove": 3}
"""How often a producer does what to one of its jobs."""

NEW: Final = 8
"""Of its jobs, those that may still wait."""


class Producer(Program):
    """Its own handler too. `wind_down` ends the creating, not the handling."""

    roles = ("create", "handle", "read", "admin")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._created = 0
        self._idle = asyncio.Event()
        self._mine: deque[str] = deque(maxlen=REMEMBERED)
        self._failed: deque[str] = deque(maxlen=NEW)
        self._removable: set[str] = set()
        """Jobs whose only create was answered."""

    async def work(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.handle_outcomes())
            async with asyncio.TaskGroup() as busy:
                for number in range(CREATORS):
                    busy.create_task(self._create_all(random.Random(f"{self.seed}/{number}")))
                busy.create_task(self._do_by_hand(random.Random(f"{self.seed}/hand")))
            self._idle.set()

    async def idle(self) -> None:
        await self._idle.wait()

    async def _create_all(self, chance: random.Random) -> None:
        while not self.winding_down.is_set():
            await self.pause(chance.expovariate(1 / self.mean_pause_s))
            chosen = chance.random() < 0.5
            group = GROUP if chance.random() < 0.4 else None
            handle = chance.random() < 0.6
            jobs = [
                self._job(chance, chosen=chosen, handle=handle)
                for _ in range(chance.choice((1, 1, 1, 2, MAX_BATCH)))
            ]
            await self._create(jobs, group, handle=handle, repeat=chosen)

    async def _create(
        self, jobs: list[tuple[NewJob, Asked]], group: str | None, *, handle: bool, repeat: bool
    ) -> None:
        """With chosen ids until each is answered; others never again, or there would be two."""
        attempt = 0
        while jobs:
            attempt += 1
            answers = await self.client.ask(
                "create",
                Create,
                [
                    Item(
                        fields={
                            "job": new.id or "",
                            "name": new.payload.decode(),
                            "text": new.type,
                            "group": group or "",
                            "asked": asked,
                        },
                        told=_told_created,
                    )
                    for new, asked in jobs
                ],
                jobs=tuple(new for new, _ in jobs),
                handle=handle,
                group=group,
            )
            for answer in answers:
                self._remember(answer, removable=attempt == 1)
            pairs = zip(jobs, answers, strict=True)
            jobs = [job for job, answer in pairs if answer.unknown and repeat]
            if jobs:
                await asyncio.sleep(REFUSED_PAUSE_S)

    def _remember(self, answer: Answer, *, removable: bool) -> None:
        """A job is removed only if no create of it is still on its way: a broker that was paused
        may come to that one later, and the id would be free."""
        if answer.result is not None and answer.result.duplicate is None:
            self._mine.append(answer.result.job)
            if removable:
                self._removable.add(answer.result.job)

    def _job(self, chance: random.Random, *, chosen: bool, handle: bool) -> tuple[NewJob, Asked]:
        """A job with a chosen id is persistent: its id can't be free before its create is
        answered, so that a repetition never makes a second one."""
        self._created += 1
        name = f"{self.recorder.who}-{self.life}-{self._created}"
        asked = Asked(
            attempts=chance.choice((1, 2, 3, 5, 8)),
            delay_ms=chance.choice((0, 0, 0, 0, 50, 400, 1_200)),
            backoff_ms=chance.choice((0, 0, 100, 300)),
            idle_ms=chance.choice((0,) * 12 + (2_000,)),
            run_ms=chance.choice((0, 0, 0, 300, 600)),
            total_ms=chance.choice((0,) * 8 + (4_000,)),
            persistent=chosen or chance.random() < 0.3,
            handle=handle,
            unique=f"key-{chance.randrange(UNIQUE_KEYS)}" if chance.random() < 0.2 else "",
            join=chance.random() < 0.5,
        )
        return (
            NewJob(
                type=chance.choice(TYPES),
                payload=name.encode(),
                id=name if chosen else None,
                attempts=asked.attempts,
                delay_ms=asked.delay_ms,
                priority=chance.choice((0, 0, 0, 5, -5)),
                persistent=asked.persistent,
                backoff=Backoff(type="fixed", delay_ms=asked.backoff_ms)
                if asked.backoff_ms
                else None,
                timeouts=Timeouts(
                    idle_ms=asked.idle_ms or None,
                    run_ms=asked.run_ms or None,
                    total_ms=asked.total_ms or None,
                ),
                unique=Unique(key=asked.unique, on_duplicate="join" if asked.join else "reject")
                if asked.unique
                else None,
                labels=("shared",) if chance.random() < 0.2 else (),
            ),
            asked,
        )

    # -- by hand

    def pushed(self, message: BrokerMessage) -> None:
        super().pushed(message)
        if isinstance(message, Outcomes):
            self._failed += [one.job for one in message.outcomes if one.state == "FAILED"]

    async def _do_by_hand(self, chance: random.Random) -> None:
        while not self.winding_down.is_set():
            await self.pause(chance.expovariate(1 / (self.mean_pause_s / 2)))
            if not self._mine:
                continue
            [what] = chance.choices(*zip(*BY_HAND.items(), strict=True))
            # What waits is new, what can be tried again has failed.
            among = {"retry": self._failed, "get": self._mine}.get(what, list(self._mine)[-NEW:])
            job = chance.choice(among or self._mine)
            match what:
                case "get":
                    await self._look(job)
                case "cancel":
                    await self._one("cancel", Cancel, job, grace_ms=chance.choice((0, 200, 800)))
                case "retry":
                    await self._one("retry", Retry, job, attempts=chance.choice((1, 2)))
                case "run_now":
                    await self._one("run_now", RunNow, job)
                case _ if job in self._removable:
                    await self._one("remove", Remove, job)

    async def _one(self, op: str, request: Any, job: str, **fields: Any) -> None:
        number = fields.get("attempts", fields.get("grace_ms", 0))
        item = Item(fields={"job": job, "number": number}, told=_told_state)
        await self.client.ask(op, request, [item], jobs=(job,), **fields)

    async def _look(self, job: str) -> None:
        await self.client.ask("get", Get, [Item(fields={"job": job}, told=told_view)], jobs=(job,))


def told_view(view: JobView) -> dict[str, object]:
    return {
        "state": view.state,
        "version": view.version,
        "attempt": view.current_attempt,
        "created_at": view.created_at,
    }


def _told_created(created: Any) -> dict[str, object]:
    return {
        "job": created.job,
        "state": created.state,
        "flag": created.existed,
        "code": created.duplicate or "",
    }


def _told_state(result: Any) -> dict[str, object]:
    return {"state": getattr(result, "state", "")}

"""Takes jobs and runs them in every way there is: well, badly, too long, never to an end."""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from packhorse_protocol.messages import (
    BrokerMessage,
    Cancelling,
    Claim,
    ClaimRef,
    Claims,
    Complete,
    Completion,
    Ended,
    Error,
    Extend,
    Extension,
    Fail,
    Failure,
    LogReport,
    ProgressReport,
    Release,
    ReportProgress,
    Request,
    Revoke,
    Take,
    WriteLog,
)
from tests.history.producer import TYPES
from tests.history.recording import Item
from tests.history.role import REFUSED_PAUSE_S, Program

CREDIT: Final = 12

TAKE_ID: Final = 2**40
"""Of the `take` that follows each welcome: no request of the client reaches it."""


class Plan(Struct, frozen=True, kw_only=True):
    """What is done with one claim: drawn from the seed, the job and its fence alone."""

    end: str
    """`complete`, `fail`, `give_up` (fail for good), `release`, `abandon` (no end at all)."""
    takes_s: float
    lines: int
    progress: int
    extend_ms: int
    retry_in_ms: int | None
    heeds: bool
    """Stops when it is told that the claim is over; else it goes on and is refused."""


class Runner(Program):
    roles = ("run",)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Not of this life: another one that is given the same claim does the same.
        self._plans = f"{settings['seed']}/plans"
        self._running: dict[bytes, asyncio.Task[None]] = {}
        self._told_to_end: dict[bytes, asyncio.Event] = {}
        self._group: asyncio.TaskGroup | None = None

    async def work(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            await asyncio.Event().wait()

    def opened(self) -> Sequence[Request]:
        return (Take(id=TAKE_ID, types=dict.fromkeys(TYPES, CREDIT), credit=CREDIT),)

    def pushed(self, message: BrokerMessage) -> None:
        if isinstance(message, Claims):
            for claim in message.claims:
                self._claimed(claim)
        elif isinstance(message, Revoke):
            for over in message.claims:
                self.recorder.write(
                    "push", "revoke", job=over.job, token=over.token.hex(), code=over.reason
                )
                self._heed(over.token)
        elif isinstance(message, Cancelling):
            for asked in message.claims:
                self.recorder.write(
                    "push",
                    "cancelling",
                    job=asked.job,
                    token=asked.token.hex(),
                    number=asked.grace_ms,
                )
                self._heed(asked.token)

    def _claimed(self, claim: Claim) -> None:
        self.recorder.write(
            "push",
            "claim",
            job=claim.job,
            name=claim.payload.decode(),
            token=claim.token.hex(),
            fence=claim.fence,
            attempt=claim.attempt,
            number=claim.remaining_ms or 0,
        )
        if claim.token not in self._running:
            assert self._group is not None, "claims come after the work has begun"
            self._told_to_end[claim.token] = asyncio.Event()
            task = self._group.create_task(self._run(claim, self._plan(claim)))
            self._running[claim.token] = task
            task.add_done_callback(lambda _: self._forget(claim.token))

    def _heed(self, token: bytes) -> None:
        told = self._told_to_end.get(token)
        if told is not None:
            told.set()

    def _forget(self, token: bytes) -> None:
        self._running.pop(token, None)
        self._told_to_end.pop(token, None)

    def _plan(self, claim: Claim) -> Plan:
        chance = random.Random(f"{self._plans}/{claim.job}/{claim.fence}")
        end = chance.choices(
            ("complete", "fail", "give_up", "release", "abandon"), (75, 14, 3, 4, 4)
        )[0]
        if end == "abandon" and claim.remaining_ms is None:
            end = "complete"
        takes_s = chance.choices(
            (0.0, chance.uniform(0.0, 0.05), chance.uniform(0.2, 0.8)), (50, 35, 15)
        )[0]
        return Plan(
            end=end,
            takes_s=takes_s,
            lines=chance.choice((0, 0, 1, 3)),
            progress=chance.choice((0, 0, 1)),
            extend_ms=chance.choice((0, 0, 0, 500)),
            retry_in_ms=chance.choice((None, None, 0, 150)),
            heeds=chance.random() < 0.5,
        )

    # -- one claim

    async def _run(self, claim: Claim, plan: Plan) -> None:
        told = self._told_to_end[claim.token]
        about = {"job": claim.job, "token": claim.token.hex(), "fence": claim.fence}
        self.recorder.write("begin", "run", **about)
        await self._report(claim, plan)
        waits = [asyncio.create_task(self.winding_down.wait())]
        if plan.heeds:
            waits.append(asyncio.create_task(told.wait()))
        await asyncio.wait(waits, timeout=plan.takes_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        self.recorder.write("end", "run", **about)
        if plan.end != "abandon" or self.winding_down.is_set():
            await self._end(claim, plan)
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10):
                    await told.wait()

    async def _report(self, claim: Claim, plan: Plan) -> None:
        ref: dict[str, Any] = {"job": claim.job, "token": claim.token}
        for number in range(plan.lines):
            line = f"{claim.token.hex()}:{self.life}:{number}"
            await self._one(
                "log",
                WriteLog,
                claim,
                text=line,
                reports=(LogReport(**ref, messages=(line,)),),
            )
        for number in range(plan.progress):
            reports = (ProgressReport(**ref, percent=50 + number),)
            await self._one("progress", ReportProgress, claim, reports=reports)
        if plan.extend_ms:
            claims = (Extension(**ref, run_ms=plan.extend_ms),)
            await self._one("extend", Extend, claim, number=plan.extend_ms, claims=claims)

    async def _end(self, claim: Claim, plan: Plan) -> None:
        """Says how it ended until it is known to be said, or that it is too late."""
        again = True
        while again:
            again = await self._say_end(claim, plan)
            if again:
                await asyncio.sleep(REFUSED_PAUSE_S)

    async def _say_end(self, claim: Claim, plan: Plan) -> bool:
        """Whether it has to be said again."""
        ref: dict[str, Any] = {"job": claim.job, "token": claim.token}
        token = claim.token.hex()
        match plan.end:
            case "release":
                return await self._one("release", Release, claim, claims=(ClaimRef(**ref),))
            case "fail" | "give_up":
                failure = Failure(
                    **ref,
                    error=Error(type="Planned", message=token),
                    retry=plan.end == "fail",
                    retry_in_ms=plan.retry_in_ms,
                )
                wait_ms = plan.retry_in_ms if plan.retry_in_ms is not None else -1
                return await self._one("fail", Fail, claim, number=wait_ms, jobs=(failure,))
            case _:
                done = Completion(**ref, result=token.encode())
                return await self._one("complete", Complete, claim, text=token, jobs=(done,))

    async def _one(
        self, op: str, request: Any, claim: Claim, *, text: str = "", number: int = 0, **fields: Any
    ) -> bool:
        """Whether it is not known what came of it."""
        item = Item(
            fields={
                "job": claim.job,
                "token": claim.token.hex(),
                "fence": claim.fence,
                "text": text,
                "number": number,
            },
            told=_told,
        )
        [answer] = await self.client.ask(op, request, [item], **fields)
        return answer.unknown


def _told(result: Any) -> dict[str, object]:
    return {"state": result.state} if isinstance(result, Ended) else {}

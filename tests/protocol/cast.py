"""Who takes part in a recorded session, and what several of its scenes do."""

from collections.abc import Awaitable, Callable
from typing import Any

from packhorse.kinds import ForGroup
from packhorse_protocol.messages import Claim, Completion, Error, Failure, NewJob
from tests.protocol.actors import Actor, within
from tests.protocol.recording import Recorder


class Cast:
    """A maker, a runner, a keeper of outcomes, and a boss."""

    def __init__(self, recorder: Recorder, end_broker: Callable[[], Awaitable[None]]) -> None:
        self.recorder = recorder
        self.end_broker = end_broker
        self.maker = Actor(recorder, "maker")
        self.runner = Actor(recorder, "runner")
        self.keeper = Actor(recorder, "keeper")
        self.boss = Actor(recorder, "boss")

    async def open(self) -> None:
        for actor in (self.maker, self.runner, self.keeper, self.boss):
            await actor.open()

    async def create(self, job: str, **fields: Any) -> None:
        """A job of a type of its own, which has its name."""
        await within(self.maker.requests.create.submit(NewJob(type=job, id=job, **fields)))

    async def start(self, job: str, runner: Actor | None = None) -> Claim:
        """It is pushed to the runner, which takes nothing else."""
        runner = runner or self.runner
        await within(runner.requests.take.submit(({job: 1}, 1, None)))
        claim = await runner.next(runner.claims)
        assert claim.job == job
        return claim

    async def rest(self) -> None:
        """The runner takes nothing."""
        await within(self.runner.requests.take.submit(({}, 0, None)))

    async def complete(self, claim: Claim, result: bytes = b"out") -> None:
        done = Completion(job=claim.job, token=claim.token, result=result)
        await within(self.runner.requests.complete.submit(done))

    async def fail(self, claim: Claim, **fields: Any) -> None:
        error = Error(type="Trouble", message="it broke", traceback="line 1")
        failure = Failure(job=claim.job, token=claim.token, error=error, **fields)
        await within(self.runner.requests.fail.submit(failure))

    async def show(self, job: str) -> None:
        await within(self.boss.requests.get.submit(job))

    async def news(self, job: str) -> None:
        """The keeper has heard of all that became of a job that it watches."""
        version = (await within(self.keeper.requests.get.submit(job))).version
        while (await within(self.keeper.events.get())).version < version:
            pass

    async def outcome(self, job: str, group: str | None = None) -> None:
        """The keeper gets it, and has dealt with it."""
        found = await self.keeper.next(self.keeper.outcomes)
        assert (found.job, found.group) == (job, group)
        if group is None:
            await within(self.keeper.requests.handled.submit(job))
        else:
            await within(self.keeper.requests.handled_for_group.submit(ForGroup(job, group)))

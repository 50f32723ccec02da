"""Two brokers' writers on one store: what both want, one gets."""

import asyncio
from itertools import count
from typing import Final

from msgspec import Struct

from packhorse_broker.jobs.commands import Complete, Release
from packhorse_broker.jobs.model import Applied, Refusal, RefusalCode, State
from packhorse_broker.store.keys import PartitionKeys
from tests.support.commands import claim, create
from tests.support.inspection import Contents, Raw
from tests.support.opening import Caller, Opener

CLAIMS: Final = 10_000
RUNNERS: Final = 8
"""Of each broker."""


class Step(Struct, frozen=True, order=True):
    """A change of the contended job, as its runner was told of it."""

    version: int
    runner: str
    token: bytes
    claimed: bool


async def test_one_job_claimed_ten_thousand_times_through_two_brokers_has_one_runner(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    """Each change has a version of its own: in their order, claims and releases have to alternate,
    each release by the runner and with the token of the claim before it."""
    brokers = [opener.committer(), opener.committer()]
    await brokers[0].submit(create("job"))
    steps: list[Step] = []
    left = count(CLAIMS, -1)
    refused = count()

    async def run(broker: Caller, runner: str) -> None:
        while next(left) > 0:
            while isinstance(claimed := await broker.ask("job", claim(runner)), Refusal):
                assert claimed.code is RefusalCode.WRONG_STATE
                next(refused)
            assert isinstance(claimed, Applied)
            assert claimed.job.runner == runner
            assert claimed.job.token is not None
            token = claimed.job.token
            steps.append(Step(claimed.job.version, runner, token, claimed=True))
            given_back = await broker.applied("job", Release(runner, token))
            steps.append(Step(given_back.job.version, runner, token, claimed=False))

    await asyncio.gather(
        *(
            run(broker, f"runner-{number}-{place}")
            for number, broker in enumerate(brokers)
            for place in range(RUNNERS)
        )
    )

    assert len(steps) == 2 * CLAIMS
    steps.sort()
    assert [step.version for step in steps] == list(range(2, 2 * CLAIMS + 2))
    for taken, given in zip(steps[::2], steps[1::2], strict=True):
        assert (taken.claimed, given.claimed) == (True, False)
        assert (taken.runner, taken.token) == (given.runner, given.token)
    assert len({step.token for step in steps}) == CLAIMS
    assert next(refused) > 0, "nobody ever met another"
    found = await Contents.read(raw, keys)
    found.check(keys)
    job = found.jobs["job"]
    assert (job.state, job.fence, job.released) == (State.QUEUED, CLAIMS, CLAIMS)


async def test_one_queue_drawn_from_by_two_brokers_gives_each_job_once(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    brokers = [opener.committer(), opener.committer()]
    names = [f"job-{number}" for number in range(CLAIMS)]
    for start in range(0, CLAIMS, 1_000):
        await brokers[0].submit(
            *(create(name, handler="handler") for name in names[start : start + 1_000])
        )
    claimed: dict[str, str] = {}
    completed: list[str] = []

    async def run(broker: Caller, runner: str) -> None:
        more = True
        while more:
            drawn, more = await broker.draw("mail", [claim(runner) for _ in range(20)])
            work: list[tuple[str, Complete]] = []
            for applied in drawn:
                job = applied.job
                assert job.token is not None
                assert job.id not in claimed
                claimed[job.id] = runner
                work.append((job.id, Complete(runner, job.token, runner.encode())))
            for result in await broker.submit(*work):
                assert isinstance(result, Applied)
                assert result.changed
                completed.append(result.job.id)

    await asyncio.gather(
        *(
            run(broker, f"runner-{number}-{place}")
            for number, broker in enumerate(brokers)
            for place in range(RUNNERS)
        )
    )

    assert sorted(completed) == sorted(names)
    assert {runner.split("-")[1] for runner in claimed.values()} == {"0", "1"}
    found = await Contents.read(raw, keys)
    found.check(keys)
    for job in found.jobs.values():
        assert (job.state, job.fence, job.version) == (State.COMPLETE, 1, 3)
        assert job.outcome == claimed[job.id].encode()

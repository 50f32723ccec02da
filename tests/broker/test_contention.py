"""Ten thousand claims of few jobs by runners of two brokers that all want the same."""

import asyncio
import random
from collections import Counter
from typing import Final

from packhorse_protocol.messages import (
    Claim,
    Claims,
    Complete,
    Completion,
    Create,
    Ended,
    Fail,
    Handled,
    NewJob,
    Outcomes,
)
from tests.support.brokers import Brokers
from tests.support.requests import count, failure, release, take
from tests.support.wire import Wire

JOBS: Final = 2_000
CLAIMS_OF_A_JOB: Final = 5
RUNNERS: Final = 3
"""Of each broker."""


class Ledger:
    """Who holds what by what the runners were told: each says so before it asks for an end."""

    def __init__(self) -> None:
        self.holders: dict[str, str] = {}
        self.fences: Counter[str] = Counter()
        self.tokens: set[bytes] = set()
        self.claims: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.changed_hands = 0
        self._last: dict[str, str] = {}

    def claimed(self, runner: str, claim: Claim) -> None:
        job = claim.job
        assert job not in self.holders, f"{job}: {self.holders[job]} and {runner}"
        assert claim.fence == self.fences[job] + 1
        assert claim.token not in self.tokens
        self.holders[job] = runner
        self.fences[job] = claim.fence
        self.tokens.add(claim.token)
        self.claims[job] += 1
        self.changed_hands += self._last.get(job, runner) != runner
        self._last[job] = runner

    def ending(self, runner: str, claim: Claim) -> None:
        assert self.holders.pop(claim.job) == runner


async def run(wire: Wire, ledger: Ledger, chance: random.Random) -> None:
    """Gives most claims back, fails some, and completes a job that was claimed often enough."""
    await take(wire, 20)
    while True:
        claims = (await wire.push(Claims)).claims
        for claim in claims:
            ledger.claimed(wire.id, claim)
        # The others get their turn while these are held.
        await asyncio.sleep(0)
        done = [claim for claim in claims if ledger.claims[claim.job] >= CLAIMS_OF_A_JOB]
        left = [claim for claim in claims if ledger.claims[claim.job] < CLAIMS_OF_A_JOB]
        failed = [claim for claim in left if chance.random() < 0.3]
        released = [claim for claim in left if claim not in failed]
        for claim in claims:
            ledger.ending(wire.id, claim)
        if failed:
            ends = await wire.ask(Fail, jobs=tuple(map(failure, failed)))
            assert set(ends) == {Ended(state="QUEUED")}
        if released:
            assert set(await release(wire, *released)) == {Ended(state="QUEUED")}
        if done:
            completions = [
                Completion(job=claim.job, token=claim.token, result=claim.token) for claim in done
            ]
            ends = await wire.ask(Complete, jobs=tuple(completions))
            assert set(ends) == {Ended(state="COMPLETE")}
            ledger.ends.update(claim.job for claim in done)


async def test_one_runner_at_a_time_and_one_end_for_each_job(brokers: Brokers) -> None:
    two = [await brokers.start(sweep_ms=100, last_response_flush_ms=100) for _ in range(2)]
    ledger = Ledger()
    chance = random.Random(7)
    handler = await brokers.connect(two[0])
    jobs = [NewJob(type="t", id=f"j{n}", attempts=1_000) for n in range(JOBS)]
    for start in range(0, JOBS, 1_000):
        await handler.ask(Create, jobs=tuple(jobs[start : start + 1_000]), handle=True)
    runners = [
        asyncio.create_task(run(await brokers.connect(broker), ledger, chance))
        for broker in two
        for _ in range(RUNNERS)
    ]
    outcomes: Counter[str] = Counter()
    while len(outcomes) < JOBS:
        push = asyncio.create_task(handler.push(Outcomes))
        await asyncio.wait({push, *runners}, return_when=asyncio.FIRST_COMPLETED)
        for runner in runners:
            assert not runner.done(), runner.result()
        arrived = (await push).outcomes
        assert {outcome.state for outcome in arrived} == {"COMPLETE"}
        outcomes.update(outcome.job for outcome in arrived)
        await handler.ask(Handled, jobs=tuple(outcome.job for outcome in arrived))
    for runner in runners:
        runner.cancel()
    await asyncio.gather(*runners, return_exceptions=True)
    ids = {job.id for job in jobs}
    assert set(outcomes) == set(ledger.ends) == ids
    assert set(outcomes.values()) == set(ledger.ends.values()) == {1}
    assert ledger.claims.total() >= JOBS * CLAIMS_OF_A_JOB == 10_000
    assert ledger.changed_hands > 1_000
    for state in ("QUEUED", "STARTED", "COMPLETE", "FAILED"):
        assert await count(handler, state) == 0

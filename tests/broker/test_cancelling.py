"""Requests to cancel a running job: what its runner is told, when, and wherever it is."""

import pytest

from packhorse_broker.broker import Broker
from packhorse_broker.notices import Notice
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    Cancel,
    Cancellation,
    Cancelling,
    Claim,
    ClaimJobs,
    Create,
    Ended,
    Fail,
    NewJob,
    Revoke,
    Timeouts,
)
from tests.support.brokers import Brokers, at_rest
from tests.support.requests import complete, create, failure, get, names, release, take
from tests.support.wire import Wire

pytestmark = pytest.mark.usefixtures("never_missed")

LONG_MS = 3_600_000
"""Grace time that no test waits for."""


async def cancel(wire: Wire, *jobs: str, grace_ms: int = LONG_MS, why: str = "") -> None:
    answers = await wire.ask(Cancel, jobs=jobs, grace_ms=grace_ms, why=why)
    assert all(isinstance(answer, Ended) for answer in answers), answers


async def cancelling(wire: Wire) -> Cancellation:
    """The one claim that the next such push names."""
    [told] = (await wire.push(Cancelling)).claims
    return told


async def claimed(wire: Wire, job: str, attempts: int = 1) -> Claim:
    await create(wire, job, attempts=attempts)
    [claim] = await wire.ask(ClaimJobs, jobs=(job,))
    assert isinstance(claim, Claim)
    return claim


async def revoked(wire: Wire, claim: Claim) -> str:
    [gone] = (await wire.push(Revoke)).claims
    assert (gone.job, gone.token) == (claim.job, claim.token)
    return gone.reason


async def test_the_runner_is_told(brokers: Brokers, broker: Broker) -> None:
    runner, other = await brokers.connect(broker), await brokers.connect(broker)
    claim = await claimed(runner, "a")
    await cancel(other, "a", why="not needed")
    told = await cancelling(runner)
    assert (told.job, told.token, told.why) == ("a", claim.token, "not needed")
    assert 0 < told.grace_ms <= LONG_MS
    assert (await get(other, "a")).state == "STARTED"


async def test_what_fails_or_is_given_back_after_it_is_cancelled(
    brokers: Brokers, broker: Broker
) -> None:
    wire = await brokers.connect(broker)
    fails, returned, done = [await claimed(wire, job, attempts=3) for job in "abc"]
    await cancel(wire, "a", "b", "c")
    assert len((await wire.push(Cancelling)).claims) == 3
    [ended] = await wire.ask(Fail, jobs=(failure(fails),))
    assert ended == Ended(state="FAILED")
    await release(wire, returned)
    assert await complete(wire, done) == (Ended(state="COMPLETE"),)
    for job in ("a", "b"):
        view = await get(wire, job)
        assert (view.state, view.reason) == ("FAILED", "CANCELLED")


async def test_after_its_grace_time_the_claim_is_taken_away(
    brokers: Brokers, broker: Broker
) -> None:
    wire = await brokers.connect(broker)
    claim = await claimed(wire, "a")
    await cancel(wire, "a", grace_ms=0)
    assert await revoked(wire, claim) == "cancelled"
    [late] = await complete(wire, claim)
    assert late.code in (Code.STALE_CLAIM, Code.NOT_FOUND)
    assert (await get(wire, "a")).reason == "CANCELLED"


async def test_less_grace_time_is_told_again_more_is_not(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await claimed(wire, "a")
    await cancel(wire, "a")
    first = await cancelling(wire)
    await cancel(wire, "a", grace_ms=LONG_MS // 2)
    second = await cancelling(wire)
    assert second.grace_ms <= LONG_MS // 2 < first.grace_ms
    await cancel(wire, "a", grace_ms=LONG_MS)
    await at_rest(broker)
    await get(wire, "a")
    assert not wire.kept(Cancelling)


async def test_a_claim_and_its_cancellation_in_one_batch_come_in_that_order(
    brokers: Brokers, broker: Broker
) -> None:
    """The runner learns of the claim first, also where both are committed together."""
    runner, other = await brokers.connect(broker), await brokers.connect(broker)
    await take(runner, 1)
    await create(runner, "first")
    [claim] = await runner.claims(1)
    await create(runner, "second")
    begun = other.begin(Cancel, jobs=("second",), grace_ms=LONG_MS)
    await complete(runner, claim)
    await other.answer(begun)
    view = await get(other, "second")
    if view.state == "STARTED":
        assert names(await runner.claims(1)) == ["second"]
        assert (await cancelling(runner)).job == "second"
    else:
        assert (view.state, view.reason) == ("FAILED", "CANCELLED")


async def test_one_that_comes_back_is_told_again(brokers: Brokers, broker: Broker) -> None:
    runner, other = await brokers.connect(broker, "r"), await brokers.connect(broker)
    claim = await claimed(runner, "a")
    await runner.abort()
    await cancel(other, "a", why="meanwhile")
    again = await brokers.connect(broker, "r", secret=runner.welcome.secret)
    [same] = await again.claims(1)
    assert same.token == claim.token
    told = await cancelling(again)
    assert (told.token, told.why) == (claim.token, "meanwhile")
    assert told.grace_ms <= LONG_MS


async def test_it_is_told_once_however_often_claims_are_compared_with_the_store(
    brokers: Brokers, broker: Broker
) -> None:
    wire = await brokers.connect(broker)
    claim = await claimed(wire, "a")
    await cancel(wire, "a")
    assert (await cancelling(wire)).token == claim.token
    broker.parts.fanout.missed()
    await at_rest(broker)
    await get(wire, "a")
    assert not wire.kept(Cancelling)
    await cancel(wire, "a", grace_ms=1_000)
    assert (await cancelling(wire)).grace_ms <= 1_000


@pytest.mark.parametrize("limit", ["run_ms", "total_ms"])
async def test_a_timeout_that_ends_a_claim_is_told_as_such(
    brokers: Brokers, broker: Broker, limit: str
) -> None:
    wire = await brokers.connect(broker)
    timeouts = Timeouts(**{limit: 1_000})
    await wire.ask(Create, jobs=(NewJob(type="t", id="a", timeouts=timeouts),))
    [claim] = await wire.ask(ClaimJobs, jobs=("a",))
    assert await revoked(wire, claim) == "timeout"
    assert (await get(wire, "a")).reason == "JOB_TIMEOUT"


# -- where the runner is at another broker


class Apart:
    """A runner at one broker, another client at the other; both brokers know of each other."""

    def __init__(self, brokers: Brokers) -> None:
        self._all = brokers
        self.brokers: list[Broker] = []

    async def __call__(self) -> tuple[Wire, Wire]:
        self.brokers = [await self._all.start() for _ in range(2)]
        for broker in [*self.brokers, *self.brokers]:
            await broker.parts.sweeper.sweep()
        runner, other = [await self._all.connect(broker) for broker in self.brokers]
        return runner, other


@pytest.fixture
def apart(brokers: Brokers) -> Apart:
    return Apart(brokers)


async def test_a_request_from_elsewhere_is_told(apart: Apart) -> None:
    runner, other = await apart()
    claim = await claimed(runner, "a")
    await cancel(other, "a", why="from there")
    told = await cancelling(runner)
    assert (told.token, told.why) == (claim.token, "from there")
    assert 0 < told.grace_ms <= LONG_MS


async def test_a_claim_that_is_taken_away_elsewhere_says_why(apart: Apart) -> None:
    runner, other = await apart()
    claim = await claimed(runner, "a")
    await cancel(other, "a", grace_ms=0)
    assert await revoked(runner, claim) == "cancelled"


async def test_a_lost_notice_of_an_end_is_made_up_for(apart: Apart) -> None:
    """Whoever ended the claim, its runner is told why."""
    runner, other = await apart()
    deaf, _ = apart.brokers
    claim = await claimed(runner, "a")
    deaf.parts.notices._heard = _nothing
    await cancel(other, "a", grace_ms=0)
    while (await get(other, "a")).state == "STARTED":
        continue
    deaf.parts.fanout.missed()
    assert await revoked(runner, claim) == "cancelled"


async def test_a_lost_notice_of_a_request_is_made_up_for(apart: Apart) -> None:
    runner, other = await apart()
    deaf, _ = apart.brokers
    claim = await claimed(runner, "a")
    deaf.parts.notices._heard = _nothing
    await cancel(other, "a")
    deaf.parts.fanout.missed()
    assert (await cancelling(runner)).token == claim.token


def _nothing(_: Notice) -> None:
    """A notice that is lost."""

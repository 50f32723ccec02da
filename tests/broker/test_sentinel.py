"""A store behind Sentinels: its primary is lost, another takes its place, and work goes on."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from packhorse_broker.broker import Broker
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    ClaimJobs,
    Create,
    Created,
    Ended,
    NewJob,
    Ok,
    Outcomes,
    Problem,
    Refused,
    Revoke,
)
from tests.support.brokers import Brokers
from tests.support.inspection import Raw
from tests.support.replicas import SentinelGroup
from tests.support.requests import complete, create, names, take
from tests.support.wire import Wire

REQUEST_MS = 300


@pytest.fixture
async def group() -> AsyncIterator[SentinelGroup]:
    started = SentinelGroup()
    async with started:
        yield started


@pytest.fixture
async def broker(brokers: Brokers, group: SentinelGroup) -> AsyncIterator[Broker]:
    """One that looks what the store is in short turns, and answers soon that it is away."""
    started = await brokers.start(
        store_url=group.url, store_timeout_ms=REQUEST_MS, sweep_ms=50, last_response_flush_ms=50
    )
    yield started
    await brokers.stop(started)


async def created(wire: Wire, job: str, **fields: object) -> None:
    """Repeats the create until it is accepted, as a client does with what it may repeat."""
    new = NewJob(type="t", id=job)
    while True:
        answer = await wire.answer(wire.begin(Create, jobs=(new,), **fields))
        assert isinstance(answer, Ok | Refused)
        if isinstance(answer, Ok):
            [result] = answer.results
            if isinstance(result, Created):
                return
            assert isinstance(result, Problem)
            assert result.retryable, result
        await asyncio.sleep(0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_work_goes_on_with_the_new_primary(
    brokers: Brokers, broker: Broker, group: SentinelGroup, how: int
) -> None:
    """Over the connections that clients had, with all that was answered before."""
    wire, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(wire, "before", "held", handle=True)
    [claim] = await runner.ask(ClaimJobs, jobs=("held",))
    await group.caught_up()
    await group.lose_primary(how)
    failing_over = asyncio.create_task(group.promoted())
    during = 0
    while not failing_over.done():
        await created(wire, f"during-{during}")
        during += 1
        await asyncio.sleep(0)
    await failing_over
    await created(wire, "after")
    assert await complete(runner, claim) == (Ended(state="COMPLETE"),)
    assert (await wire.push(Outcomes)).outcomes[0].job == "held"
    await take(runner, 2)
    assert names(await runner.claims(2))[0] == "before"


async def test_a_claim_that_the_new_primary_does_not_know_is_revoked(
    brokers: Brokers, broker: Broker, group: SentinelGroup
) -> None:
    """The replica stood still while it was granted: it is lost with the old primary."""
    wire, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(wire, "a")
    await group.caught_up()
    replica = group.servers[1]
    replica.signal(signal.SIGSTOP)
    raw = await Raw.open(group.servers[0].url)
    await raw("CLIENT", "KILL", "TYPE", "replica")  # What it was sent before it still reads.
    await raw.close()
    await take(runner, 1)
    [claim] = await runner.claims(1)
    await group.lose_primary()
    replica.signal(signal.SIGCONT)
    await group.promoted()
    [revoked] = (await runner.push(Revoke)).claims
    assert (revoked.job, revoked.token) == ("a", claim.token)
    [again] = await runner.claims(1)
    assert again.token != claim.token
    [stale] = await complete(runner, claim)
    assert stale.code == Code.STALE_CLAIM
    assert await complete(runner, again) == (Ended(state="COMPLETE"),)

"""Delays, timeouts and retention come due, whichever broker knows of them."""

import pytest

from packhorse_broker import timers
from packhorse_broker.broker import Broker
from packhorse_broker.store.keys import PartitionKeys
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    Backoff,
    Cancel,
    ClaimJobs,
    Ended,
    Extend,
    Extended,
    Extension,
    Fail,
    Revoke,
    RunNow,
    Timeouts,
    Watch,
)
from tests.support.brokers import NEVER_MS, Brokers
from tests.support.inspection import Raw
from tests.support.requests import complete, create, failure, get, take
from tests.support.wire import Wire


async def claim_of(wire: Wire, job: str) -> bytes:
    [claim] = await wire.ask(ClaimJobs, jobs=(job,))
    token: bytes = claim.token
    return token


async def test_a_delayed_job_is_run_when_its_time_has_come(
    brokers: Brokers, broker: Broker
) -> None:
    wire = await brokers.connect(broker)
    await take(wire, 1)
    await create(wire, "later", delay_ms=150)
    view = await get(wire, "later")
    assert (view.state, view.delayed_until) == ("PENDING", view.created_at + 150)
    [claim] = await wire.claims(1)
    view = await get(wire, claim.job)
    assert view.queued_at >= view.created_at + 150
    assert (view.state, view.delayed_until) == ("STARTED", 0)


async def test_jobs_come_in_the_order_of_their_times(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    now_ms = wire.welcome.now_ms
    await take(wire, 10)
    for job, delay_ms in (("c", 300), ("a", 100), ("b", 200)):
        await create(wire, job, delay_until=now_ms + delay_ms)
    assert [claim.job for claim in await wire.claims(3)] == ["a", "b", "c"]


async def test_a_time_in_the_past_is_no_delay(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", delay_until=1)
    view = await get(wire, "a")
    assert (view.state, view.delayed_until) == ("QUEUED", 0)


async def test_the_broker_that_took_it_may_be_gone(brokers: Brokers) -> None:
    first, second = [await brokers.start(sweep_ms=NEVER_MS) for _ in range(2)]
    runner = await brokers.connect(second)
    await take(runner, 2)
    creator = await brokers.connect(first)
    await create(creator, "soon", delay_ms=300)
    await creator.close()
    await brokers.stop(first)
    [claim] = await runner.claims(1)
    assert claim.job == "soon"


async def test_a_run_that_takes_too_long_is_revoked_and_tried_again(
    brokers: Brokers, broker: Broker
) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", attempts=2, timeouts=Timeouts(run_ms=80))
    [claim] = await wire.ask(ClaimJobs, jobs=("a",))
    assert 0 < claim.remaining_ms <= 80
    [revoked] = (await wire.push(Revoke)).claims
    assert (revoked.job, revoked.token, revoked.reason) == ("a", claim.token, "timeout")
    [refused] = await complete(wire, claim)
    assert refused.code == Code.STALE_CLAIM
    view = await get(wire, "a")
    assert (view.state, view.timed_out, view.expired) == ("QUEUED", 1, "run")
    await claim_of(wire, "a")
    await wire.push(Revoke)
    view = await get(wire, "a")
    assert (view.state, view.reason, view.expired) == ("FAILED", "JOB_TIMEOUT", "run")


async def test_a_job_that_waits_too_long_in_its_queue_fails(
    brokers: Brokers, broker: Broker
) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", handle=True, timeouts=Timeouts(idle_ms=80, total_ms=60_000))
    [outcome] = await wire.outcomes(1)
    assert (outcome.reason, outcome.expired, outcome.attempt) == ("JOB_TIMEOUT", "idle", 0)


async def test_total_bounds_the_whole_life(brokers: Brokers, broker: Broker) -> None:
    """Also while it waits for its next attempt."""
    wire = await brokers.connect(broker)
    waiting = Backoff(type="fixed", delay_ms=60_000)
    await create(
        wire, "a", handle=True, attempts=9, backoff=waiting, timeouts=Timeouts(total_ms=200)
    )
    [claim] = await wire.ask(ClaimJobs, jobs=("a",))
    [ended] = await wire.ask(Fail, jobs=(failure(claim),))
    assert ended == Ended(state="PENDING")
    [outcome] = await wire.outcomes(1)
    assert (outcome.reason, outcome.expired, outcome.attempt) == ("JOB_TIMEOUT", "total", 1)


async def test_a_run_is_extended_up_to_the_total(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", timeouts=Timeouts(run_ms=10_000, total_ms=30_000))
    await create(wire, "free")
    token, free = await claim_of(wire, "a"), await claim_of(wire, "free")
    extensions = (
        Extension(job="a", token=token, run_ms=20_000),
        Extension(job="a", token=token, run_ms=90_000),
        Extension(job="free", token=free, run_ms=1_000),
        Extension(job="a", token=bytes(16), run_ms=1_000),
    )
    longer, most, unlimited, stale = await wire.ask(Extend, claims=extensions)
    assert 10_000 < longer.remaining_ms <= 20_000
    assert 20_000 < most.remaining_ms <= 30_000
    assert unlimited == Extended(remaining_ms=None)
    assert stale.code == Code.STALE_CLAIM


async def test_the_next_attempt_waits_for_its_backoff(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await take(wire, 1)
    await create(wire, "a", attempts=3, backoff=Backoff(type="list", delays_ms=(120, 60)))
    for attempt, wait_ms in ((1, 120), (2, 60)):
        [claim] = await wire.claims(1)
        assert claim.attempt == attempt
        [ended] = await wire.ask(Fail, jobs=(failure(claim),))
        assert ended == Ended(state="PENDING")
        view = await get(wire, "a")
        if view.state == "PENDING":
            assert view.next_attempt == view.delayed_until
            assert view.next_attempt >= view.started_at + wait_ms
    [claim] = await wire.claims(1)
    assert claim.attempt == 3


async def test_a_pending_job_may_be_run_now(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await take(wire, 1)
    await create(wire, "a", delay_ms=3_600_000)
    [ended] = await wire.ask(RunNow, jobs=("a",), why="cannot wait")
    assert ended == Ended(state="QUEUED")
    await wire.claims(1)
    [refused] = await wire.ask(RunNow, jobs=("a",))
    assert refused.code == Code.WRONG_STATE


async def test_no_grace_time_is_over_at_once(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a")
    await claim_of(wire, "a")
    await wire.ask(Cancel, jobs=("a",), grace_ms=0)
    [revoked] = (await wire.push(Revoke)).claims
    assert revoked.reason == "cancelled"


@pytest.mark.parametrize("index", ["p", "t"])
async def test_entries_of_no_job_hold_nobody_up(
    brokers: Brokers, broker: Broker, monkeypatch: pytest.MonkeyPatch, index: str
) -> None:
    raw = await Raw.open(brokers.store_url)
    keys = PartitionKeys(brokers.prefix, 0)
    monkeypatch.setattr(timers, "MAX_STUCK", 500)
    monkeypatch.setattr(timers, "LOOK_MS", 20)
    stale = [*(f"stale-{number}".encode() for number in range(1_200)), b"\xff"]
    members = [part for name in stale for part in (1, name)]
    await raw("ZADD", keys.base + index.encode(), *members)
    wire = await brokers.connect(broker)
    await take(wire, 1)
    await create(wire, "a", delay_ms=30)
    [claim] = await wire.claims(1)
    await complete(wire, claim)
    await raw("ZREM", keys.base + index.encode(), *stale)
    await raw.close()


async def test_watchers_see_a_job_come_due(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", delay_ms=100)
    await wire.ask(Watch, jobs=("a",))
    events = await wire.events("a", lambda event: event.state == "QUEUED")
    assert [event.state for event in events][-1] == "QUEUED"

"""What happened to a type's jobs, minute by minute."""

import asyncio
from typing import Any, Final

import pytest

from packhorse_broker.jobs.commands import (
    Cancel,
    Complete,
    Create,
    Due,
    Fail,
    HandlerGone,
    Release,
    Remove,
    Retry,
    RunnerGone,
    WriteLog,
)
from packhorse_broker.jobs.terms import Backoff, Growth, Terms
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.minutes import DAY_MS, HOUR_MS, MINUTE_MS, Minute, Minutes
from tests.support.commands import claim, create, first_token
from tests.support.inspection import Raw
from tests.support.opening import Caller, Opener
from tests.support.proxy import Fault, FaultProxy

ANN: Final = "ann"


class Tally:
    """A committer whose changes are counted, and what came of it."""

    def __init__(self, opener: Opener, keys: PartitionKeys, url: str | None = None) -> None:
        self.clock = opener.clock
        self.clock.forward(100 * DAY_MS)
        self.caller: Caller = opener.committer()
        self.minutes = Minutes(opener.lane(url), keys, opener.clock.now_ms)
        self._changes = opener.committed

    def count(self) -> None:
        self.minutes.committed(self._changes)
        self._changes.clear()

    async def told(self) -> dict[str, int]:
        """What is not 0 in the only minute."""
        self.count()
        [minute] = await self.minutes.day("mail", 0)
        return shown(minute)

    async def started(self, job: str = "a", **create_with: Any) -> bytes:
        """A job that Ann holds: its token."""
        await self.caller.submit((job, Create(job, "mail", b"", "maker", **create_with)))
        return await self.claim(job)

    async def claim(self, job: str = "a") -> bytes:
        applied = await self.caller.applied(job, claim(ANN))
        assert applied.job.token is not None
        return applied.job.token


def shown(minute: Minute) -> dict[str, int]:
    fields = Minute.__struct_fields__[1:]
    return {field: getattr(minute, field) for field in fields if getattr(minute, field)}


@pytest.fixture
async def tally(opener: Opener, keys: PartitionKeys) -> Tally:
    return Tally(opener, keys)


# -- what is counted as what


async def test_a_plain_life(tally: Tally) -> None:
    await tally.caller.submit(create("a", handler="bob"))
    tally.clock.forward(30)
    token = await tally.claim()
    tally.clock.forward(500)
    await tally.caller.ask("a", Complete(ANN, token, b""))
    assert await tally.told() == {
        "created": 1,
        "started": 1,
        "completed": 1,
        "wait_ms": 30,
        "run_ms": 500,
    }


async def test_a_whole_life_in_one_batch(tally: Tally) -> None:
    claiming = claim(ANN)
    await tally.caller.submit(
        create("a"), ("a", claiming), ("a", Complete(ANN, first_token(claiming), b""))
    )
    assert await tally.told() == {"created": 1, "started": 1, "completed": 1, "removed": 1}


async def test_attempts_that_fail(tally: Tally) -> None:
    token = await tally.started(attempts=2)
    tally.clock.forward(10)
    await tally.caller.ask("a", Fail(ANN, token, b"error"))
    token = await tally.claim()
    tally.clock.forward(20)
    await tally.caller.ask("a", Fail(ANN, token, b"error"))
    assert await tally.told() == {
        "created": 1,
        "started": 2,
        "retried": 1,
        "failed": 1,
        "run_ms": 30,
    }


async def test_an_attempt_that_waits_for_the_next(tally: Tally) -> None:
    token = await tally.started(attempts=2, terms=Terms(backoff=Backoff(Growth.FIXED, delay_ms=5)))
    await tally.caller.ask("a", Fail(ANN, token, b"error"))
    tally.clock.forward(5)
    await tally.caller.ask("a", Due())
    tally.clock.forward(7)
    await tally.claim()
    assert await tally.told() == {"created": 1, "started": 2, "retried": 1, "wait_ms": 7}


async def test_lost_runners(tally: Tally) -> None:
    await tally.started(attempts=2)
    tally.clock.forward(10)
    await tally.caller.ask("a", RunnerGone(ANN))
    await tally.claim()
    await tally.caller.ask("a", RunnerGone(ANN))
    assert await tally.told() == {
        "created": 1,
        "started": 2,
        "lost": 2,
        "retried": 1,
        "failed": 1,
        "run_ms": 10,
    }


async def test_claims_given_back(tally: Tally) -> None:
    token = await tally.started()
    tally.clock.forward(10)
    await tally.caller.ask("a", Release(ANN, token))
    assert await tally.told() == {"created": 1, "started": 1, "released": 1, "run_ms": 10}


async def test_runs_that_take_too_long(tally: Tally) -> None:
    await tally.started(attempts=2, terms=Terms(run_ms=50))
    tally.clock.forward(50)
    await tally.caller.ask("a", Due())
    assert await tally.told() == {
        "created": 1,
        "started": 1,
        "timed_out": 1,
        "retried": 1,
        "run_ms": 50,
    }


@pytest.mark.parametrize("terms", [Terms(idle_ms=50), Terms(total_ms=50)])
async def test_jobs_that_wait_too_long(tally: Tally, terms: Terms) -> None:
    await tally.caller.submit(("a", Create("a", "mail", b"", "maker", terms=terms)))
    tally.clock.forward(50)
    await tally.caller.ask("a", Due())
    assert await tally.told() == {"created": 1, "timed_out": 1, "failed": 1}


async def test_a_run_that_the_whole_time_ends(tally: Tally) -> None:
    await tally.started(attempts=2, terms=Terms(total_ms=50))
    tally.clock.forward(50)
    await tally.caller.ask("a", Due())
    assert await tally.told() == {
        "created": 1,
        "started": 1,
        "timed_out": 1,
        "failed": 1,
        "run_ms": 50,
    }


async def test_cancelled_jobs(tally: Tally) -> None:
    await tally.caller.submit(create("a"), create("b"))
    await tally.caller.ask("a", Cancel("bob"))
    await tally.claim("b")
    await tally.caller.ask("b", Cancel("bob", grace_ms=0))
    tally.clock.forward(10)
    await tally.caller.ask("b", Due())
    assert await tally.told() == {"created": 2, "started": 1, "cancelled": 2, "run_ms": 10}


async def test_by_hand(tally: Tally) -> None:
    token = await tally.started()
    await tally.caller.ask("a", Fail(ANN, token, b"error"))
    await tally.caller.ask("a", Retry("bob"))
    await tally.caller.ask("a", Remove("bob"))
    assert await tally.told() == {
        "created": 1,
        "started": 1,
        "failed": 1,
        "retried": 1,
        "removed": 1,
    }


async def test_another_job_under_the_same_id_in_one_batch(tally: Tally) -> None:
    await tally.caller.submit(create("a"))
    await tally.caller.submit(("a", Remove()), create("a"))
    assert await tally.told() == {"created": 2, "removed": 1}


async def test_what_changes_no_state_is_not_counted(tally: Tally) -> None:
    token = await tally.started(handler="bob")
    await tally.told()
    before = await tally.minutes.day("mail", 0)
    await tally.caller.ask("a", WriteLog(ANN, token, ("line",)))
    await tally.caller.ask("a", HandlerGone("bob"))
    tally.count()
    assert await tally.minutes.day("mail", 0) == before


# -- minutes and days


async def test_each_minute_has_its_own_numbers(tally: Tally) -> None:
    begun = tally.clock.now_ms() // MINUTE_MS * MINUTE_MS
    await tally.caller.submit(create("a"), create("b"))
    tally.count()
    tally.clock.forward(MINUTE_MS)
    await tally.caller.submit(create("c"))
    tally.count()
    found = await tally.minutes.day("mail", 0)
    assert [(one.at - begun, one.created) for one in found] == [(0, 2), (MINUTE_MS, 1)]
    later = await tally.minutes.day("mail", begun + 1)
    assert [one.at - begun for one in later] == [MINUTE_MS]
    assert await tally.minutes.day("mail", begun + DAY_MS) == []


async def test_types_have_their_own_numbers(tally: Tally) -> None:
    await tally.caller.submit(create("a"), create("b", "resize"))
    tally.count()
    for job_type in ("mail", "resize"):
        [minute] = await tally.minutes.day(job_type, 0)
        assert shown(minute) == {"created": 1}
    assert await tally.minutes.day("none", 0) == []


async def test_numbers_are_kept_for_a_day(tally: Tally, raw: Raw, keys: PartitionKeys) -> None:
    await tally.caller.submit(create("a"))
    tally.count()
    tally.clock.forward(DAY_MS - MINUTE_MS)
    assert len(await tally.minutes.day("mail", 0)) == 1
    [key] = await raw.keys(keys.base + b"m:")
    assert DAY_MS < await raw("PTTL", key) <= DAY_MS + HOUR_MS
    tally.clock.forward(MINUTE_MS + 1)
    assert await tally.minutes.day("mail", 0) == []


async def test_brokers_add_up(opener: Opener, tally: Tally, keys: PartitionKeys) -> None:
    other = Minutes(opener.lane(), keys, opener.clock.now_ms)
    for minutes in (tally.minutes, other, other):
        await tally.caller.submit(create(f"j{id(minutes)}-{len(opener.committed)}"))
        minutes.committed(opener.committed)
        await minutes.flush()
    [minute] = await tally.minutes.day("mail", 0)
    assert minute.created == 1 + 2 + 3


# -- writing


async def test_it_is_written_without_being_asked(
    opener: Opener, tally: Tally, keys: PartitionKeys
) -> None:
    """At the latest when the broker ends."""
    await tally.caller.submit(create("a"))
    tally.minutes.start()
    tally.count()
    await tally.minutes.close()
    reader = Minutes(opener.lane(), keys, opener.clock.now_ms)
    [minute] = await reader.day("mail", 0)
    assert minute.created == 1


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.SWALLOW_ANSWER, Fault.CUT_IN_ANSWER])
async def test_each_number_is_written_once(
    opener: Opener, keys: PartitionKeys, proxy: FaultProxy, fault: Fault
) -> None:
    tally = Tally(opener, keys, proxy.url)
    await tally.caller.submit(create("a"))
    tally.count()
    proxy.fail(fault)
    try:
        await tally.minutes.flush()
    except StoreUnavailable:
        assert fault is Fault.CUT_BEFORE
    [minute] = await tally.minutes.day("mail", 0)
    assert minute.created == 1


async def test_what_comes_while_it_is_written_is_not_lost(
    opener: Opener, keys: PartitionKeys, proxy: FaultProxy
) -> None:
    tally = Tally(opener, keys, proxy.url)
    await tally.caller.submit(create("a"))
    tally.count()
    proxy.fail(Fault.PAUSE)
    flushing = asyncio.create_task(tally.minutes.flush())
    await proxy.met()
    await tally.caller.submit(create("b"))
    tally.count()
    proxy.resume()
    await flushing
    [minute] = await tally.minutes.day("mail", 0)
    assert minute.created == 2


async def test_while_the_store_is_away_it_is_kept(
    opener: Opener, keys: PartitionKeys, proxy: FaultProxy
) -> None:
    tally = Tally(opener, keys, proxy.url)
    await tally.caller.submit(create("a"))
    tally.count()
    proxy.refusing = True
    with pytest.raises(StoreUnavailable):
        await tally.minutes.flush()
    await tally.caller.submit(create("b"))
    tally.count()
    proxy.refusing = False
    [minute] = await tally.minutes.day("mail", 0)
    assert minute.created == 2


async def test_writing_goes_on_when_the_store_is_back(
    opener: Opener, keys: PartitionKeys, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("packhorse_broker.store.minutes.FLUSH_S", 0.001)
    tally = Tally(opener, keys, proxy.url)
    await tally.caller.submit(create("a"))
    tally.count()
    proxy.refusing = True
    tally.minutes.start()
    await proxy.refused()
    await proxy.refused()
    proxy.refusing = False
    reader = Minutes(opener.lane(), keys, opener.clock.now_ms)
    while not await reader.day("mail", 0):
        pass
    await tally.minutes.close()
    [minute] = await reader.day("mail", 0)
    assert minute.created == 1

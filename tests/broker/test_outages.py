"""What a broker counts as an outage, and what becomes of jobs and clients after one."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import pytest

from packhorse_broker import timers
from packhorse_broker.broker import Broker
from packhorse_broker.jobs.commands import Command
from packhorse_broker.jobs.outages import Outage
from packhorse_broker.outages import Outages
from packhorse_broker.store.registry import MAX_OUTAGES, LastRun
from packhorse_broker.store.work import Result
from packhorse_protocol.messages import (
    Cancel,
    Cancelling,
    ClaimJobs,
    Ended,
    Extend,
    Extended,
    Extension,
    Ok,
    ProgressReport,
    ReportProgress,
    Revoke,
    Timeouts,
    Watch,
)
from tests.support.brokers import NEVER_MS, Brokers, until
from tests.support.proxy import FaultProxy
from tests.support.requests import complete, create, get, take

SWEEP_MS: Final = 1_000
START_MS: Final = 1_790_000_000_000


def begun(*outages: Outage, ran_ms: int = START_MS) -> Outages:
    """A broker's that has just started."""
    made = Outages(sweep_ms=SWEEP_MS)
    made.begin(LastRun(ran_ms, outages), START_MS)
    made.sound(START_MS)
    return made


# -- what is one


def test_changes_that_come_as_often_as_they_should_leave_no_outage() -> None:
    outages = begun()
    for ms in range(1_000, 9_000, 2_000):
        outages.sound(START_MS + ms)
    assert outages.known.at(START_MS + 8_999) == ()


def test_a_silence_is_one_from_the_last_change_to_the_next() -> None:
    outages = begun()
    later_ms = START_MS + 2 * SWEEP_MS + 1
    assert outages.known.at(later_ms - 1) == ()
    assert outages.known.at(later_ms) == (Outage(START_MS, later_ms),)
    assert outages.under_way(later_ms) == (Outage(START_MS, later_ms),)
    outages.sound(later_ms)
    assert outages.known.at(later_ms + 10) == (Outage(START_MS, later_ms),)
    assert outages.under_way(later_ms + 10) == ()


def test_a_failure_is_one_however_short() -> None:
    outages = begun()
    outages.failed()
    assert outages.known.at(START_MS + 7) == (Outage(START_MS, START_MS + 7),)
    outages.sound(START_MS + 8)
    outages.sound(START_MS + 9)
    assert outages.known.at(START_MS + 10) == (Outage(START_MS, START_MS + 8),)


def test_the_time_before_the_start_is_one_as_far_as_no_broker_ran() -> None:
    assert begun().known.ended == ()
    assert begun(ran_ms=START_MS - 2 * SWEEP_MS).known.ended == ()
    assert begun(ran_ms=0).known.ended == ()
    long_ago_ms = START_MS - 3_600_000
    assert begun(ran_ms=long_ago_ms).known.ended == (Outage(long_ago_ms, START_MS),)


def test_those_that_others_knew_of_count_too() -> None:
    early, late = Outage(START_MS - 900, START_MS - 800), Outage(START_MS - 500, START_MS - 400)
    assert begun(early, late).known.ended == (early, late)


def test_it_remembers_the_newest() -> None:
    outages = begun()
    for second in range(1, 2 * MAX_OUTAGES):
        outages.failed()
        outages.sound(START_MS + 1_000 * second)
        outages.sound(START_MS + 1_000 * second + 500)
    assert len(outages.known.ended) == MAX_OUTAGES
    assert outages.known.ended[-1].until_ms == START_MS + 1_000 * (2 * MAX_OUTAGES - 1)


def test_a_clock_that_stands_still_is_none() -> None:
    """The store's was set back: until it has come there again no time passes."""
    outages = begun()
    outages.failed()
    outages.sound(START_MS)
    assert outages.known.at(START_MS + 1) == ()


# -- clients


def test_nobody_is_given_up_for_the_time_before_the_start() -> None:
    outages = begun()
    assert outages.spares(30_000, 30_000, START_MS + 29_999)
    assert not outages.spares(30_000, 30_000, START_MS + 30_000)


@pytest.mark.parametrize(
    ("silence_ms", "timeout_ms", "spared"),
    [(2_100, 4_000, True), (2_100, 5_000, False), (5_001, 3_600_000, True)],
)
def test_a_silence_matters_to_those_for_whom_it_was_long(
    silence_ms: int, timeout_ms: int, spared: bool
) -> None:
    outages = begun()
    late_ms = START_MS + 3_600_000
    outages.sound(late_ms)
    outages._gaps.clear()
    outages.sound(late_ms + silence_ms)
    assert outages.spares(timeout_ms, timeout_ms, late_ms + silence_ms + 1) is spared


# -- jobs, with a store

QUICK: Final[dict[str, Any]] = {"sweep_ms": 20, "last_response_flush_ms": 20}
RUN_MS: Final = 400
LONG_MS: Final = 3_600_000


async def longer_than_a_run() -> None:
    """Time is what it is about: nothing tells that it has passed."""
    await asyncio.sleep(2 * RUN_MS / 1_000)


@pytest.mark.parametrize("brokers_then", [1, 2])
async def test_no_attempt_ends_for_the_time_in_which_no_broker_ran(
    brokers: Brokers, brokers_then: int
) -> None:
    """Also at one that starts after another, and so has seen a broker at work."""
    first = await brokers.start(**QUICK)
    wire = await brokers.connect(first, "me", timeout_ms=LONG_MS)
    await create(wire, "a", "waits", timeouts=Timeouts(run_ms=RUN_MS, idle_ms=RUN_MS))
    [claim] = await wire.ask(ClaimJobs, jobs=("a",))
    await brokers.stop(first)
    await longer_than_a_run()
    *_, newest = [await brokers.start(**QUICK) for _ in range(brokers_then)]
    back = await brokers.connect(newest, "me", secret=wire.welcome.secret, timeout_ms=LONG_MS)
    [again] = await back.claims(1)
    assert (again.job, again.token) == ("a", claim.token)
    assert 0 < (again.remaining_ms or 0) <= RUN_MS
    assert (await get(back, "waits")).state == "QUEUED"
    assert await complete(back, again) == (Ended(state="COMPLETE"),)
    # It goes on counting.
    await back.ask(Watch, jobs=("waits",))
    await back.events("waits", lambda event: event.state == "FAILED")
    assert (await get(back, "waits")).expired == "idle"


async def test_a_grace_time_does_not_pass_while_no_broker_runs(brokers: Brokers) -> None:
    first = await brokers.start(**QUICK)
    wire = await brokers.connect(first, "me", timeout_ms=LONG_MS)
    await create(wire, "a")
    await wire.ask(ClaimJobs, jobs=("a",))
    await wire.ask(Cancel, jobs=("a",), grace_ms=RUN_MS)
    await brokers.stop(first)
    await longer_than_a_run()
    second = await brokers.start(**QUICK)
    back = await brokers.connect(second, "me", secret=wire.welcome.secret, timeout_ms=LONG_MS)
    [again] = await back.claims(1)
    assert 0 < (again.remaining_ms or 0) <= RUN_MS
    [told] = (await back.push(Cancelling)).claims
    assert 0 < told.grace_ms <= RUN_MS
    [revoked] = (await back.push(Revoke)).claims
    assert revoked.reason == "cancelled"


@pytest.fixture
async def proxy(store_url: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(store_url) as opened:
        yield opened


async def test_a_runner_may_extend_what_was_over_but_for_an_outage(
    brokers: Brokers, proxy: FaultProxy
) -> None:
    broker = await brokers.start(store_url=proxy.url, **QUICK)
    wire = await brokers.connect(broker, timeout_ms=LONG_MS)
    await create(wire, "a", timeouts=Timeouts(run_ms=RUN_MS, total_ms=2 * RUN_MS))
    [claim] = await wire.ask(ClaimJobs, jobs=("a",))
    proxy.refusing = True
    proxy.cut()
    await longer_than_a_run()
    extending = wire.begin(Extend, claims=(Extension(job="a", token=claim.token, run_ms=60_000),))
    proxy.refusing = False
    answer = await wire.answer(extending)
    assert isinstance(answer, Ok)
    [extended] = answer.results
    assert isinstance(extended, Extended)
    assert extended.remaining_ms is not None
    # What is left of its total.
    assert 0 < extended.remaining_ms <= 2 * RUN_MS
    [revoked] = (await wire.push(Revoke)).claims
    assert revoked.reason == "timeout"
    await wire.close()
    await brokers.stop(broker)


async def test_a_broker_that_saw_no_outage_ends_what_is_over(
    brokers: Brokers, proxy: FaultProxy
) -> None:
    cut_off = await brokers.start(store_url=proxy.url, **QUICK)
    other = await brokers.start(**QUICK)
    wire = await brokers.connect(cut_off, timeout_ms=LONG_MS)
    watcher = await brokers.connect(other, timeout_ms=LONG_MS)
    await create(wire, "a", attempts=2, timeouts=Timeouts(run_ms=RUN_MS))
    await watcher.ask(Watch, jobs=("a",))
    await wire.ask(ClaimJobs, jobs=("a",))
    proxy.refusing = True
    proxy.cut()
    await watcher.events("a", lambda event: event.state == "QUEUED")
    proxy.refusing = False
    [revoked] = (await wire.push(Revoke)).claims
    assert revoked.reason == "timeout"
    await wire.close()
    await brokers.stop(cut_off)


# -- many jobs that are put off


@pytest.fixture
async def put_off(brokers: Brokers, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """More jobs than a look goes past, with a timeout that is not over for an outage."""
    monkeypatch.setattr(timers, "PAGE", 100)
    monkeypatch.setattr(timers, "MAX_STUCK", 100)
    monkeypatch.setattr(timers, "LOOK_MS", 20)
    now_ms = broker._clock.now_ms()
    broker.parts.outages.begin(LastRun(now_ms, (Outage(now_ms, now_ms + NEVER_MS),)), now_ms)
    broker.parts.outages.sound(now_ms)
    wire = await brokers.connect(broker)
    ids = [f"j{n}" for n in range(1_000)]
    await create(wire, *ids, type="idle", timeouts=Timeouts(idle_ms=1, run_ms=RUN_MS))
    await until(lambda: len(broker.parts.timers._put_off) == len(ids))
    return ids


async def test_they_hold_nobody_up(brokers: Brokers, broker: Broker, put_off: list[str]) -> None:
    wire = await brokers.connect(broker)
    await take(wire, 1)
    began = time.monotonic()
    await create(wire, "delayed", delay_ms=30)
    await wire.claims(1)
    assert time.monotonic() - began >= 0.03
    assert broker.parts.timers._put_off.keys() == set(put_off)


async def test_one_that_changes_is_asked_about_at_its_new_time(
    brokers: Brokers, broker: Broker, put_off: list[str]
) -> None:
    wire = await brokers.connect(broker)
    now_ms = broker._clock.now_ms()
    broker.parts.outages.begin(LastRun(now_ms), now_ms)
    broker.parts.outages.sound(now_ms)
    await wire.ask(ClaimJobs, jobs=(put_off[0],))
    [revoked] = (await wire.push(Revoke)).claims
    assert revoked.reason == "timeout"


async def test_one_that_changes_brings_about_no_look(
    brokers: Brokers, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for no sooner than without a change, however often it changes."""
    monkeypatch.setattr(timers, "LOOK_MS", NEVER_MS)
    now_ms = broker._clock.now_ms()
    broker.parts.outages.begin(LastRun(now_ms, (Outage(now_ms, now_ms + NEVER_MS),)), now_ms)
    broker.parts.outages.sound(now_ms)
    asked: list[str] = []
    due = broker.parts.operations.applied

    async def counted(items: Sequence[tuple[str, Command]]) -> list[Result]:
        asked.extend(job_id for job_id, _ in items)
        return await due(items)

    monkeypatch.setattr(broker.parts.operations, "applied", counted)
    wire = await brokers.connect(broker)
    await create(wire, "long", timeouts=Timeouts(run_ms=1))
    [claim] = await wire.ask(ClaimJobs, jobs=("long",))
    for percent in range(50):
        report = ProgressReport(job="long", token=claim.token, percent=percent)
        await wire.ask(ReportProgress, reports=(report,))
    # One look is made for another job.
    await create(wire, "soon", delay_ms=1)
    await take(wire, 2)
    await wire.claims(1)
    assert asked.count("long") <= 2

"""Which of the waiting jobs a claim gets: priority, order of arrival, and fair turns."""

import pytest

from packhorse_broker.jobs.terms import Terms
from packhorse_broker.store.candidates import FAIR_EVERY
from packhorse_broker.store.keys import PartitionKeys
from tests.support.commands import claim, create
from tests.support.inspection import Raw
from tests.support.opening import Caller, Opener


@pytest.fixture
async def caller(opener: Opener) -> Caller:
    return opener.committer()


async def queue(caller: Caller, priority: int, *names: str) -> None:
    terms = Terms(priority=priority) if priority else None
    await caller.submit(*(create(name, terms=terms) for name in names))


async def drawn(caller: Caller, count: int) -> list[str]:
    claims, _ = await caller.draw("mail", [claim() for _ in range(count)])
    return [applied.job.id for applied in claims]


async def test_higher_priority_comes_first_and_first_come_within_one(caller: Caller) -> None:
    await queue(caller, 0, "plain-1", "plain-2")
    await queue(caller, -5, "low-1")
    await queue(caller, 5, "high-1", "high-2")
    assert await drawn(caller, 5) == ["high-1", "high-2", "plain-1", "plain-2", "low-1"]


@pytest.mark.parametrize("at_once", [1, 3, 20])
async def test_no_priority_starves(caller: Caller, at_once: int) -> None:
    """However many urgent jobs there are, each priority gets its share, its oldest first."""
    levels = {"high": 9, "plain": 0, "low": -9}
    for name, priority in levels.items():
        await queue(caller, priority, *(f"{name}-{number:03}" for number in range(400)))
    got: list[str] = []
    while len(got) < 300:
        got += await drawn(caller, at_once)
    for name in levels:
        of_level = [job for job in got if job.startswith(name)]
        assert len(of_level) >= len(got) // (FAIR_EVERY * len(levels)) - at_once
        assert of_level == [f"{name}-{number:03}" for number in range(len(of_level))]
    high = sum(job.startswith("high") for job in got)
    assert high >= len(got) * (FAIR_EVERY - 1) // FAIR_EVERY - 2 * at_once


async def test_low_priority_of_another_broker_below_plain_jobs_is_found(opener: Opener) -> None:
    """Queues of plain jobs are not looked through for other priorities at every draw."""
    caller, other = opener.committer(), opener.committer()
    await queue(caller, 0, *(f"plain-{number}" for number in range(100)))
    await drawn(caller, 1)
    await queue(other, -1, "low")
    got: list[str] = []
    while "low" not in got:
        got += await drawn(caller, 1)
        assert len(got) < 100


async def test_every_job_is_drawn_once(caller: Caller) -> None:
    for priority in range(-3, 4):
        await queue(caller, priority, *(f"{priority}-{number}" for number in range(10)))
    got: list[str] = []
    while more := await drawn(caller, 4):
        got += more
    assert len(got) == len(set(got)) == 70


async def test_record_that_can_not_be_read_keeps_no_other_priority_from_its_turn(
    caller: Caller, raw: Raw, keys: PartitionKeys
) -> None:
    await queue(caller, 9, *(f"high-{number}" for number in range(300)))
    await queue(caller, 1, "broken")
    await queue(caller, 0, "plain")
    await raw("SET", keys.record("broken"), "no record")
    got: list[str] = []
    while "plain" not in got:
        got += await drawn(caller, 1)
        assert len(got) < 200

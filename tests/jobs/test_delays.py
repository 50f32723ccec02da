"""The rules for PENDING: delays of new jobs, and waits between attempts."""

import pytest
from msgspec.structs import replace

from packhorse_broker.jobs.commands import (
    Claim,
    Create,
    Due,
    Fail,
    RunnerGone,
)
from packhorse_broker.jobs.machine import decide
from packhorse_broker.jobs.model import (
    AttemptRecord,
    Course,
    End,
    Now,
    Reason,
    State,
)
from packhorse_broker.jobs.terms import Backoff, Growth, Jitter, Terms
from tests.jobs.examples import HELD, NOW, RULES, TOKEN, after, applied

SLOW = Terms(backoff=Backoff(Growth.LINEAR, delay_ms=1_000))
LATER = Now(ms=150_000, order=1_000)


def _create(delay_ms: int = 0, delay_until: int = 0, terms: Terms | None = None) -> Create:
    return Create(
        "job", "mail", b"", "maker", delay_ms=delay_ms, delay_until=delay_until, terms=terms
    )


# -- delays of new jobs


@pytest.mark.parametrize(
    ("delay_ms", "delay_until", "until"),
    [
        (1, 0, 100_001),
        (500, 100_499, 100_500),
        (500, 100_501, 100_501),
        (0, 100_001, 100_001),
        (500, 7, 100_500),
    ],
)
def test_delayed_job_is_pending_until_the_later_of_both(
    delay_ms: int, delay_until: int, until: int
) -> None:
    job = after(None, _create(delay_ms, delay_until))
    assert (job.state, job.delayed_until, job.queued_at) == (State.PENDING, until, 0)
    assert job.created_at == 100_000
    early = after(job, Due(), now=Now(until - 1, 1_000))
    assert early is job
    queued = after(job, Due(), now=Now(until, 1_000))
    assert (queued.state, queued.queued_at, queued.order) == (State.QUEUED, until, 1_000)
    assert (queued.course, queued.version) == (None, 2)


@pytest.mark.parametrize("delay_until", [1, 99_999, 100_000])
def test_delay_that_is_over_is_none(delay_until: int) -> None:
    job = after(None, _create(delay_until=delay_until))
    assert (job.state, job.course, job.queued_at) == (State.QUEUED, None, 100_000)


def test_plain_job_has_no_terms_and_no_course_all_its_life() -> None:
    job = after(None, Create("job", "mail", b"", "maker", attempts=2, handler="handler"))
    for _ in range(2):
        assert (job.terms, job.course) == (None, None)
        job = after(job, Claim("runner", b"nonce---"))
        assert job.token is not None
        job = after(job, Fail("runner", job.token, b""))
    assert (job.state, job.terms, job.course) == (State.FAILED, None, None)


def test_created_job_keeps_its_terms_and_its_group() -> None:
    terms = Terms(priority=3, labels=("red",))
    job = after(None, Create("job", "mail", b"", "maker", group="shop", terms=terms))
    assert (job.terms, job.course, job.priority) == (terms, Course(groups=("shop",)), 3)


# -- waits between attempts


def test_failed_job_waits_by_its_backoff() -> None:
    held = replace(HELD, current_attempt=2, terms=SLOW)
    decision = applied(decide(held, Fail("runner", TOKEN, b"error"), NOW, RULES))
    assert decision.job == replace(
        held,
        state=State.PENDING,
        version=8,
        end=End.FAILED,
        failed=1,
        course=Course(delayed_until=102_000),
    )
    assert decision.attempt == AttemptRecord(
        attempt=2,
        runner="runner",
        started_at=20_000,
        finished_at=100_000,
        end=End.FAILED,
        error=b"error",
        next_at=102_000,
    )
    queued = after(decision.job, Due(), now=LATER)
    assert (queued.state, queued.order, queued.queued_at) == (State.QUEUED, 1_000, 150_000)
    assert queued.course is None


@pytest.mark.parametrize(("named_ms", "until"), [(0, 0), (1, 100_001), (9_999, 109_999)])
def test_wait_that_the_runner_names_is_instead_of_the_backoff(named_ms: int, until: int) -> None:
    held = replace(HELD, terms=SLOW)
    job = after(held, Fail("runner", TOKEN, b"", retry_in_ms=named_ms))
    assert job.delayed_until == until
    assert job.state is (State.PENDING if until else State.QUEUED)


def test_wait_that_the_runner_names_makes_no_attempt() -> None:
    last = replace(HELD, current_attempt=3)
    assert after(last, Fail("runner", TOKEN, b"", retry_in_ms=5)).state is State.FAILED
    final = Fail("runner", TOKEN, b"", retry=False, retry_in_ms=5)
    assert after(HELD, final).state is State.FAILED


def test_jitter_goes_by_the_chance_of_the_moment() -> None:
    spread = Terms(backoff=Backoff(Growth.FIXED, delay_ms=1_000, jitter=Jitter.FULL))
    held = replace(HELD, terms=spread)
    for chance, until in ((0.25, 100_250), (0.75, 100_750)):
        job = after(held, Fail("runner", TOKEN, b""), now=replace(NOW, chance=chance))
        assert job.delayed_until == until
    at_once = after(held, Fail("runner", TOKEN, b""), now=replace(NOW, chance=0.0))
    assert (at_once.state, at_once.order) == (State.QUEUED, 900)


def test_lost_job_waits_too_and_has_lost_its_place_then() -> None:
    job = after(replace(HELD, terms=SLOW), RunnerGone("runner"))
    assert (job.state, job.delayed_until, job.lost) == (State.PENDING, 101_000, 1)
    assert after(job, Due(), now=LATER).order == 1_000


# -- runners that go away


@pytest.mark.parametrize(
    ("limit", "own_limit", "lost", "pardoned", "state"),
    [
        (0, None, 50, 0, State.QUEUED),
        (3, None, 1, 0, State.QUEUED),
        (3, None, 2, 0, State.FAILED),
        (3, 0, 50, 0, State.QUEUED),
        (3, 1, 0, 0, State.FAILED),
        (0, 2, 1, 0, State.FAILED),
        (3, None, 4, 3, State.QUEUED),
        (3, None, 5, 3, State.FAILED),
    ],
)
def test_job_that_loses_too_many_runners_is_set_aside(
    limit: int, own_limit: int | None, lost: int, pardoned: int, state: State
) -> None:
    rules = replace(RULES, lost_limit=limit)
    held = replace(
        HELD,
        lost=lost,
        terms=Terms(lost_limit=own_limit),
        course=Course(pardoned=pardoned, retried=1),
    )
    decision = applied(decide(held, RunnerGone("runner"), NOW, rules))
    assert (decision.job.state, decision.job.lost) == (state, lost + 1)
    assert decision.job.reason is (Reason.RUNNER_TIMEOUT if state is State.FAILED else None)
    assert decision.attempt == AttemptRecord(1, "runner", 20_000, 100_000, End.LOST)


@pytest.mark.parametrize(("lost", "state"), [(0, State.QUEUED), (1, State.FAILED)])
def test_plain_job_goes_by_the_limit_of_the_broker(lost: int, state: State) -> None:
    job = after(replace(HELD, lost=lost), RunnerGone("runner"), rules=replace(RULES, lost_limit=2))
    assert (job.state, job.course) == (state, None)

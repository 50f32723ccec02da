"""Outages do not count towards timeouts; delays, backoff and retention are moments."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from packhorse_broker.jobs.commands import Claim, Create, Due, Extend
from packhorse_broker.jobs.deadlines import due_at
from packhorse_broker.jobs.model import CancelRequest, Course, Expired, Job, Now, Reason, State
from packhorse_broker.jobs.outages import KnownOutages, Outage, put_off, united
from packhorse_broker.jobs.terms import Terms
from tests.jobs.examples import FAILED, HELD, NEW, TOKEN, after

OUTAGE = Outage(20_000, 50_000)
KNOWN = KnownOutages((OUTAGE,))


def _at(ms: int) -> Now:
    return Now(ms, 1_000)


# -- a span of time


@pytest.mark.parametrize(
    ("begun_ms", "end_ms", "over_ms"),
    [
        (0, 10_000, 10_000),  # before it
        (0, 20_000, 20_000),  # just over when it began
        (0, 20_001, 50_001),
        (0, 40_000, 70_000),
        (0, 60_000, 90_000),  # it was but a part
        (30_000, 40_000, 60_000),  # begun in it
        (50_000, 60_000, 60_000),
        (55_000, 60_000, 60_000),  # begun after it
    ],
)
def test_what_an_outage_took_is_given_back(begun_ms: int, end_ms: int, over_ms: int) -> None:
    assert put_off(end_ms, begun_ms, [OUTAGE]) == over_ms


def test_time_that_is_given_back_may_reach_into_the_next_outage() -> None:
    assert put_off(40_000, 0, [OUTAGE, Outage(69_999, 80_000)]) == 80_001
    assert put_off(40_000, 0, [OUTAGE, Outage(70_000, 80_000)]) == 70_000


SPANS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 20)).map(lambda s: Outage(s[0], s[0] + s[1]))
)


@given(SPANS, st.integers(0, 60), st.integers(0, 60))
def test_it_has_all_its_time_and_not_more(outages: list[Outage], begun: int, length: int) -> None:
    """Told a second time: counted moment by moment."""
    over = put_off(begun + length, begun, united(outages))
    counts = [not any(o.since_ms <= t < o.until_ms for o in outages) for t in range(begun, over)]
    assert sum(counts) == length
    assert not counts or counts[-1]


@given(SPANS)
def test_united_are_the_same_times_apart_from_each_other(outages: list[Outage]) -> None:
    found = united(outages)
    assert list(found) == sorted(found)
    assert all(one.until_ms < other.since_ms for one, other in pairwise(found))
    moments = {t for outage in outages for t in range(outage.since_ms, outage.until_ms)}
    assert {t for outage in found for t in range(outage.since_ms, outage.until_ms)} == moments


def test_what_is_in_doubt_does_not_count() -> None:
    known = KnownOutages((OUTAGE,), sound_ms=60_000, doubt_ms=62_000)
    assert known.at(61_999) == (OUTAGE,)
    assert known.at(62_000) == (OUTAGE, Outage(60_000, 62_000))
    assert replace(known, doubt_ms=60_000).at(60_000) == (OUTAGE,)


# -- timeouts of jobs

RUNNING = replace(
    HELD, started_at=10_000, terms=Terms(run_ms=30_000), course=Course(run_until=40_000)
)
WAITING = replace(NEW, queued_at=10_000, terms=Terms(idle_ms=30_000))
LIVING = replace(NEW, terms=Terms(total_ms=30_000), course=Course(total_until=40_000))
CANCELLING = replace(HELD, course=Course(cancel=CancelRequest("boss", 10_000, 40_000)))


@pytest.mark.parametrize(
    ("job", "reason", "expired"),
    [
        (RUNNING, Reason.JOB_TIMEOUT, Expired.RUN),
        (WAITING, Reason.JOB_TIMEOUT, Expired.IDLE),
        (LIVING, Reason.JOB_TIMEOUT, Expired.TOTAL),
        (CANCELLING, Reason.CANCELLED, Expired.NONE),
    ],
)
def test_a_timeout_is_over_when_it_had_all_its_time(
    job: Job, reason: Reason, expired: Expired
) -> None:
    job = replace(job, attempts=1, current_attempt=1)
    assert due_at(job) == 40_000
    assert due_at(job, [OUTAGE]) == 70_000
    assert after(job, Due(KNOWN), now=_at(69_999)) is job
    ended = after(job, Due(KNOWN), now=_at(70_000))
    assert (ended.state, ended.reason) == (State.FAILED, reason)
    assert ended.course is not None
    assert ended.course.expired is expired


def test_while_it_is_not_known_whether_runners_can_say_anything_nothing_is_over() -> None:
    known = KnownOutages((), sound_ms=39_999, doubt_ms=42_000)
    assert after(RUNNING, Due(known), now=_at(10**9)) is RUNNING
    # What was over before is, and so is all where there is no doubt yet.
    for sure in (replace(known, sound_ms=40_000), replace(known, doubt_ms=10**9 + 1)):
        assert after(RUNNING, Due(sure), now=_at(10**9)) is not RUNNING


def test_delays_and_retention_are_moments() -> None:
    delayed = replace(NEW, state=State.PENDING, course=Course(delayed_until=40_000))
    assert after(delayed, Due(KNOWN), now=_at(40_000)).state is State.QUEUED
    kept = replace(FAILED, expires_at=40_000, terms=Terms(total_ms=30_000))
    assert due_at(kept, [OUTAGE]) == 40_000


def test_what_is_claimed_after_an_outage_has_no_more_than_its_time() -> None:
    job = after(replace(NEW, terms=Terms(run_ms=1_000)), Claim("runner", b"n" * 8), now=_at(50_000))
    assert due_at(job, [OUTAGE]) == 51_000


def test_an_attempt_that_was_extended_has_what_was_left_or_as_long_as_it_may_run() -> None:
    def extended(run_ms: int) -> Job:
        return after(RUNNING, Extend("runner", TOKEN, run_ms), now=_at(15_000))

    assert due_at(extended(10_000), [OUTAGE]) == 55_000
    assert due_at(extended(30_000), [OUTAGE]) == 75_000
    # When it was extended is not known, but its run timeout was 30 s.
    assert due_at(extended(60_000), [OUTAGE]) == 80_000


def test_what_a_total_timeout_began_with_is_told_by_the_record() -> None:
    made = after(None, Create("job", "mail", b"", "maker", terms=Terms(total_ms=700)))
    assert made.course is not None
    total_until = made.course.total_until
    outage = Outage(total_until - 900, total_until - 600)
    assert due_at(made, [outage]) == total_until + 100

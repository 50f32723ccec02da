"""The rules for timeouts: idle, run and total, and how a runner extends its own."""

import pytest
from msgspec.structs import replace

from packhorse_broker.jobs.commands import (
    Claim,
    Command,
    Complete,
    Create,
    Due,
    Extend,
    Fail,
    Release,
    RunnerGone,
    RunNow,
    TakeBack,
)
from packhorse_broker.jobs.deadlines import deadline, due_at, holds_unique_key, passed
from packhorse_broker.jobs.machine import decide
from packhorse_broker.jobs.model import (
    Applied,
    AttemptRecord,
    CancelRequest,
    Course,
    Decision,
    End,
    Expired,
    Job,
    Now,
    Reason,
    State,
)
from packhorse_broker.jobs.terms import Backoff, Growth, Scope, Terms, Unique
from tests.jobs.examples import FAILED, HELD, NEW, NOW, RULES, TOKEN, after, applied, told


def _at(ms: int) -> Now:
    return Now(ms, 1_000)


def _due(job: Job, ms: int) -> Decision:
    """At that moment, and nothing a moment earlier."""
    assert after(job, Due(), now=_at(ms - 1)) is job
    assert due_at(job) == ms
    return decide(job, Due(), _at(ms), RULES)


# -- QUEUED and PENDING


def test_idle_timeout_bounds_a_wait_in_the_queue() -> None:
    job = replace(NEW, terms=Terms(idle_ms=500))
    decision = applied(_due(job, 10_500))
    assert decision == Applied(
        job,
        replace(
            job,
            state=State.FAILED,
            version=8,
            reason=Reason.JOB_TIMEOUT,
            finished_at=10_500,
            course=Course(expired=Expired.IDLE),
        ),
    )


def test_idle_timeout_begins_again_with_each_wait() -> None:
    job = after(replace(NEW, terms=Terms(idle_ms=500)), Claim("runner", b"nonce---"))
    assert due_at(job) == 0
    assert job.token is not None
    job = after(job, Release("runner", job.token))
    assert due_at(job) == 100_500


def test_total_timeout_begins_when_the_job_can_first_run() -> None:
    create = Create("job", "mail", b"", "maker", attempts=2, terms=Terms(total_ms=700))
    assert after(None, create).course == Course(total_until=100_700)
    delayed = after(None, replace(create, delay_ms=50_000))
    assert due_at(delayed) == 0
    assert after(delayed, Due(), now=_at(150_009)).course == Course(total_until=150_709)
    assert after(delayed, RunNow("boss")).course == Course(total_until=100_700)


def test_total_timeout_goes_on_through_attempts_and_the_waits_between_them() -> None:
    terms = Terms(total_ms=1_000, backoff=Backoff(Growth.FIXED, delay_ms=100))
    job = after(None, Create("job", "mail", b"", "maker", attempts=9, terms=terms))
    job = after(job, Claim("runner", b"nonce---"))
    assert job.token is not None
    job = after(job, Fail("runner", job.token, b""), now=_at(100_200))
    assert job.course == Course(delayed_until=100_300, total_until=101_000)
    job = after(job, Due(), now=_at(100_300))
    assert job.course == Course(total_until=101_000)


def test_total_timeout_ends_a_job_in_the_queue() -> None:
    job = replace(NEW, terms=Terms(total_ms=1, idle_ms=80_000), course=Course(total_until=70_000))
    decision = applied(_due(job, 70_000))
    assert decision.attempt is None
    job = decision.job
    assert (job.state, job.reason, job.end) == (State.FAILED, Reason.JOB_TIMEOUT, End.NONE)
    assert job.course == Course(total_until=70_000, expired=Expired.TOTAL)


def test_total_timeout_ends_a_job_between_attempts_though_its_wait_is_over_too() -> None:
    job = replace(
        HELD,
        state=State.PENDING,
        end=End.FAILED,
        course=Course(delayed_until=60_000, total_until=70_000),
    )
    assert after(job, Due(), now=_at(69_999)).state is State.QUEUED
    ended = after(job, Due(), now=_at(70_000))
    assert (ended.state, ended.reason, ended.end) == (
        State.FAILED,
        Reason.JOB_TIMEOUT,
        End.FAILED,
    )
    assert ended.course == Course(total_until=70_000, expired=Expired.TOTAL)


def test_expired_job_that_nobody_waits_for_is_kept_a_while() -> None:
    job = replace(NEW, handlers=(), terms=Terms(idle_ms=500))
    assert after(job, Due()).expires_at == 160_000
    unkept = replace(job, terms=Terms(idle_ms=500, keep_ms=0))
    assert applied(decide(unkept, Due(), NOW, RULES)).removed


# -- STARTED


RUNNING = replace(
    HELD,
    terms=Terms(run_ms=30_000, total_ms=90_000),
    course=Course(run_until=50_000, total_until=95_000),
)


def test_claim_begins_the_run_timeout_and_forgets_the_last_one() -> None:
    job = replace(NEW, terms=Terms(run_ms=300), course=Course(timed_out=1, expired=Expired.RUN))
    assert after(job, Claim("runner", b"nonce---")).course == Course(run_until=100_300, timed_out=1)
    first = replace(job, course=None)
    assert after(first, Claim("runner", b"nonce---")).course == Course(run_until=100_300)
    without = replace(job, terms=None)
    assert after(without, Claim("runner", b"nonce---")).course == Course(timed_out=1)


def test_run_timeout_spends_the_attempt_and_the_claim_is_over() -> None:
    decision = applied(_due(RUNNING, 50_000))
    assert decision.job == replace(
        RUNNING,
        state=State.QUEUED,
        version=8,
        order=1_000,
        end=End.TIMED_OUT,
        queued_at=50_000,
        course=Course(total_until=95_000, timed_out=1, expired=Expired.RUN),
    )
    assert decision.attempt == AttemptRecord(
        1, "runner", 20_000, 50_000, End.TIMED_OUT, Expired.RUN
    )
    assert decision.job.lost == 0
    for late in (Complete("runner", TOKEN, b""), Fail("runner", TOKEN, b"")):
        assert told(decide(decision.job, late, _at(50_001), RULES)) == "stale_claim"


def test_run_timeout_waits_by_the_backoff() -> None:
    terms = replace(RUNNING.terms or Terms(), backoff=Backoff(Growth.FIXED, delay_ms=70))
    decision = applied(_due(replace(RUNNING, terms=terms), 50_000))
    assert (decision.job.state, decision.job.delayed_until) == (State.PENDING, 50_070)
    assert decision.attempt is not None
    assert decision.attempt.next_at == 50_070


def test_run_timeout_of_the_last_attempt_ends_the_job() -> None:
    job = applied(_due(replace(RUNNING, current_attempt=3), 50_000)).job
    assert (job.state, job.reason, job.end) == (
        State.FAILED,
        Reason.JOB_TIMEOUT,
        End.TIMED_OUT,
    )
    assert job.course == Course(total_until=95_000, timed_out=1, expired=Expired.RUN)


def test_total_timeout_ends_a_running_job_though_it_has_attempts_left() -> None:
    job = replace(RUNNING, course=Course(run_until=95_000, total_until=95_000))
    decision = applied(_due(job, 95_000))
    job = decision.job
    assert (job.state, job.reason, job.end) == (
        State.FAILED,
        Reason.JOB_TIMEOUT,
        End.TIMED_OUT,
    )
    assert job.course == Course(total_until=95_000, timed_out=1, expired=Expired.TOTAL)
    assert decision.attempt == AttemptRecord(
        1, "runner", 20_000, 95_000, End.TIMED_OUT, Expired.TOTAL
    )
    assert job.attempt_records


@pytest.mark.parametrize("attempt", [1, 3])
@pytest.mark.parametrize(
    "command",
    [
        Complete("runner", TOKEN, b""),
        Fail("runner", TOKEN, b""),
        Fail("runner", TOKEN, b"", retry_in_ms=5),
        Release("runner", TOKEN),
        TakeBack("runner", TOKEN),
        RunnerGone("runner"),
        Due(),
    ],
)
def test_end_of_the_attempt_ends_its_run_timeout(command: Command, attempt: int) -> None:
    job = after(replace(RUNNING, current_attempt=attempt), command, now=_at(60_000))
    assert job.course is not None
    assert (job.course.run_until, job.course.total_until) == (0, 95_000)
    assert job.state is not State.STARTED


def test_course_goes_with_the_last_that_was_in_it() -> None:
    no_total = replace(HELD, terms=Terms(run_ms=30_000), course=Course(run_until=50_000))
    assert after(no_total, Complete("runner", TOKEN, b"")).course is None
    assert after(no_total, Release("runner", TOKEN)).course is None


def test_time_of_grace_that_is_over_ends_the_run_timeout_too() -> None:
    request = CancelRequest("boss", 1, 55_000)
    job = replace(RUNNING, course=Course(run_until=70_000, cancel=request))
    assert after(job, Due()).course == Course(cancel=request, cut_off=1)


@pytest.mark.parametrize(
    ("run_ms", "until", "which"),
    [
        (1, 60_001, Expired.RUN),
        (34_999, 94_999, Expired.RUN),
        (35_000, 95_000, Expired.TOTAL),
        (99_000, 95_000, Expired.TOTAL),
    ],
)
def test_runner_extends_its_run_up_to_the_total(run_ms: int, until: int, which: Expired) -> None:
    job = after(RUNNING, Extend("runner", TOKEN, run_ms), now=_at(60_000))
    course = Course(run_until=60_000 + run_ms, total_until=95_000)
    assert job == replace(RUNNING, version=8, course=course)
    assert (due_at(job), passed(job, until)) == (until, which)


def test_extension_without_a_total_has_no_end() -> None:
    free = replace(RUNNING, course=Course(run_until=50_000))
    job = after(free, Extend("runner", TOKEN, 10**9))
    assert job.course == Course(run_until=100_000 + 10**9)


def test_nothing_to_extend_is_no_change() -> None:
    for job in (HELD, replace(HELD, course=Course(total_until=200_000))):
        assert after(job, Extend("runner", TOKEN, 500)) is job
    assert after(RUNNING, Extend("runner", TOKEN, 10_000), now=_at(40_000)) is RUNNING


def test_runner_that_speaks_before_its_timeout_was_noticed_still_holds_the_job() -> None:
    assert after(RUNNING, Complete("runner", TOKEN, b""), now=_at(60_000)).state is State.COMPLETE
    extended = after(RUNNING, Extend("runner", TOKEN, 20_000), now=_at(60_000))
    assert after(extended, Due(), now=_at(60_001)) is extended


# -- deadlines


def test_of_several_times_that_are_over_the_weightiest_counts() -> None:
    request = CancelRequest("boss", 1, 9_000)
    all_over = Course(run_until=7_000, total_until=8_000, cancel=request)
    job = replace(HELD, course=all_over)
    assert deadline(job) == (7_000, Expired.RUN)
    both = replace(job, course=replace(all_over, total_until=7_000))
    assert deadline(both) == (7_000, Expired.TOTAL)
    assert passed(job, 6_999) is None
    assert passed(job, 7_000) is Expired.RUN
    assert passed(job, 8_000) is Expired.TOTAL
    assert passed(job, 9_000) is Expired.NONE


def test_due_is_what_the_state_waits_for() -> None:
    terms = Terms(idle_ms=5, run_ms=6, total_ms=7)
    course = Course(total_until=30_000)
    assert deadline(NEW) == (0, Expired.NONE)
    assert deadline(replace(NEW, terms=Terms())) == (0, Expired.NONE)
    assert deadline(replace(NEW, terms=terms)) == (10_005, Expired.IDLE)
    assert deadline(replace(NEW, terms=terms, course=course)) == (10_005, Expired.IDLE)
    pending = replace(NEW, state=State.PENDING, terms=terms, course=course)
    assert deadline(pending) == (30_000, Expired.TOTAL)
    assert deadline(replace(FAILED, terms=terms, course=course)) == (0, Expired.NONE)
    kept = replace(FAILED, expires_at=40_000)
    assert deadline(kept) == (40_000, Expired.NONE)
    assert deadline(replace(kept, terms=terms, course=course)) == (40_000, Expired.NONE)


@pytest.mark.parametrize(
    ("scope", "before_its_start", "after_its_start"),
    [
        (Scope.UNTIL_STARTED, True, False),
        (Scope.UNTIL_FINISHED, True, True),
        (Scope.WINDOW, False, False),
    ],
)
def test_unique_key_is_held_for_its_scope(
    scope: Scope, before_its_start: bool, after_its_start: bool
) -> None:
    terms = Terms(unique=Unique("key", scope, 500))
    returned = replace(HELD, state=State.QUEUED, end=End.RELEASED)
    assert holds_unique_key(replace(NEW, terms=terms)) is before_its_start
    assert holds_unique_key(replace(HELD, terms=terms)) is after_its_start
    assert holds_unique_key(replace(returned, terms=terms)) is after_its_start
    assert not holds_unique_key(replace(FAILED, terms=terms))
    assert not holds_unique_key(replace(NEW, state=State.FAILED, terms=terms))


def test_job_without_a_unique_key_holds_none() -> None:
    assert not holds_unique_key(NEW)
    assert not holds_unique_key(replace(NEW, terms=Terms()))

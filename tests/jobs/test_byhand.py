"""The rules for what people do: cancel, retry, run now, remove."""

import pytest
from msgspec.structs import replace

from packhorse_broker.jobs.commands import (
    Cancel,
    Claim,
    Command,
    Complete,
    Due,
    Fail,
    Release,
    Remove,
    Retry,
    RunnerGone,
    RunNow,
    TakeBack,
)
from packhorse_broker.jobs.machine import decide
from packhorse_broker.jobs.model import (
    ActionRecord,
    Applied,
    AttemptRecord,
    CancelRequest,
    Course,
    End,
    Expired,
    LogEntry,
    LogTail,
    Now,
    Reason,
    State,
)
from packhorse_broker.jobs.terms import Terms
from tests.jobs.examples import (
    CANCELLING,
    FAILED,
    HELD,
    JOBS,
    NEW,
    NOW,
    RULES,
    TOKEN,
    after,
    applied,
    told,
)

DELAYED = after(JOBS["delayed"])


def _traces(done: Applied) -> tuple[ActionRecord | None, tuple[LogEntry, ...]]:
    return done.action, done.entries


# -- cancel


def test_waiting_job_is_cancelled_at_once() -> None:
    decision = applied(decide(DELAYED, Cancel("boss", 5_000, "too late"), NOW, RULES))
    request = CancelRequest("boss", 100_000, 100_000, "too late")
    assert decision == Applied(
        DELAYED,
        replace(
            DELAYED,
            state=State.FAILED,
            version=8,
            reason=Reason.CANCELLED,
            finished_at=100_000,
            course=Course(cancel=request),
            log_end=1,
            log_tail=LogTail(len("cancel: too late")),
        ),
        entries=(LogEntry(0, 100_000, 0, "action", "cancel: too late", by="boss"),),
        action=ActionRecord(100_000, "cancel", "boss", "too late", "job", "mail"),
    )


def test_cancelled_job_keeps_how_its_last_attempt_ended() -> None:
    returned = after(JOBS["returned"], Cancel("boss"))
    assert (returned.state, returned.end) == (State.FAILED, End.RELEASED)
    assert after(returned, Release("runner", TOKEN)) is returned


def test_cancelled_job_that_is_not_kept_leaves_the_record_of_who_did_it() -> None:
    unkept = replace(NEW, handlers=(), terms=Terms(keep_ms=0))
    decision = applied(decide(unkept, Cancel("boss"), NOW, RULES))
    assert decision.removed
    assert _traces(decision) == (ActionRecord(100_000, "cancel", "boss", "", "job", "mail"), ())


@pytest.mark.parametrize(("grace_ms", "until"), [(None, 110_000), (0, 100_000), (5, 100_005)])
def test_running_job_has_a_time_of_grace(grace_ms: int | None, until: int) -> None:
    decision = applied(decide(HELD, Cancel("boss", grace_ms), NOW, RULES))
    assert decision.job == replace(
        HELD,
        version=8,
        course=Course(cancel=CancelRequest("boss", 100_000, until)),
        log_end=1,
        log_tail=LogTail(len("cancel")),
    )
    assert _traces(decision) == (
        ActionRecord(100_000, "cancel", "boss", "", "job", "mail"),
        (LogEntry(0, 100_000, 1, "action", "cancel", by="boss"),),
    )
    assert decision.attempt is None


def test_of_two_requests_the_earlier_end_counts() -> None:
    sooner = applied(decide(CANCELLING, Cancel("other", 4_999), NOW, RULES))
    assert sooner.job.cancel == CancelRequest("other", 100_000, 104_999, "too late")
    assert sooner.action is not None
    for grace_ms in (5_000, 5_001, None):
        repeated = applied(decide(CANCELLING, Cancel("other", grace_ms), NOW, RULES))
        assert repeated == Applied(CANCELLING, CANCELLING)


def test_grace_that_is_over_ends_the_claim() -> None:
    assert after(CANCELLING, Due(), now=Now(104_999, 1)) is CANCELLING
    decision = applied(decide(CANCELLING, Due(), Now(105_000, 1), RULES))
    assert decision == Applied(
        CANCELLING,
        replace(
            CANCELLING,
            state=State.FAILED,
            version=8,
            reason=Reason.CANCELLED,
            end=End.CANCELLED,
            finished_at=105_000,
            course=Course(cancel=CANCELLING.cancel, cut_off=1),
        ),
        attempt=AttemptRecord(1, "runner", 20_000, 105_000, End.CANCELLED),
    )
    assert decision.job.attempt_records
    assert decision.job.ended_attempts == 1
    late = decide(decision.job, Complete("runner", TOKEN, b""), NOW, RULES)
    assert told(late) == "stale_claim"


def test_runner_that_completes_in_time_has_completed() -> None:
    done = after(CANCELLING, Complete("runner", TOKEN, b"result"))
    assert (done.state, done.reason, done.outcome) == (State.COMPLETE, None, b"result")
    assert done.cancel is not None


@pytest.mark.parametrize(
    ("command", "end", "recorded"),
    [
        (Fail("runner", TOKEN, b"error"), End.FAILED, True),
        (Fail("runner", TOKEN, b"error", retry_in_ms=5), End.FAILED, True),
        (Release("runner", TOKEN), End.RELEASED, True),
        (TakeBack("runner", TOKEN), End.TAKEN_BACK, False),
        (RunnerGone("runner"), End.LOST, True),
    ],
)
def test_end_of_the_attempt_is_the_end_of_a_job_to_be_cancelled(
    command: Command, end: End, recorded: bool
) -> None:
    decision = applied(decide(CANCELLING, command, NOW, RULES))
    job = decision.job
    assert (job.state, job.reason, job.end) == (State.FAILED, Reason.CANCELLED, end)
    error = b"error" if isinstance(command, Fail) else None
    assert job.outcome == error
    record = AttemptRecord(1, "runner", 20_000, 100_000, end, error=error)
    assert decision.attempt == (record if recorded else None)
    assert job.cancel == CANCELLING.cancel


@pytest.mark.parametrize("attempt", [1, 3])
def test_run_timeout_of_a_job_to_be_cancelled_cancels_it(attempt: int) -> None:
    request = CancelRequest("boss", 90_000, 200_000)
    running = replace(
        HELD, current_attempt=attempt, course=Course(run_until=100_000, cancel=request)
    )
    job = after(running, Due())
    assert (job.state, job.reason, job.end) == (State.FAILED, Reason.CANCELLED, End.TIMED_OUT)
    assert job.course == Course(timed_out=1, expired=Expired.RUN, cancel=request)


def test_total_timeout_of_a_job_to_be_cancelled_is_a_timeout() -> None:
    request = CancelRequest("boss", 90_000, 200_000)
    job = after(replace(HELD, course=Course(total_until=100_000, cancel=request)), Due())
    assert (job.reason, job.end) == (Reason.JOB_TIMEOUT, End.TIMED_OUT)


def test_cancelling_twice_is_a_repetition() -> None:
    cancelled = after(NEW, Cancel("boss"))
    assert after(cancelled, Cancel("boss")) is cancelled


# -- retry


def test_retried_job_is_as_before_its_next_attempt() -> None:
    failed = replace(
        FAILED,
        current_attempt=3,
        lost=2,
        expires_at=160_000,
        outcome=None,
        outcome_bytes=900,
        terms=Terms(total_ms=400),
        course=Course(total_until=25_000, timed_out=1, expired=Expired.TOTAL, retried=1),
        log_end=4,
    )
    decision = applied(decide(failed, Retry("boss", why="fixed"), NOW, RULES))
    assert decision == Applied(
        failed,
        replace(
            failed,
            state=State.QUEUED,
            version=8,
            order=900,
            attempts=4,
            end=End.NONE,
            queued_at=100_000,
            finished_at=0,
            expires_at=0,
            reason=None,
            outcome_bytes=0,
            course=Course(total_until=100_400, timed_out=1, pardoned=2, retried=2),
            log_end=5,
            log_tail=LogTail(len("retry: fixed")),
        ),
        entries=(LogEntry(4, 100_000, 3, "action", "retry: fixed", by="boss"),),
        action=ActionRecord(100_000, "retry", "boss", "fixed", "job", "mail"),
    )


def test_retry_forgets_the_outcome_and_counts_itself() -> None:
    job = after(FAILED, Retry("boss"))
    assert (FAILED.outcome, job.outcome) == (b"error", None)
    assert (job.course, job.failed) == (Course(retried=1), 1)


@pytest.mark.parametrize(
    ("attempts", "current", "more", "expected"), [(3, 3, 2, 5), (3, 1, 1, 3), (3, 2, 5, 7)]
)
def test_retried_job_has_the_attempts_that_are_asked_for(
    attempts: int, current: int, more: int, expected: int
) -> None:
    failed = replace(FAILED, attempts=attempts, current_attempt=current)
    assert after(failed, Retry("boss", more)).attempts == expected


def test_retry_takes_back_a_cancellation() -> None:
    job = after(NEW, Cancel("boss"), Retry("boss"))
    assert (job.state, job.cancel, job.course) == (State.QUEUED, None, Course(retried=1))
    assert after(job, Claim("runner", b"nonce---")).state is State.STARTED


def test_late_word_of_the_last_claim_is_no_repetition_after_a_retry() -> None:
    job = after(FAILED, Retry("boss"))
    assert told(decide(job, Fail("runner", TOKEN, b"error"), NOW, RULES)) == "stale_claim"


def test_retried_job_has_records_of_attempts() -> None:
    cut_off = after(CANCELLING, Due(), now=Now(105_000, 1))
    assert after(cut_off, Retry("boss")).attempt_records
    assert not NEW.attempt_records
    assert not DELAYED.attempt_records
    assert FAILED.attempt_records


# -- run now, remove


def test_pending_job_runs_now() -> None:
    decision = applied(decide(DELAYED, RunNow("boss", "hurry"), NOW, RULES))
    assert decision == Applied(
        DELAYED,
        replace(
            DELAYED,
            state=State.QUEUED,
            version=8,
            order=900,
            queued_at=100_000,
            course=None,
            log_end=1,
            log_tail=LogTail(len("run_now: hurry")),
        ),
        entries=(LogEntry(0, 100_000, 0, "action", "run_now: hurry", by="boss"),),
        action=ActionRecord(100_000, "run_now", "boss", "hurry", "job", "mail"),
    )


@pytest.mark.parametrize("states", [(), (State.STARTED,), (State.QUEUED, State.STARTED)])
def test_removal_may_name_states(states: tuple[State, ...]) -> None:
    decision = applied(decide(HELD, Remove("boss", "mistake", states), NOW, RULES))
    assert decision.removed
    assert _traces(decision) == (
        ActionRecord(100_000, "remove", "boss", "mistake", "job", "mail"),
        (),
    )
    assert told(decide(NEW, Remove(states=(State.STARTED,)), NOW, RULES)) == "wrong_state"


def test_retries_stay_below_the_number_of_attempts_that_can_be_told() -> None:
    failed = replace(FAILED, current_attempt=999)
    assert after(failed, Retry("boss", 1_000)).attempts == 1_000
    spent = replace(FAILED, current_attempt=1_000)
    assert told(decide(spent, Retry("boss"), NOW, RULES)) == "too_many"

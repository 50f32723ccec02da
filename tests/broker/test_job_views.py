"""A job and its attempts as they are shown: every field, whatever it holds."""

from typing import Any, Final, cast

import pytest
from msgspec.structs import fields, replace

from packhorse_broker.contents import pack_body, pack_error, pack_result
from packhorse_broker.job_views import attempts_of, job_summary, job_view
from packhorse_broker.jobs.model import (
    AttemptRecord,
    CancelRequest,
    Course,
    End,
    Expired,
    Job,
    Progress,
    Reason,
    State,
)
from packhorse_broker.jobs.terms import Backoff, Growth, Jitter, Scope, Terms, Unique
from packhorse_broker.views import claim_view, outcome_view
from packhorse_protocol import messages as wire
from packhorse_protocol.codec import part_size

FULL: Final = Job(
    id="a",
    type="mail",
    state=State.FAILED,
    version=9,
    order=77,
    attempts=5,
    current_attempt=4,
    persistent=True,
    runner="ann",
    token=bytes(16),
    fence=6,
    end=End.CANCELLED,
    handlers=("bob",),
    key="k",
    created_by="cid",
    created_at=10,
    queued_at=20,
    started_at=30,
    finished_at=40,
    expires_at=50,
    failed=1,
    lost=2,
    released=3,
    progress=Progress(60, "more than half"),
    log_first=7,
    log_end=9,
    reason=Reason.CANCELLED,
    body=pack_body(b"payload", {"h": "v"}),
    outcome=pack_error(wire.Error(type="Oops", message="no")),
    terms=Terms(
        priority=2,
        backoff=Backoff(Growth.LIST, 0, 200, (1, 2), 9, Jitter.SHARE, 30),
        idle_ms=100,
        run_ms=200,
        total_ms=300,
        lost_limit=4,
        labels=("red", "big"),
        unique=Unique("u", Scope.WINDOW, 500),
        keep_ms=600,
    ),
    course=Course(
        delayed_until=0,
        total_until=330,
        timed_out=1,
        expired=Expired.RUN,
        cancel=CancelRequest("dan", 35, 45, "too late"),
        groups=("mailers",),
    ),
)

PLAIN: Final = Job(
    id="a", type="mail", state=State.QUEUED, version=1, order=1, body=pack_body(b"", None)
)


def test_all_of_a_job_is_shown() -> None:
    view = job_view(FULL)
    assert view == wire.JobView(
        id="a",
        type="mail",
        state="FAILED",
        version=9,
        payload=b"payload",
        key="k",
        headers={"h": "v"},
        attempts=5,
        current_attempt=4,
        persistent=True,
        runner="ann",
        handlers=("bob",),
        created_by="cid",
        created_at=10,
        queued_at=20,
        started_at=30,
        finished_at=40,
        failed=1,
        lost=2,
        released=3,
        progress=wire.Progress(percent=60, text="more than half"),
        log_end=9,
        reason="CANCELLED",
        error=wire.Error(type="Oops", message="no"),
        priority=2,
        backoff=wire.Backoff(
            type="list", delays_ms=(1, 2), max_ms=9, jitter="share", jitter_percent=30
        ),
        timeouts=wire.Timeouts(idle_ms=100, run_ms=200, total_ms=300),
        lost_limit=4,
        labels=("red", "big"),
        unique=wire.Unique(key="u", scope="window", window_ms=500),
        keep_ms=600,
        timed_out=1,
        expired="run",
        cancel=wire.CancelRequest(by="dan", at=35, until=45, why="too late"),
        groups=("mailers",),
        expires_at=50,
        log_first=7,
    )
    assert part_size(view).bytes


def test_a_plain_job_shows_nothing_beyond() -> None:
    view = job_view(PLAIN)
    shown = {
        field.name
        for field in fields(cast(Any, view))
        if getattr(view, field.name) != field.default
    }
    assert shown == {"id", "type", "state", "version"}


@pytest.mark.parametrize("growth", Growth)
@pytest.mark.parametrize("jitter", Jitter)
@pytest.mark.parametrize("scope", Scope)
def test_every_term_has_its_name_on_the_wire(growth: Growth, jitter: Jitter, scope: Scope) -> None:
    terms = Terms(backoff=Backoff(growth, jitter=jitter), unique=Unique("u", scope), idle_ms=1)
    view = job_view(replace(PLAIN, terms=terms))
    assert part_size(view).bytes
    assert view.backoff is not None
    assert view.backoff.max_ms is None
    assert view.unique is not None
    assert view.unique.window_ms is None
    assert view.timeouts == wire.Timeouts(idle_ms=1)


def test_a_wait_for_the_next_attempt_is_told_apart_from_a_delay() -> None:
    course = Course(delayed_until=88)
    delayed = job_view(replace(PLAIN, state=State.PENDING, course=course))
    assert (delayed.delayed_until, delayed.next_attempt) == (88, 0)
    waiting = job_view(replace(PLAIN, state=State.PENDING, course=course, current_attempt=1))
    assert (waiting.delayed_until, waiting.next_attempt) == (88, 88)


def test_a_deadline_is_the_earliest_of_the_timeouts() -> None:
    terms = Terms(idle_ms=100, total_ms=300)
    waiting = replace(PLAIN, terms=terms, queued_at=1_000, course=Course(total_until=1_300))
    assert job_view(waiting).deadline == 1_100
    running = replace(waiting, state=State.STARTED, runner="ann")
    assert job_view(running).deadline == 1_300
    assert job_view(replace(running, state=State.FAILED, expires_at=9_000)).deadline == 0


def test_a_summary_has_no_contents() -> None:
    assert job_summary(FULL) == wire.JobSummary(
        id="a",
        type="mail",
        state="FAILED",
        key="k",
        unique_key="u",
        labels=("red", "big"),
        priority=2,
        attempts=5,
        current_attempt=4,
        runner="ann",
        reason="CANCELLED",
        progress=wire.Progress(percent=60, text="more than half"),
        created_at=10,
        queued_at=20,
        started_at=30,
        finished_at=40,
    )
    assert job_summary(replace(PLAIN, body=None)) == wire.JobSummary(
        id="a", type="mail", state="QUEUED"
    )


def test_a_claim_says_how_long_it_lasts() -> None:
    running = replace(PLAIN, state=State.STARTED, token=bytes(16), fence=1, current_attempt=1)
    assert claim_view(running, 1_000).remaining_ms is None
    limited = replace(running, course=Course(run_until=1_700, total_until=1_800))
    assert claim_view(limited, 1_000).remaining_ms == 700
    assert claim_view(limited, 9_000).remaining_ms == 0
    cancelled = replace(limited, course=Course(cancel=CancelRequest("bob", 1, 1_500)))
    assert claim_view(cancelled, 1_000).remaining_ms == 500


def test_an_outcome_says_which_timeout_and_for_whom() -> None:
    outcome = outcome_view(FULL, "mailers")
    assert (outcome.expired, outcome.group, outcome.reason) == ("run", "mailers", "CANCELLED")
    complete = replace(PLAIN, state=State.COMPLETE, outcome=pack_result(b"done"))
    outcome = outcome_view(complete)
    assert (outcome.expired, outcome.group, outcome.result) == (None, None, b"done")


@pytest.mark.parametrize("end", [End.FAILED, End.LOST, End.RELEASED, End.TIMED_OUT, End.CANCELLED])
def test_every_end_of_an_attempt_has_its_name(end: End) -> None:
    [attempt] = attempts_of(PLAIN, [AttemptRecord(3, "ann", 10, 20, end, next_at=30)])
    assert part_size(attempt).bytes
    assert attempt.ended == end.name.lower()
    assert (attempt.attempt, attempt.runner) == (3, "ann")
    assert (attempt.started_at, attempt.finished_at, attempt.next_at) == (10, 20, 30)


def test_the_attempt_that_completed_a_job_is_the_last() -> None:
    error = wire.Error(type="Oops", message="no", traceback="line 1")
    records = [
        AttemptRecord(1, "ann", 1, 2, End.FAILED, error=pack_error(error)),
        AttemptRecord(2, "ann", 3, 4, End.TIMED_OUT, Expired.RUN, next_at=9),
    ]
    complete = replace(
        PLAIN,
        state=State.COMPLETE,
        runner="bob",
        current_attempt=3,
        started_at=10,
        finished_at=20,
    )
    failed, timed_out, completed = attempts_of(complete, records)
    assert (failed.ended, failed.error, failed.expired) == ("failed", error, None)
    assert (timed_out.expired, timed_out.error, timed_out.next_at) == ("run", None, 9)
    assert completed == wire.Attempt(
        attempt=3, runner="bob", started_at=10, finished_at=20, ended="completed"
    )
    assert len(attempts_of(replace(complete, state=State.FAILED), records)) == 2

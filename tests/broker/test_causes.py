"""Why a job does not run, from what was read: which causes there are, and what they say."""

from typing import Any, Final

import pytest

from packhorse_broker.causes import Facts, causes_of
from packhorse_broker.contents import pack_error
from packhorse_broker.jobs.model import (
    AttemptRecord,
    CancelRequest,
    Course,
    End,
    Expired,
    Job,
    Reason,
    State,
)
from packhorse_broker.jobs.terms import Terms
from packhorse_broker.store.registry import LastResponse
from packhorse_broker.store.types import TypeSettings
from packhorse_broker.views import state_name
from packhorse_protocol.codec import part_size
from packhorse_protocol.messages import Cause, Error, Why

NOW: Final = 1_700_000_000_000
"""2023-11-14 22:13:20 UTC."""
LAST: Final = AttemptRecord(2, "ann", NOW - 9_000, NOW - 4_000, End.FAILED)
RUNNING: Final = LastResponse(NOW - 5_000, 30_000)


def job(state: State, **fields: Any) -> Job:
    return Job(id="a", type="mail", state=state, version=1, order=1, attempts=3, **fields)


def causes(asked: Job, **facts: Any) -> list[Cause]:
    return list(causes_of(asked, Facts(now_ms=NOW, late_ms=1_000, **facts)))


def only(asked: Job, **facts: Any) -> Cause:
    [cause] = causes(asked, **facts)
    return cause


def codes(asked: Job, **facts: Any) -> list[str]:
    return [cause.code for cause in causes(asked, **facts)]


# -- waiting for a time


def test_a_delayed_job_says_until_when() -> None:
    due = NOW + 3_723_004
    cause = only(job(State.PENDING, course=Course(delayed_until=due)))
    assert cause == Cause(
        code="delayed",
        message="it is delayed: due in 1h2m, at 2023-11-14 23:15:23 UTC",
        until=due,
    )


@pytest.mark.parametrize(
    ("wait_ms", "words"),
    [
        (-5, "0ms"),
        (1_500, "1s500ms"),
        (61_700, "1m1s"),
        (86_400_000 + 61_000, "1d1m"),
    ],
)
def test_a_wait_is_told_as_exactly_as_people_want_it(wait_ms: int, words: str) -> None:
    cause = only(job(State.PENDING, course=Course(delayed_until=NOW + wait_ms)))
    assert f"due in {words}," in cause.message


def test_a_time_without_a_date_is_told_all_the_same() -> None:
    cause = only(job(State.PENDING, course=Course(delayed_until=2**62)))
    assert cause.message.endswith(f"at {2**62} ms")


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (LAST, "failed"),
        (None, "did not end it"),
        (AttemptRecord(2, "ann", 1, 2, End.LOST), "lost its runner 'ann'"),
        (
            AttemptRecord(2, "ann", 1, 2, End.TIMED_OUT, Expired.RUN),
            "was ended by its run timeout",
        ),
        (
            AttemptRecord(2, "ann", 1, 2, End.FAILED, error=pack_error(Error(type="E"))),
            "failed (E)",
        ),
        (
            AttemptRecord(
                2, "ann", 1, 2, End.FAILED, error=pack_error(Error(type="E", message="no"))
            ),
            "failed (E: no)",
        ),
        (
            AttemptRecord(2, "ann", 1, 2, End.FAILED, error=pack_error(Error(message="no"))),
            "failed (no)",
        ),
        (AttemptRecord(2, "ann", 1, 2, End.FAILED, error=pack_error(Error())), "failed"),
    ],
)
def test_a_job_that_is_tried_again_says_why(attempt: AttemptRecord | None, words: str) -> None:
    waiting = job(State.PENDING, current_attempt=2, course=Course(delayed_until=NOW + 20_000))
    cause = only(waiting, last_attempt=attempt)
    assert cause.code == "retry_wait"
    assert cause.until == NOW + 20_000
    assert cause.since == (attempt.finished_at if attempt is not None else 0)
    assert cause.message == (
        f"it is tried again in 20s, at 2023-11-14 22:13:40 UTC: attempt 2 of 3 {words}"
    )


# -- waiting in the queue


def test_nothing_is_in_the_way() -> None:
    assert codes(job(State.QUEUED), taken=(1, 1)) == ["next"]


def test_everything_is_in_the_way() -> None:
    paused = TypeSettings(
        paused=True, paused_until=NOW + 1, paused_at=NOW - 7, paused_by="bob", paused_why="broken"
    )
    found = causes(job(State.QUEUED), settings=paused, ahead=12)
    assert found == [
        Cause(
            code="paused",
            message="the type 'mail' is paused until 2023-11-14 22:13:20 UTC, by 'bob': broken",
            until=NOW + 1,
            since=NOW - 7,
            client="bob",
        ),
        Cause(code="no_runner", message="no connected runner takes the type 'mail'"),
        Cause(code="behind", message="12 jobs are before it in the queue of 'mail'", jobs=12),
    ]


def test_a_pause_without_words() -> None:
    cause, *_ = causes(job(State.QUEUED), settings=TypeSettings(paused=True), taken=(1, 1))
    assert cause == Cause(code="paused", message="the type 'mail' is paused")


def test_a_pause_that_is_over_is_none() -> None:
    over = TypeSettings(paused=True, paused_until=NOW)
    assert codes(job(State.QUEUED), settings=over, taken=(1, 1)) == ["next"]


@pytest.mark.parametrize(
    ("runners", "message"),
    [
        (1, "the 1 runner that takes the type 'mail' has no free place"),
        (2, "the 2 runners that take the type 'mail' have no free place"),
    ],
)
def test_runners_without_room(runners: int, message: str) -> None:
    cause = only(job(State.QUEUED), taken=(runners, 0))
    assert (cause.code, cause.message) == ("no_room", message)


def test_one_before_it() -> None:
    cause = only(job(State.QUEUED), taken=(1, 1), ahead=1)
    assert cause.message == "1 job is before it in the queue of 'mail'"
    assert cause.jobs == 1


# -- running


def test_a_running_job_says_since_when_and_how_long_yet() -> None:
    started = job(State.STARTED, runner="ann", current_attempt=1, started_at=NOW - 12_000)
    assert only(started, runner=RUNNING) == Cause(
        code="running",
        message="'ann' runs attempt 1 of 3 for 12s",
        since=NOW - 12_000,
        client="ann",
    )
    limited = job(
        State.STARTED,
        runner="ann",
        current_attempt=1,
        started_at=NOW - 12_000,
        terms=Terms(run_ms=20_000),
        course=Course(run_until=NOW + 8_000),
    )
    cause = only(limited, runner=RUNNING)
    assert cause.message == "'ann' runs attempt 1 of 3 for 12s; its run timeout is over in 8s"
    assert cause.until == NOW + 8_000


def test_a_runner_that_was_not_heard_of() -> None:
    started = job(State.STARTED, runner="ann", current_attempt=1, started_at=NOW - 60_000)
    heard = LastResponse(NOW - 21_001, 30_000)
    silent, running = causes(started, runner=heard)
    assert running.code == "running"
    assert silent == Cause(
        code="runner_silent",
        message="its runner 'ann' was last heard of 21s ago: in 8s999ms it is given up",
        since=NOW - 21_001,
        until=NOW + 8_999,
        client="ann",
    )
    # Two thirds of its timeout, and the second that the store may know of it late.
    assert codes(started, runner=LastResponse(NOW - 21_000, 30_000)) == ["running"]


def test_a_runner_that_is_gone() -> None:
    started = job(State.STARTED, runner="ann", current_attempt=1)
    gone, running = causes(started)
    assert running.code == "running"
    assert (gone.code, gone.client) == ("runner_silent", "ann")


@pytest.mark.parametrize(("why", "words"), [("", ""), ("wrong list", " (wrong list)")])
def test_a_job_that_is_being_cancelled(why: str, words: str) -> None:
    cancel = CancelRequest("bob", NOW - 3_000, NOW + 7_000, why)
    started = job(State.STARTED, runner="ann", current_attempt=1, course=Course(cancel=cancel))
    cancelling, running = causes(started, runner=RUNNING)
    assert cancelling == Cause(
        code="cancelling",
        message=f"'bob' asked 3s ago to cancel it{words}: in 7s it is taken from its runner",
        since=NOW - 3_000,
        until=NOW + 7_000,
        client="bob",
    )
    assert running.until == NOW + 7_000
    assert "timeout" not in running.message


# -- finished

CANCEL: Final = CancelRequest("bob", NOW, NOW)


@pytest.mark.parametrize(
    ("state", "fields", "message"),
    [
        (State.COMPLETE, {}, "it is complete"),
        (State.FAILED, {"reason": Reason.FAILED}, "it failed in attempt 2 of 3"),
        (
            State.FAILED,
            {"reason": Reason.RUNNER_TIMEOUT},
            "it failed: attempt 2 of 3 lost its runner 'ann'",
        ),
        (
            State.FAILED,
            {"reason": Reason.JOB_TIMEOUT, "course": Course(expired=Expired.IDLE)},
            "it was ended by its idle timeout",
        ),
        (State.FAILED, {"reason": Reason.JOB_TIMEOUT}, "it was ended by its timeout"),
        (
            State.FAILED,
            {"reason": Reason.CANCELLED, "course": Course(cancel=CANCEL)},
            "it was cancelled by 'bob'",
        ),
        (
            State.FAILED,
            {
                "reason": Reason.CANCELLED,
                "course": Course(cancel=CancelRequest("bob", NOW, NOW, "too late")),
            },
            "it was cancelled by 'bob' (too late)",
        ),
        (State.FAILED, {"reason": Reason.CANCELLED}, "it was cancelled"),
    ],
)
def test_a_finished_job_says_how_it_ended(
    state: State, fields: dict[str, Any], message: str
) -> None:
    ended = job(state, runner="ann", current_attempt=2, finished_at=NOW, **fields)
    assert only(ended) == Cause(
        code="finished", message=f"{message}, at 2023-11-14 22:13:20 UTC", since=NOW
    )


# -- whatever the texts are


def test_the_longest_texts_fit_on_the_wire() -> None:
    text, name = "\U0001f40e" * 1_024, "\U0001f40e" * 128
    error = pack_error(Error(type=text, message=text))
    cancel = CancelRequest(name, NOW, NOW, text)
    paused = TypeSettings(paused=True, paused_by=name, paused_why=text)
    asked: list[tuple[Job, dict[str, Any]]] = [
        (
            job(State.PENDING, current_attempt=1),
            {"last_attempt": AttemptRecord(1, name, 1, 2, End.FAILED, error=error)},
        ),
        (job(State.QUEUED), {"settings": paused, "ahead": 2**40}),
        (job(State.STARTED, runner=name, course=Course(cancel=cancel)), {}),
        (
            job(State.FAILED, reason=Reason.CANCELLED, course=Course(cancel=cancel)),
            {},
        ),
    ]
    for one, facts in asked:
        found = causes_of(one, Facts(now_ms=NOW, late_ms=0, **facts))
        assert part_size(Why(state=state_name(one.state), causes=found)).bytes
        assert max(len(cause.message) for cause in found) == 1_024
        assert any(cause.message.endswith("...") for cause in found)

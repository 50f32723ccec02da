import asyncio

import pytest

from packhorse import JobCancelled, JobFailed, JobTimedOut, PayloadError, RunnerLost
from packhorse.outcome import from_message, from_view
from packhorse_protocol.messages import Done, Error, JobView, Reason, Timeout
from packhorse_protocol.messages import Outcome as OutcomeMessage


def never() -> "asyncio.Future[Done]":
    raise AssertionError("nobody asked for it")


def test_a_complete_job_has_a_result() -> None:
    message = OutcomeMessage(
        job="a", type="t", state="COMPLETE", version=1, result=b"\x93\x01\x02\x03"
    )
    outcome = from_message(message, never)
    assert outcome.ok
    assert outcome.result() == [1, 2, 3]
    assert outcome.data == b"\x93\x01\x02\x03"


def test_a_complete_job_may_have_none() -> None:
    message = OutcomeMessage(job="a", type="t", state="COMPLETE", version=1)
    assert from_message(message, never).result() is None


def test_a_result_of_another_kind_can_be_read_raw() -> None:
    message = OutcomeMessage(job="a", type="t", state="COMPLETE", version=1, result=b"\xc1")
    outcome = from_message(message, never)
    with pytest.raises(PayloadError, match=r"^result: "):
        outcome.result()
    assert outcome.data == b"\xc1"


def test_a_failed_job_raises() -> None:
    error = Error(type="ValueError", message="no such file")
    message = OutcomeMessage(
        job="a", type="thumb", state="FAILED", version=1, reason="FAILED", error=error
    )
    outcome = from_message(message, never)
    assert not outcome.ok
    with pytest.raises(
        JobFailed, match="job a \\(thumb\\) FAILED: ValueError: no such file"
    ) as raised:
        outcome.result()
    assert raised.value.outcome is outcome


@pytest.mark.parametrize(
    ("reason", "expired", "kind", "said"),
    [
        ("CANCELLED", None, JobCancelled, "CANCELLED: it was cancelled"),
        ("JOB_TIMEOUT", "run", JobTimedOut, "JOB_TIMEOUT: its run timeout passed"),
        ("JOB_TIMEOUT", None, JobTimedOut, "JOB_TIMEOUT: a timeout passed"),
        ("RUNNER_TIMEOUT", None, RunnerLost, "RUNNER_TIMEOUT: its runner went away"),
        ("FAILED", None, JobFailed, "FAILED: no word from the runner"),
    ],
)
def test_what_failed_a_job_is_a_class(
    reason: Reason, expired: Timeout | None, kind: type[JobFailed], said: str
) -> None:
    message = OutcomeMessage(
        job="a", type="t", state="FAILED", version=1, reason=reason, expired=expired
    )
    with pytest.raises(JobFailed, match=said) as raised:
        from_message(message, never).result()
    assert type(raised.value) is kind
    assert raised.value.reason == reason
    if isinstance(raised.value, JobTimedOut):
        assert raised.value.expired == expired


def test_a_cancelled_job_may_have_a_last_word() -> None:
    error = Error(type="Cancelled", message="half done")
    message = OutcomeMessage(
        job="a", type="t", state="FAILED", version=1, reason="CANCELLED", error=error
    )
    with pytest.raises(JobCancelled, match="CANCELLED: Cancelled: half done"):
        from_message(message, never).result()


def test_the_same_from_a_job_that_was_read() -> None:
    view = JobView(
        id="a",
        type="t",
        state="FAILED",
        version=7,
        key="k",
        current_attempt=2,
        reason="RUNNER_TIMEOUT",
        created_at=1,
        started_at=2,
        finished_at=3,
    )
    outcome = from_view(view, never)
    assert outcome is not None
    assert (outcome.job, outcome.key, outcome.attempt) == ("a", "k", 2)
    assert (outcome.created_at, outcome.started_at, outcome.finished_at) == (1, 2, 3)
    assert outcome.reason == "RUNNER_TIMEOUT"


def test_a_job_that_goes_on_has_no_outcome() -> None:
    view = JobView(id="a", type="t", state="STARTED", version=7)
    assert from_view(view, never) is None

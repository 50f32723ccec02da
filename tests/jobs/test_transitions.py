"""The rules of the state machine for plain jobs: creation, claims, and how an attempt ends."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from packhorse_broker.jobs.commands import (
    Claim,
    Command,
    Complete,
    Create,
    Fail,
    Handle,
    Release,
    ReportProgress,
    RunnerGone,
    TakeBack,
    WriteLog,
)
from packhorse_broker.jobs.handlers import MAX_HANDLERS
from packhorse_broker.jobs.machine import decide
from packhorse_broker.jobs.model import (
    Applied,
    AttemptRecord,
    Course,
    End,
    Job,
    Progress,
    Reason,
    Refusal,
    RefusalCode,
    State,
)
from tests.jobs.examples import HELD, NEW, NOW, RULES, TOKEN, after, applied, told

# -- creation


def test_created_job_has_all_that_was_asked_and_nothing_else() -> None:
    create = Create(
        id="job",
        type="mail",
        body=b"body",
        created_by="maker",
        key="tenant",
        attempts=4,
        persistent=True,
        handler="handler",
        fingerprint=b"content",
    )
    assert decide(None, create, NOW, RULES) == Applied(
        None,
        Job(
            id="job",
            type="mail",
            state=State.QUEUED,
            version=1,
            order=900,
            attempts=4,
            persistent=True,
            handlers=("handler",),
            key="tenant",
            created_by="maker",
            created_at=100_000,
            queued_at=100_000,
            fingerprint=b"content",
            body=b"body",
        ),
    )


def test_creation_defaults_to_one_attempt_and_no_handler() -> None:
    job = after(None, Create("job", "mail", b"", "maker"))
    assert (job.attempts, job.persistent, job.handlers, job.key) == (1, False, (), None)


def test_creating_again_adds_its_handler() -> None:
    again = Create("job", "mail", b"body", "maker", handler="second", fingerprint=b"content")
    job = after(HELD, again)
    assert job.handlers == ("handler", "second")
    assert job == replace(HELD, handlers=("handler", "second"), version=8)


def test_creating_again_with_the_handler_that_is_there_changes_nothing() -> None:
    again = Create("job", "mail", b"body", "maker", handler="handler", fingerprint=b"content")
    assert told(decide(HELD, again, NOW, RULES)) == "same"


def test_a_job_whose_id_the_broker_chose_can_not_be_created_again() -> None:
    unnamed = replace(NEW, fingerprint=None)
    assert told(decide(unnamed, Create("job", "mail", b"body", "maker"), NOW, RULES)) == "conflict"
    assert (
        told(
            decide(
                unnamed, Create("job", "mail", b"body", "maker", fingerprint=b"content"), NOW, RULES
            )
        )
        == "conflict"
    )


# -- claims


def test_claim_gives_the_job_to_one_runner() -> None:
    assert after(NEW, Claim("runner", b"8 bytes!")) == replace(
        NEW,
        state=State.STARTED,
        version=8,
        current_attempt=1,
        runner="runner",
        token=(1).to_bytes(8, "big") + b"8 bytes!",
        fence=1,
        started_at=100_000,
    )


def test_claim_forgets_what_the_last_attempt_left() -> None:
    job = after(
        HELD,
        ReportProgress("runner", TOKEN, Progress(70, "most")),
        Fail("runner", TOKEN, b"error"),
        Claim("other", b"nonce--3"),
    )
    assert job.progress is None
    assert job.end is End.NONE
    assert (job.current_attempt, job.failed) == (2, 1)
    assert job.log_end == 1


def test_fence_grows_with_each_claim_and_starts_the_token() -> None:
    job, tokens = NEW, list[bytes]()
    for number in range(1, 5):
        job = after(job, Claim("runner", b"the same"))
        assert job.token is not None
        assert job.fence == number
        assert int.from_bytes(job.token[:8], "big") == number
        assert job.token[8:] == b"the same"
        tokens.append(job.token)
        job = after(job, Release("runner", job.token))
    assert len(set(tokens)) == len(tokens)


def test_claims_that_were_given_back_are_not_bounded_by_attempts() -> None:
    job = replace(NEW, attempts=1)
    for number in range(1, 5):
        job = after(job, Claim("runner", b"nonce---"))
        assert job.current_attempt == 1
        assert job.token is not None
        job = after(job, Release("runner", job.token))
        assert job.released == number


@pytest.mark.parametrize(
    "make",
    [
        lambda client, token: Release(client, token),
        lambda client, token: ReportProgress(client, token, Progress(1, "")),
        lambda client, token: WriteLog(client, token, ("line",)),
        lambda client, token: Complete(client, token, b"result"),
        lambda client, token: Fail(client, token, b"error"),
    ],
    ids=["release", "progress", "log", "complete", "fail"],
)
@pytest.mark.parametrize(
    ("client", "token"),
    [
        ("runner", b""),
        ("runner", TOKEN[:8]),
        ("runner", TOKEN + b"\0"),
        ("runner", TOKEN[:8] + b"nonce--3"),
        ("", TOKEN),
        ("Runner", TOKEN),
    ],
)
def test_only_the_holder_with_its_token_may_speak(
    make: Callable[[str, bytes], Command], client: str, token: bytes
) -> None:
    assert told(decide(HELD, make(client, token), NOW, RULES)) == "stale_claim"


def test_a_runner_declared_dead_can_not_overwrite_its_successor() -> None:
    taken = after(HELD, RunnerGone("runner"), Claim("successor", b"nonce--3"))
    for command in (
        Complete("runner", TOKEN, b"result"),
        Fail("runner", TOKEN, b"error"),
        Release("runner", TOKEN),
        WriteLog("runner", TOKEN, ("late",)),
        ReportProgress("runner", TOKEN, Progress(99, "late")),
    ):
        assert told(decide(taken, command, NOW, RULES)) == "stale_claim"


def test_the_same_client_with_the_token_of_its_former_claim_is_refused() -> None:
    again = after(HELD, Release("runner", TOKEN), Claim("runner", b"nonce--3"))
    assert told(decide(again, Complete("runner", TOKEN, b"result"), NOW, RULES)) == "stale_claim"
    assert told(decide(again, Release("runner", TOKEN), NOW, RULES)) == "stale_claim"


# -- how an attempt ends


def test_completion_keeps_result_and_runner() -> None:
    assert after(HELD, Complete("runner", TOKEN, b"result")) == replace(
        HELD,
        state=State.COMPLETE,
        version=8,
        end=End.COMPLETED,
        outcome=b"result",
        finished_at=100_000,
    )


def test_completion_is_repeated_like_the_first_time_whatever_the_result() -> None:
    done = after(HELD, Complete("runner", TOKEN, b"result"))
    again = applied(decide(done, Complete("runner", TOKEN, b"another"), NOW, RULES))
    assert again.job is done
    assert again.job.outcome == b"result"


def test_failed_attempt_goes_to_the_end_of_the_queue_and_keeps_no_outcome() -> None:
    assert after(HELD, Fail("runner", TOKEN, b"error")) == replace(
        HELD,
        state=State.QUEUED,
        version=8,
        end=End.FAILED,
        failed=1,
        queued_at=100_000,
        order=900,
    )


@pytest.mark.parametrize(
    ("job", "command"),
    [
        (replace(HELD, current_attempt=3), Fail("runner", TOKEN, b"error")),
        (HELD, Fail("runner", TOKEN, b"error", retry=False)),
    ],
    ids=["last attempt", "for good"],
)
def test_failure_is_final(job: Job, command: Fail) -> None:
    assert after(job, command) == replace(
        job,
        state=State.FAILED,
        version=8,
        reason=Reason.FAILED,
        end=End.FAILED,
        failed=1,
        outcome=b"error",
        finished_at=100_000,
    )


def test_a_job_is_tried_as_often_as_its_attempts_say() -> None:
    job = NEW
    for attempt in (1, 2, 3):
        job = after(job, Claim("runner", b"nonce---"))
        assert job.current_attempt == attempt
        assert job.token is not None
        job = after(job, Fail("runner", job.token, b"error"))
    assert (job.state, job.failed) == (State.FAILED, 3)


def test_taking_back_is_told_apart_from_a_release() -> None:
    """Only the runner itself may repeat its release."""
    taken = after(HELD, TakeBack("runner", TOKEN))
    released = after(HELD, Release("runner", TOKEN))
    assert taken == replace(released, end=End.TAKEN_BACK, course=Course(taken_back=1))
    refusal = decide(taken, Release("runner", TOKEN), NOW, RULES)
    assert isinstance(refusal, Refusal)
    assert refusal.code is RefusalCode.STALE_CLAIM


def test_handlers_of_one_job_have_a_bound() -> None:
    job = after(None, Create("job", "mail", b"body", "maker"))
    for number in range(MAX_HANDLERS):
        job = after(job, Handle(f"client-{number}"))
    refusal = decide(job, Handle("one-more"), NOW, RULES)
    assert isinstance(refusal, Refusal)
    assert refusal.code is RefusalCode.TOO_MANY
    assert after(job, Handle("client-0")) is job


def test_release_keeps_place_and_attempt() -> None:
    decision = applied(decide(HELD, Release("runner", TOKEN), NOW, RULES))
    assert decision.job == replace(
        HELD,
        state=State.QUEUED,
        version=8,
        end=End.RELEASED,
        released=1,
        current_attempt=0,
        queued_at=100_000,
    )
    assert decision.attempt == AttemptRecord(1, "runner", 20_000, 100_000, End.RELEASED)


def test_ends_of_which_there_is_nothing_to_tell_leave_no_record() -> None:
    for command in (TakeBack("runner", TOKEN), Complete("runner", TOKEN, b"result")):
        decision = applied(decide(HELD, command, NOW, RULES))
        assert decision.attempt is None
        assert decision.job.ended_attempts == 0


def test_lost_runner_costs_an_attempt_but_not_the_place() -> None:
    assert after(HELD, RunnerGone("runner")) == replace(
        HELD, state=State.QUEUED, version=8, end=End.LOST, lost=1, queued_at=100_000
    )


def test_runner_lost_at_the_last_attempt_fails_the_job() -> None:
    last = replace(HELD, current_attempt=3)
    assert after(last, RunnerGone("runner")) == replace(
        last,
        state=State.FAILED,
        version=8,
        reason=Reason.RUNNER_TIMEOUT,
        end=End.LOST,
        lost=1,
        finished_at=100_000,
    )

"""The state machine: first as a table of every state and every command, then rule by rule."""

import copy
from collections.abc import Callable
from itertools import product
from typing import Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from packhorse_broker.jobs.commands import (
    Claim,
    Command,
    Complete,
    Create,
    Expire,
    Fail,
    Handle,
    Handled,
    HandlerGone,
    Release,
    Remove,
    ReportProgress,
    RunnerGone,
    TakeBack,
    WriteLog,
)
from packhorse_broker.jobs.machine import MAX_HANDLERS, decide
from packhorse_broker.jobs.model import (
    Applied,
    Decision,
    End,
    Job,
    LogEntry,
    Now,
    Progress,
    Reason,
    Refusal,
    RefusalCode,
    Rules,
    State,
)

RULES: Final = Rules(failed_retention_ms=60_000, max_log_entries=5)
NOW: Final = Now(ms=100_000, order=900)
OLD: Final = (1).to_bytes(8, "big") + b"nonce--1"
TOKEN: Final = (2).to_bytes(8, "big") + b"nonce--2"

NEW: Final = Job(
    id="job",
    type="mail",
    state=State.QUEUED,
    version=7,
    order=500,
    attempts=3,
    handlers=("handler",),
    key="tenant",
    created_by="maker",
    created_at=10_000,
    queued_at=10_000,
    fingerprint=b"content",
    body=b"body",
)
HELD: Final = replace(
    NEW,
    state=State.STARTED,
    current_attempt=1,
    runner="runner",
    token=TOKEN,
    fence=2,
    started_at=20_000,
)
FAILED: Final = replace(
    HELD,
    state=State.FAILED,
    reason=Reason.FAILED,
    end=End.FAILED,
    failed=1,
    finished_at=30_000,
    outcome=b"error",
)

JOBS: Final[dict[str, Job | None]] = {
    "none": None,
    "new": NEW,
    "returned": replace(HELD, state=State.QUEUED, end=End.RELEASED, released=1, current_attempt=0),
    "retried": replace(HELD, state=State.QUEUED, end=End.FAILED, failed=1),
    "lost": replace(HELD, state=State.QUEUED, end=End.LOST, lost=1),
    "held": HELD,
    "done": replace(
        HELD, state=State.COMPLETE, end=End.COMPLETED, finished_at=30_000, outcome=b"result"
    ),
    "failed": FAILED,
    "dead": replace(
        HELD,
        state=State.FAILED,
        reason=Reason.RUNNER_TIMEOUT,
        end=End.LOST,
        lost=1,
        finished_at=30_000,
    ),
    "kept": replace(FAILED, handlers=(), expires_at=100_000),
}
"""Records as they are after: nothing, creation, a release, a failed attempt with another to come,
a lost one, a claim, completion, failure, a runner's death at the last attempt, and a failure that
nobody waits for, which is kept until 100,000."""

COMMANDS: Final[dict[str, Command]] = {
    "create same": Create("job", "mail", b"body", "maker", fingerprint=b"content"),
    "create other": Create("job", "mail", b"body", "maker", fingerprint=b"other"),
    "create unnamed": Create("job", "mail", b"body", "maker"),
    "claim": Claim("other", b"nonce--3"),
    "release": Release("runner", TOKEN),
    "release old": Release("runner", OLD),
    "release other": Release("other", TOKEN),
    "take back": TakeBack("runner", TOKEN),
    "take back old": TakeBack("runner", OLD),
    "progress": ReportProgress("runner", TOKEN, Progress(50, "half")),
    "progress old": ReportProgress("runner", OLD, Progress(50, "half")),
    "progress other": ReportProgress("other", TOKEN, Progress(50, "half")),
    "log": WriteLog("runner", TOKEN, ("line",)),
    "log old": WriteLog("runner", OLD, ("line",)),
    "log other": WriteLog("other", TOKEN, ("line",)),
    "complete": Complete("runner", TOKEN, b"result"),
    "complete old": Complete("runner", OLD, b"result"),
    "complete other": Complete("other", TOKEN, b"result"),
    "fail": Fail("runner", TOKEN, b"error"),
    "fail old": Fail("runner", OLD, b"error"),
    "fail other": Fail("other", TOKEN, b"error"),
    "fail for good": Fail("runner", TOKEN, b"error", retry=False),
    "runner gone": RunnerGone("runner"),
    "other gone": RunnerGone("other"),
    "handle": Handle("second"),
    "handle again": Handle("handler"),
    "handled": Handled("handler"),
    "handled other": Handled("second"),
    "handler gone": HandlerGone("handler"),
    "nobody gone": HandlerGone("second"),
    "remove": Remove(),
    "expire": Expire(),
}

OUTCOMES: Final = """
                none       new          returned     retried      lost         held         done         failed       dead         kept
create same     QUEUED     same         same         same         same         same         same         same         same         same
create other    QUEUED     conflict     conflict     conflict     conflict     conflict     conflict     conflict     conflict     conflict
create unnamed  QUEUED     conflict     conflict     conflict     conflict     conflict     conflict     conflict     conflict     conflict
claim           not_found  STARTED      STARTED      STARTED      STARTED      wrong_state  wrong_state  wrong_state  wrong_state  wrong_state
release         not_found  stale_claim  same         stale_claim  stale_claim  QUEUED       stale_claim  stale_claim  stale_claim  stale_claim
release old     not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
take back       not_found  stale_claim  stale_claim  stale_claim  stale_claim  QUEUED       stale_claim  stale_claim  stale_claim  stale_claim
take back old   not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
release other   not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
progress        not_found  stale_claim  stale_claim  stale_claim  stale_claim  STARTED      stale_claim  stale_claim  stale_claim  stale_claim
progress old    not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
progress other  not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
log             not_found  stale_claim  stale_claim  stale_claim  stale_claim  STARTED      stale_claim  stale_claim  stale_claim  stale_claim
log old         not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
log other       not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
complete        not_found  stale_claim  stale_claim  stale_claim  stale_claim  COMPLETE     same         stale_claim  stale_claim  stale_claim
complete old    not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
complete other  not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
fail            not_found  stale_claim  stale_claim  same         stale_claim  QUEUED       stale_claim  same         stale_claim  same
fail old        not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
fail other      not_found  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim  stale_claim
fail for good   not_found  stale_claim  stale_claim  same         stale_claim  FAILED       stale_claim  same         stale_claim  same
runner gone     not_found  wrong_state  wrong_state  wrong_state  wrong_state  QUEUED       wrong_state  wrong_state  wrong_state  wrong_state
other gone      not_found  wrong_state  wrong_state  wrong_state  wrong_state  same         wrong_state  wrong_state  wrong_state  wrong_state
handle          not_found  QUEUED       QUEUED       QUEUED       QUEUED       STARTED      COMPLETE     FAILED       FAILED       FAILED
handle again    not_found  same         same         same         same         same         same         same         same         FAILED
handled         not_found  wrong_state  wrong_state  wrong_state  wrong_state  wrong_state  gone         gone         gone         not_handler
handled other   not_found  wrong_state  wrong_state  wrong_state  wrong_state  wrong_state  not_handler  not_handler  not_handler  not_handler
handler gone    not_found  QUEUED       QUEUED       QUEUED       QUEUED       STARTED      gone         FAILED       FAILED       same
nobody gone     not_found  same         same         same         same         same         same         same         same         same
remove          not_found  gone         gone         gone         gone         gone         gone         gone         gone         gone
expire          not_found  wrong_state  wrong_state  wrong_state  wrong_state  wrong_state  wrong_state  same         same         gone
"""  # noqa: E501 - a table reads as a table
"""What each command makes of each job: a state it is in afterwards, one version on; `same`, a
repetition that changes nothing; `gone`; or the code of a refusal."""


def _cells() -> list[tuple[str, str, str]]:
    header, *rows = OUTCOMES.strip("\n").splitlines()
    columns = header.split()
    cells: list[tuple[str, str, str]] = []
    for row in rows:
        command, outcomes = row[:16].strip(), row[16:].split()
        cells += [(command, job, cell) for job, cell in zip(columns, outcomes, strict=True)]
    return cells


def told(decision: Decision) -> str:
    """A decision in the table's words."""
    if isinstance(decision, Refusal):
        return decision.code.value
    if decision.removed:
        return "gone"
    return decision.job.state.name if decision.changed else "same"


def applied(decision: Decision) -> Applied:
    assert isinstance(decision, Applied)
    return decision


def after(job: Job | None, *commands: Command, now: Now = NOW, rules: Rules = RULES) -> Job:
    """The record after commands that are all applied."""
    for command in commands:
        job = applied(decide(job, command, now, rules)).job
    assert job is not None
    return job


# -- the table


def test_table_has_every_command_and_every_state() -> None:
    rows = {(command, job) for command, job, _ in _cells()}
    assert rows == set(product(COMMANDS, JOBS))
    assert {type(command) for command in COMMANDS.values()} == set(get_args(Command))
    assert {job.state for job in JOBS.values() if job is not None} == set(State)


@pytest.mark.parametrize(("command", "job", "cell"), _cells())
def test_outcome(command: str, job: str, cell: str) -> None:
    before, asked = JOBS[job], COMMANDS[command]
    untouched = copy.deepcopy((before, asked))

    decision = decide(before, asked, NOW, RULES)

    assert told(decision) == cell
    assert (before, asked) == untouched
    assert decide(before, asked, NOW, RULES) == decision
    if isinstance(decision, Refusal):
        assert decision.message
        if decision.code is not RefusalCode.STALE_CLAIM:
            assert decision.state is (before.state if before is not None else None)
        return
    assert decision.before is before
    assert decision.changed is (cell != "same")
    if cell == "same":
        assert decision.job is before
        assert decision.entries == ()
    else:
        assert decision.job.version == (before.version if before is not None else 0) + 1


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
    assert told(decide(unnamed, COMMANDS["create unnamed"], NOW, RULES)) == "conflict"
    assert told(decide(unnamed, COMMANDS["create same"], NOW, RULES)) == "conflict"


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


# -- progress and log


def test_progress_is_the_newest_and_a_line_of_the_log() -> None:
    decision = applied(
        decide(HELD, ReportProgress("runner", TOKEN, Progress(40, "two fifths")), NOW, RULES)
    )
    assert decision.job == replace(HELD, version=8, progress=Progress(40, "two fifths"), log_end=1)
    assert decision.entries == (
        LogEntry(
            offset=0, time_ms=100_000, attempt=1, type="progress", message="two fifths", percent=40
        ),
    )


def test_log_lines_are_numbered_from_where_the_log_ends() -> None:
    job = replace(HELD, log_end=3, current_attempt=2)
    decision = applied(decide(job, WriteLog("runner", TOKEN, ("a", "b")), NOW, RULES))
    assert decision.entries == (
        LogEntry(offset=3, time_ms=100_000, attempt=2, type="log", message="a"),
        LogEntry(offset=4, time_ms=100_000, attempt=2, type="log", message="b"),
    )
    assert decision.job == replace(job, version=8, log_end=5)


def test_log_drops_its_oldest_beyond_the_cap() -> None:
    job = replace(HELD, log_first=2, log_end=6)
    decision = applied(decide(job, WriteLog("runner", TOKEN, ("a", "b", "c")), NOW, RULES))
    assert (decision.job.log_first, decision.job.log_end) == (4, 9)


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=10),
    st.integers(1, 8),
)
def test_log_offsets_have_no_gap_and_never_more_than_the_cap(writes: list[int], cap: int) -> None:
    rules = replace(RULES, max_log_entries=cap)
    job, offsets = HELD, list[int]()
    for count in writes:
        command = WriteLog("runner", TOKEN, ("line",) * count)
        decision = applied(decide(job, command, NOW, rules))
        offsets += [entry.offset for entry in decision.entries]
        job = decision.job
        assert job.log_end == len(offsets)
        assert job.log_end - job.log_first == min(cap, job.log_end)
    assert offsets == list(range(sum(writes)))


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
    assert taken == replace(released, end=End.TAKEN_BACK)
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
    assert after(HELD, Release("runner", TOKEN)) == replace(
        HELD,
        state=State.QUEUED,
        version=8,
        end=End.RELEASED,
        released=1,
        current_attempt=0,
        queued_at=100_000,
    )


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


# -- handlers, persistence, retention


def test_handlers_keep_their_order_and_go_one_by_one() -> None:
    job = after(HELD, Handle("second"), Handle("third"), Complete("runner", TOKEN, b""))
    assert job.handlers == ("handler", "second", "third")
    job = after(job, Handled("second"))
    assert job.handlers == ("handler", "third")
    job = after(job, Handled("handler"))
    last = applied(decide(job, Handled("third"), NOW, RULES))
    assert last.removed
    assert last.job.handlers == ()


def test_complete_job_that_nobody_waits_for_goes_at_once() -> None:
    lonely = replace(HELD, handlers=())
    decision = applied(decide(lonely, Complete("runner", TOKEN, b"result"), NOW, RULES))
    assert decision.removed
    assert (decision.job.state, decision.job.outcome) == (State.COMPLETE, b"result")


@pytest.mark.parametrize(
    "command", [Fail("runner", TOKEN, b"error", retry=False), RunnerGone("runner")]
)
def test_failed_job_that_nobody_waits_for_is_kept_a_while(command: Command) -> None:
    lonely = replace(HELD, handlers=(), current_attempt=3)
    job = after(lonely, command)
    assert job.expires_at == 100_000 + 60_000
    early = applied(decide(job, Expire(), Now(ms=159_999, order=1), RULES))
    assert not early.changed
    due = applied(decide(job, Expire(), Now(ms=160_000, order=1), RULES))
    assert due.removed


@pytest.mark.parametrize(
    "command", [Complete("runner", TOKEN, b"x"), Fail("runner", TOKEN, b"x", retry=False)]
)
def test_persistent_job_stays_for_good(command: Command) -> None:
    job = after(replace(HELD, persistent=True), command, Handled("handler"))
    assert (job.handlers, job.expires_at) == ((), 0)
    lonely = after(replace(HELD, persistent=True, handlers=()), command)
    assert lonely.expires_at == 0
    assert after(job, Handle("late")).handlers == ("late",)


def test_persistent_job_stays_when_its_handler_leaves() -> None:
    done = after(replace(HELD, persistent=True), Complete("runner", TOKEN, b"result"))
    decision = applied(decide(done, HandlerGone("handler"), NOW, RULES))
    assert not decision.removed
    assert (decision.job.handlers, decision.job.expires_at) == ((), 0)


def test_handler_that_comes_late_stops_retention() -> None:
    job = after(replace(FAILED, handlers=(), expires_at=100_000), Handle("late"))
    assert (job.handlers, job.expires_at) == (("late",), 0)
    assert applied(decide(job, Handled("late"), NOW, RULES)).removed


def test_retention_counts_from_the_end_of_the_job_when_the_last_handler_leaves() -> None:
    two = replace(FAILED, handlers=("handler", "second"))
    one = after(two, HandlerGone("second"))
    assert (one.handlers, one.expires_at) == (("handler",), 0)
    none = after(one, HandlerGone("handler"))
    assert (none.handlers, none.expires_at) == ((), 30_000 + 60_000)


def test_handler_that_leaves_an_unfinished_job_removes_nothing() -> None:
    for job in (NEW, HELD):
        decision = applied(decide(job, HandlerGone("handler"), NOW, RULES))
        assert decision == Applied(job, replace(job, handlers=(), version=8))


def test_removed_job_is_told_as_it_was() -> None:
    for job in JOBS.values():
        if job is not None:
            decision = applied(decide(job, Remove(), NOW, RULES))
            assert decision == Applied(job, replace(job, version=8), removed=True)


def test_refusal_names_the_state_it_found() -> None:
    refused = decide(HELD, Claim("other", b"nonce--3"), NOW, RULES)
    assert refused == Refusal(RefusalCode.WRONG_STATE, "the job is STARTED", State.STARTED)

"""What a batch of decisions means for a job: what it became, and which claims are over."""

from typing import Final

import pytest
from msgspec.structs import replace

from packhorse_broker.jobs.model import Applied, AttemptRecord, End, Job, LogEntry, State
from packhorse_broker.store.changes import Change, EndedClaim, RevokeReason, told_of

QUEUED: Final = Job(
    id="one", type="mail", state=State.QUEUED, version=1, order=1, attempts=2, body=b"body"
)
HELD: Final = replace(
    QUEUED,
    state=State.STARTED,
    version=2,
    current_attempt=1,
    runner="ann",
    token=b"t" * 16,
    fence=1,
    started_at=20,
)
DONE: Final = replace(
    HELD, state=State.COMPLETE, version=3, end=End.COMPLETED, finished_at=30, outcome=b"result"
)
BACK: Final = replace(HELD, state=State.QUEUED, version=3, current_attempt=0, released=1)
AGAIN: Final = replace(BACK, state=State.STARTED, version=4, fence=2, token=b"u" * 16)
CANCELLED: Final = replace(HELD, state=State.FAILED, version=3, end=End.CANCELLED, finished_at=30)


def change_of(*decisions: Applied) -> Change:
    first, *others = decisions
    change = Change.of(first)
    for decision in others:
        change.follow(decision)
    return change


def changed(before: Job | None, after: Job) -> Applied:
    return Applied(before, after)


def removed(before: Job, last: Job) -> Applied:
    return Applied(before, last, removed=True)


def given_back(end: End) -> Applied:
    return Applied(HELD, replace(BACK, end=end))


@pytest.mark.parametrize(
    ("change", "queued", "finished"),
    [
        pytest.param(change_of(changed(None, QUEUED)), True, False, id="created"),
        pytest.param(change_of(changed(QUEUED, HELD)), False, False, id="claimed"),
        pytest.param(change_of(changed(HELD, BACK)), True, False, id="given back"),
        pytest.param(
            change_of(changed(QUEUED, HELD), changed(HELD, BACK)),
            True,
            False,
            id="claimed and given back",
        ),
        pytest.param(
            change_of(changed(None, QUEUED), changed(QUEUED, HELD)),
            False,
            False,
            id="created and claimed",
        ),
        pytest.param(
            change_of(changed(QUEUED, replace(QUEUED, version=2))), False, False, id="handled"
        ),
        pytest.param(change_of(changed(HELD, DONE)), False, True, id="completed"),
        pytest.param(
            change_of(changed(DONE, replace(DONE, version=4))), False, False, id="handled late"
        ),
        pytest.param(change_of(removed(HELD, DONE)), False, True, id="completed and gone"),
        pytest.param(change_of(removed(HELD, HELD)), False, False, id="removed under its runner"),
        pytest.param(change_of(removed(QUEUED, QUEUED)), False, False, id="removed from its queue"),
        pytest.param(change_of(removed(DONE, DONE)), False, False, id="removed when finished"),
        pytest.param(
            change_of(changed(None, QUEUED), removed(QUEUED, QUEUED)),
            False,
            False,
            id="came and went",
        ),
        pytest.param(
            change_of(removed(QUEUED, QUEUED), changed(None, QUEUED)),
            True,
            False,
            id="another in its place",
        ),
        pytest.param(
            change_of(removed(DONE, DONE), changed(None, DONE)),
            False,
            True,
            id="another, finished too",
        ),
    ],
)
def test_what_became_of_the_job(change: Change, queued: bool, finished: bool) -> None:
    assert (change.queued, change.finished) == (queued, finished)


def ended(job: Job, reason: RevokeReason | None) -> EndedClaim:
    assert job.runner is not None
    assert job.token is not None
    return EndedClaim(job.runner, job.token, reason)


@pytest.mark.parametrize(
    ("change", "claims"),
    [
        pytest.param(change_of(changed(None, QUEUED)), [], id="never held"),
        pytest.param(change_of(changed(QUEUED, HELD)), [], id="claimed"),
        pytest.param(change_of(changed(HELD, replace(HELD, version=3))), [], id="still held"),
        pytest.param(change_of(changed(HELD, DONE)), [ended(HELD, None)], id="completed"),
        pytest.param(change_of(removed(HELD, DONE)), [ended(HELD, None)], id="completed, gone"),
        pytest.param(change_of(given_back(End.RELEASED)), [ended(HELD, None)], id="given back"),
        pytest.param(change_of(given_back(End.FAILED)), [ended(HELD, None)], id="failed"),
        pytest.param(change_of(given_back(End.LOST)), [ended(HELD, "taken_back")], id="lost"),
        pytest.param(
            change_of(given_back(End.TAKEN_BACK)), [ended(HELD, "taken_back")], id="taken back"
        ),
        pytest.param(
            change_of(given_back(End.TIMED_OUT)), [ended(HELD, "timeout")], id="timed out"
        ),
        pytest.param(
            change_of(changed(HELD, CANCELLED)), [ended(HELD, "cancelled")], id="cancelled"
        ),
        pytest.param(
            change_of(removed(HELD, CANCELLED)), [ended(HELD, "cancelled")], id="cancelled, gone"
        ),
        pytest.param(
            change_of(given_back(End.LOST), changed(BACK, AGAIN)),
            [ended(HELD, "taken_back")],
            id="lost and claimed again",
        ),
        pytest.param(
            change_of(removed(HELD, HELD)), [ended(HELD, "removed")], id="removed under its runner"
        ),
        pytest.param(
            change_of(given_back(End.RELEASED), changed(BACK, AGAIN), removed(AGAIN, AGAIN)),
            [ended(HELD, None), ended(AGAIN, "removed")],
            id="removed under its next runner",
        ),
        pytest.param(
            change_of(removed(HELD, HELD), changed(None, QUEUED)),
            [ended(HELD, "removed")],
            id="another in its place",
        ),
        pytest.param(change_of(removed(DONE, DONE), changed(None, QUEUED)), [], id="another"),
    ],
)
def test_which_claims_are_over_and_whether_their_runners_have_to_be_told(
    change: Change, claims: list[EndedClaim]
) -> None:
    assert list(change.ended_claims) == claims


def test_what_a_job_said_is_gathered_and_goes_with_it() -> None:
    line = LogEntry(0, 25, 1, "log", "line")
    attempt = AttemptRecord(1, "ann", 20, 30, End.FAILED)
    told = Applied(HELD, replace(HELD, version=3, log_end=1), entries=(line,))
    failed = Applied(told.job, replace(BACK, end=End.FAILED, log_end=1), attempt=attempt)
    change = change_of(told, failed)
    assert (change.log, change.attempts) == ((line,), (attempt,))
    change.follow(removed(failed.job, failed.job))
    change.follow(changed(None, QUEUED))
    assert (change.log, change.attempts, change.renewed) == ((), (), True)


@pytest.mark.parametrize("existed", [False, True])
def test_each_job_that_had_the_id_is_told_of_by_itself(existed: bool) -> None:
    """One is removed under its runner, one is made and removed, one is made and claimed."""
    attempt = AttemptRecord(1, "ann", 20, 30, End.LOST)
    first = [] if existed else [changed(None, QUEUED), changed(QUEUED, HELD)]
    change = change_of(
        *first,
        Applied(HELD, BACK, attempt=attempt),
        removed(BACK, BACK),
        changed(None, QUEUED),
        removed(QUEUED, QUEUED),
        changed(None, QUEUED),
        changed(QUEUED, AGAIN),
        changed(AGAIN, DONE),
    )
    one, two, three = change.parts()
    assert (one.before, one.job, one.removed) == (HELD if existed else None, BACK, True)
    assert (one.attempts, one.ended_claims) == ((attempt,), (ended(HELD, None),))
    assert (two.before, two.job, two.removed, two.ended_claims) == (None, QUEUED, True, ())
    assert (three.before, three.job, three.removed) == (None, DONE, False)
    assert three.ended_claims == (ended(AGAIN, None),)
    plain = change_of(changed(QUEUED, HELD))
    assert plain.parts() == (plain,)
    assert told_of([plain, change]) == [plain, one, two, three]

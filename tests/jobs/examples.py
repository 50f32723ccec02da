"""Jobs in every state that tests of the state machine begin with, and how they ask it."""

from typing import Final

from msgspec.structs import replace

from packhorse_broker.jobs.commands import Command
from packhorse_broker.jobs.machine import decide
from packhorse_broker.jobs.model import (
    Applied,
    CancelRequest,
    Course,
    Decision,
    End,
    Job,
    Now,
    Reason,
    Refusal,
    Retention,
    Rules,
    State,
)
from packhorse_broker.jobs.terms import Terms

RULES: Final = Rules(
    retention=Retention(failed_ms=60_000),
    max_log_entries=5,
    max_log_bytes=1_600,
    lost_limit=0,
    cancel_grace_ms=10_000,
)
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

RETRIED: Final = replace(HELD, state=State.QUEUED, end=End.FAILED, failed=1)
CANCELLING: Final = replace(
    HELD, course=Course(cancel=CancelRequest("boss", 95_000, 105_000, "too late"))
)

JOBS: Final[dict[str, Job | None]] = {
    "none": None,
    "delayed": replace(NEW, state=State.PENDING, queued_at=0, course=Course(delayed_until=150_000)),
    "due": replace(NEW, state=State.PENDING, queued_at=0, course=Course(delayed_until=100_000)),
    "backing": replace(RETRIED, state=State.PENDING, course=Course(delayed_until=150_000)),
    "new": NEW,
    "idle": replace(NEW, terms=Terms(idle_ms=90_000)),
    "returned": replace(HELD, state=State.QUEUED, end=End.RELEASED, released=1, current_attempt=0),
    "retried": RETRIED,
    "lost": replace(HELD, state=State.QUEUED, end=End.LOST, lost=1),
    "held": HELD,
    "ceasing": CANCELLING,
    "overrun": replace(HELD, terms=Terms(run_ms=80_000), course=Course(run_until=100_000)),
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
    "stopped": replace(
        NEW,
        state=State.FAILED,
        reason=Reason.CANCELLED,
        finished_at=30_000,
        course=Course(cancel=CancelRequest("boss", 30_000, 30_000)),
    ),
    "kept": replace(FAILED, handlers=(), expires_at=100_000),
}
"""Records as they are after: nothing; creation with a delay, that is over now, too; a failed
attempt with a wait before the next; creation, with a bound on its wait that is over now, too; a
release, a failed attempt and a lost one with another to come; a claim, a cancel request, a run
timeout that is over now; completion, failure, a runner's death at the last attempt, a cancel
request while it waited, and a failure that nobody waits for, which is kept until now."""


def told(decision: Decision) -> str:
    """A decision in the table's words."""
    if isinstance(decision, Refusal):
        return decision.code.value
    if decision.removed:
        return "gone"
    return decision.job.state.name if decision.changed else "same"


def refused(decision: Decision) -> Refusal:
    assert isinstance(decision, Refusal)
    return decision


def applied(decision: Decision) -> Applied:
    assert isinstance(decision, Applied)
    return decision


def after(job: Job | None, *commands: Command, now: Now = NOW, rules: Rules = RULES) -> Job:
    """The record after commands that are all applied, none of which removes the job."""
    for command in commands:
        decision = applied(decide(job, command, now, rules))
        assert not decision.removed
        job = decision.job
    assert job is not None
    return job

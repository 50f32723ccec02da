"""Jobs in every state that tests of the state machine begin with, and how they ask it."""

from typing import Final

from msgspec.structs import replace

from packhorse_broker.jobs.commands import Command
from packhorse_broker.jobs.machine import decide
from packhorse_broker.jobs.model import (
    Applied,
    Decision,
    End,
    Job,
    Now,
    Reason,
    Refusal,
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

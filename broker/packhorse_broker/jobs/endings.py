"""How a job ends, how long it is kept then, and how it goes."""

from typing import Any

from msgspec.structs import replace

from packhorse_broker.jobs.commands import Due, Evict
from packhorse_broker.jobs.deadlines import passed
from packhorse_broker.jobs.model import (
    Applied,
    AttemptRecord,
    Decision,
    Job,
    Now,
    Reason,
    Rules,
    State,
)

COMPLETE, FAILED = State.COMPLETE, State.FAILED


def finish_failed(
    before: Job,
    job: Job,
    reason: Reason,
    now: Now,
    rules: Rules,
    attempt: AttemptRecord | None = None,
    **changes: Any,
) -> Applied:
    """The end of `job`, which is what has become of `before` so far; `changes` are to its other
    fields. It goes at once if nobody is to know of its outcome and it is not to be kept."""
    keep = kept_ms(job, FAILED, rules)
    finished = replace(
        job,
        state=FAILED,
        version=job.version + 1,
        reason=reason,
        finished_at=now.ms,
        expires_at=now.ms + keep if keep else 0,
        **changes,
    )
    return Applied(before, finished, removed=keep == 0, attempt=attempt)


def kept_ms(job: Job, state: State, rules: Rules) -> int | None:
    """How long the job is kept once it is COMPLETE or FAILED; None: for as long as somebody is to
    handle it, or until it is removed by hand."""
    if job.handlers or job.persistent or (job.course is not None and job.course.groups):
        return None
    if job.terms is not None and job.terms.keep_ms is not None:
        return job.terms.keep_ms
    retention = rules.retention
    return retention.complete_ms if state is COMPLETE else retention.failed_ms


def removed(job: Job) -> Applied:
    return Applied(job, replace(job, version=job.version + 1), removed=True)


def retention_over(job: Job, command: Due, now: Now, rules: Rules) -> Decision:
    return removed(job) if passed(job, now.ms) is not None else Applied(job, job)


def evict(job: Job, command: Evict, now: Now, rules: Rules) -> Decision:
    return Applied(job, job) if job.persistent or job.awaited else removed(job)


def stays(job: Job, command: Evict, now: Now, rules: Rules) -> Decision:
    """It was the oldest finished one, and is not finished any more."""
    return Applied(job, job)

"""The runner's side: a claim, what its holder may say, and how it ends well or is given back."""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from packhorse_broker.jobs.commands import (
    Claim,
    Command,
    Complete,
    Extend,
    Fail,
    Release,
    ReportProgress,
    WriteLog,
)
from packhorse_broker.jobs.course import altered, of_claimed, of_ended_run
from packhorse_broker.jobs.endings import kept_ms
from packhorse_broker.jobs.logs import grown
from packhorse_broker.jobs.model import (
    Applied,
    Decision,
    End,
    Job,
    LogEntry,
    Now,
    Refusal,
    RefusalCode,
    Rules,
    State,
)

STARTED, COMPLETE = State.STARTED, State.COMPLETE
NONE, COMPLETED = End.NONE, End.COMPLETED
"""Looked up once: every claim and every completion needs them."""

STALE: Final = Refusal(
    RefusalCode.STALE_CLAIM, "this claim is over: the token is not the job's current one"
)


def holds(job: Job, client: str, token: bytes) -> bool:
    return job.runner == client and job.token == token


def claim(job: Job, command: Claim, now: Now, rules: Rules) -> Decision:
    fence = job.fence + 1
    course = job.course
    if job.terms is not None or course is not None:
        course = of_claimed(job, now.ms)
    started = replace(
        job,
        state=STARTED,
        version=job.version + 1,
        current_attempt=job.current_attempt + 1,
        runner=command.client,
        token=fence.to_bytes(8, "big") + command.nonce,
        fence=fence,
        end=NONE,
        started_at=now.ms,
        progress=None,
        course=course,
    )
    return Applied(job, started)


# -- while it is held ---------------------------------------------------------------------


def report_progress(job: Job, command: ReportProgress, now: Now, rules: Rules) -> Decision:
    if not holds(job, command.client, command.token):
        return STALE
    progress = command.progress
    entry = LogEntry(
        job.log_end, now.ms, job.current_attempt, "progress", progress.text, progress.percent
    )
    changed = grown(job, (entry,), rules, version=job.version + 1, progress=progress)
    return Applied(job, changed, entries=(entry,))


def write_log(job: Job, command: WriteLog, now: Now, rules: Rules) -> Decision:
    if not holds(job, command.client, command.token):
        return STALE
    entries = tuple(
        LogEntry(offset, now.ms, job.current_attempt, "log", message)
        for offset, message in enumerate(command.messages, job.log_end)
    )
    return Applied(job, grown(job, entries, rules, version=job.version + 1), entries=entries)


def extend(job: Job, command: Extend, now: Now, rules: Rules) -> Decision:
    """A job without a run timeout has nothing to extend. One that may run past its total timeout
    then is ended by that."""
    if not holds(job, command.client, command.token):
        return STALE
    course = job.course
    if course is None or not course.run_until:
        return Applied(job, job)
    run_until = now.ms + command.run_ms
    if run_until == course.run_until:
        return Applied(job, job)
    return Applied(
        job, replace(job, version=job.version + 1, course=altered(course, run_until=run_until))
    )


# -- its end, unless an attempt is spent --------------------------------------------------


def complete(job: Job, command: Complete, now: Now, rules: Rules) -> Decision:
    if not holds(job, command.client, command.token):
        return STALE
    keep = kept_ms(job, COMPLETE, rules)
    done = replace(
        job,
        state=COMPLETE,
        version=job.version + 1,
        end=COMPLETED,
        outcome=command.outcome,
        finished_at=now.ms,
        expires_at=now.ms + keep if keep else 0,
        course=of_ended_run(job.course),
    )
    return Applied(job, done, keep == 0)


def too_late(job: Job, command: Command, now: Now, rules: Rules) -> Decision:
    return STALE


def repeat_of(end: End) -> Callable[[Job, Complete | Fail | Release, Now, Rules], Decision]:
    """The same end of the same claim again is answered like the first time."""

    def repeat(job: Job, command: Complete | Fail | Release, now: Now, rules: Rules) -> Decision:
        if job.end is end and holds(job, command.client, command.token):
            return Applied(job, job)
        return STALE

    return repeat

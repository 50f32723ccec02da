"""What people do to single jobs: each leaves a line in its log and a record of who and why."""

from typing import Final

from msgspec.structs import replace

from packhorse_broker.jobs.commands import Cancel, Remove, Retry, RunNow
from packhorse_broker.jobs.course import altered, total_end
from packhorse_broker.jobs.endings import finish_failed, removed
from packhorse_broker.jobs.logs import grown
from packhorse_broker.jobs.model import (
    PLAIN_COURSE,
    ActionRecord,
    Applied,
    CancelRequest,
    Decision,
    End,
    Expired,
    Job,
    LogEntry,
    Now,
    Reason,
    Refusal,
    RefusalCode,
    Rules,
)
from packhorse_broker.jobs.waiting import queued

MAX_ATTEMPTS: Final = 1_000
"""Of one job, those by hand included: nobody is told of a larger number."""


def cancel_waiting(job: Job, command: Cancel, now: Now, rules: Rules) -> Decision:
    request = CancelRequest(command.by, now.ms, now.ms, command.why)
    course = altered(job.course, delayed_until=0, cancel=request)
    ended = finish_failed(job, job, Reason.CANCELLED, now, rules, course=course)
    return _by_hand("cancel", ended, command, now, rules)


def cancel_running(job: Job, command: Cancel, now: Now, rules: Rules) -> Decision:
    """The runner has the grace time to end it. Of several requests the earliest end holds;
    one that says no reason leaves the former one."""
    grace_ms = rules.cancel_grace_ms if command.grace_ms is None else command.grace_ms
    until = now.ms + grace_ms
    if job.cancel is not None and job.cancel.until <= until:
        return Applied(job, job)
    why = command.why or (job.cancel.why if job.cancel is not None else "")
    request = CancelRequest(command.by, now.ms, until, why)
    asked = replace(job, version=job.version + 1, course=altered(job.course, cancel=request))
    return _by_hand("cancel", Applied(job, asked), command, now, rules)


def cancel_again(job: Job, command: Cancel, now: Now, rules: Rules) -> Decision:
    return Applied(job, job) if job.reason is Reason.CANCELLED else wrong_state(job)


def retry(job: Job, command: Retry, now: Now, rules: Rules) -> Decision:
    """The job is as before its next attempt; its counters go on."""
    if job.current_attempt >= MAX_ATTEMPTS:
        return Refusal(
            RefusalCode.TOO_MANY, f"a job has at most {MAX_ATTEMPTS} attempts", job.state
        )
    course = altered(
        job.course,
        total_until=total_end(job, now.ms),
        expired=Expired.NONE,
        cancel=None,
        pardoned=job.lost,
        retried=(job.course or PLAIN_COURSE).retried + 1,
    )
    revived = replace(
        job,
        attempts=min(max(job.attempts, job.current_attempt + command.attempts), MAX_ATTEMPTS),
        end=End.NONE,
        finished_at=0,
        expires_at=0,
        reason=None,
        outcome=None,
        outcome_bytes=0,
        course=course,
    )
    return _by_hand("retry", Applied(job, queued(revived, now, now.order)), command, now, rules)


def run_now(job: Job, command: RunNow, now: Now, rules: Rules) -> Decision:
    return _by_hand("run_now", Applied(job, queued(job, now, now.order)), command, now, rules)


def remove(job: Job, command: Remove, now: Now, rules: Rules) -> Decision:
    if command.states and job.state not in command.states:
        return wrong_state(job)
    return _by_hand("remove", removed(job), command, now, rules)


def wrong_state(job: Job) -> Refusal:
    return Refusal(RefusalCode.WRONG_STATE, f"the job is {job.state.name}", job.state)


def _by_hand(
    action: str,
    done: Applied,
    command: Cancel | Retry | RunNow | Remove,
    now: Now,
    rules: Rules,
) -> Applied:
    """With its traces; the log of a job that goes is not written any more."""
    job = done.job
    record = ActionRecord(now.ms, action, command.by, command.why, job=job.id, type=job.type)
    if done.removed:
        return replace(done, action=record)
    message = f"{action}: {command.why}" if command.why else action
    entry = LogEntry(job.log_end, now.ms, job.current_attempt, "action", message, by=command.by)
    return replace(done, job=grown(job, (entry,), rules), entries=(entry,), action=record)

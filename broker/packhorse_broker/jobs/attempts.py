"""How an attempt ends without completing the job, and whether there is another one.

An attempt is spent when its runner fails it, is lost, or runs out of time; one that is given back
is not. The record of each attempt says how that one ended, whatever becomes of the job.
"""

from msgspec.structs import replace

from packhorse_broker.jobs.backoff import wait_ms
from packhorse_broker.jobs.claims import STALE, holds
from packhorse_broker.jobs.commands import Due, Fail, Release, RunnerGone, TakeBack
from packhorse_broker.jobs.course import altered, of_ended_run
from packhorse_broker.jobs.deadlines import passed
from packhorse_broker.jobs.endings import finish_failed
from packhorse_broker.jobs.model import (
    PLAIN_COURSE,
    Applied,
    AttemptRecord,
    Decision,
    End,
    Expired,
    Job,
    Now,
    Reason,
    Rules,
)
from packhorse_broker.jobs.waiting import pending, queued


def fail(job: Job, command: Fail, now: Now, rules: Rules) -> Decision:
    if not holds(job, command.client, command.token):
        return STALE
    error = command.outcome
    failed = replace(job, end=End.FAILED, failed=job.failed + 1, course=of_ended_run(job.course))
    if not (command.retry and _has_another(job)):
        return _last(job, replace(failed, outcome=error), Reason.FAILED, now, rules, error)
    wait = command.retry_in_ms
    if wait is None:
        wait = _backoff_ms(job, now)
    return _again(job, failed, wait, now.order, now, error)


def lose(job: Job, command: RunnerGone, now: Now, rules: Rules) -> Decision:
    """A job that is to be tried again at once keeps its place in the queue."""
    if job.runner != command.client:
        return Applied(job, job)
    lost = replace(job, end=End.LOST, lost=job.lost + 1, course=of_ended_run(job.course))
    if not _has_another(job) or _set_aside(lost, rules):
        return _last(job, lost, Reason.RUNNER_TIMEOUT, now, rules)
    return _again(job, lost, _backoff_ms(job, now), job.order, now)


def run_over(job: Job, command: Due, now: Now, rules: Rules) -> Decision:
    """A time has come for a job that a runner holds: of a cancellation, of the whole job, or of
    this attempt. The claim is over at once."""
    expired = passed(job, now.ms, command.outages.at(now.ms))
    if expired is None:
        return Applied(job, job)
    known = job.course or PLAIN_COURSE
    if expired is Expired.NONE:
        course = altered(job.course, run_until=0, cut_off=known.cut_off + 1)
        cut_off = replace(job, end=End.CANCELLED, course=course)
        return _last(job, cut_off, Reason.CANCELLED, now, rules)
    timed_out = known.timed_out + 1
    course = altered(job.course, run_until=0, expired=expired, timed_out=timed_out)
    ended = replace(job, end=End.TIMED_OUT, course=course)
    if expired is Expired.TOTAL:
        return _finish(job, ended, Reason.JOB_TIMEOUT, now, rules)
    if not _has_another(job):
        return _last(job, ended, Reason.JOB_TIMEOUT, now, rules)
    return _again(job, ended, _backoff_ms(job, now), now.order, now)


def release(job: Job, command: Release, now: Now, rules: Rules) -> Decision:
    if not holds(job, command.client, command.token):
        return STALE
    given_back = _given_back(job, End.RELEASED)
    if job.cancel is not None:
        return _finish(job, given_back, Reason.CANCELLED, now, rules)
    again = queued(given_back, now, job.order)
    return Applied(job, again, attempt=_record(job, given_back, now))


def take_back(job: Job, command: TakeBack, now: Now, rules: Rules) -> Decision:
    """As a release, but of an attempt that no runner has learnt of: there is no record of it."""
    if not holds(job, command.client, command.token):
        return STALE
    taken_back = (job.course or PLAIN_COURSE).taken_back + 1
    given_back = _given_back(job, End.TAKEN_BACK)
    given_back = replace(given_back, course=altered(given_back.course, taken_back=taken_back))
    if job.cancel is not None:
        return finish_failed(job, given_back, Reason.CANCELLED, now, rules)
    return Applied(job, queued(given_back, now, job.order))


# -- what becomes of the job --------------------------------------------------------------


def _has_another(job: Job) -> bool:
    return job.current_attempt < job.attempts and job.cancel is None


def _set_aside(job: Job, rules: Rules) -> bool:
    """Whether the job has lost so many runners that it may be what kills them."""
    limit = job.terms.lost_limit if job.terms is not None else None
    if limit is None:
        limit = rules.lost_limit
    pardoned = (job.course or PLAIN_COURSE).pardoned
    return limit > 0 and job.lost - pardoned >= limit


def _backoff_ms(job: Job, now: Now) -> int:
    if job.terms is None:
        return 0
    return wait_ms(job.terms.backoff, job.current_attempt, now.chance)


def _again(
    before: Job, ended: Job, wait: int, order: int, now: Now, error: bytes | None = None
) -> Applied:
    if not wait:
        return Applied(
            before, queued(ended, now, order), attempt=_record(before, ended, now, error)
        )
    until = now.ms + wait
    return Applied(before, pending(ended, until), attempt=_record(before, ended, now, error, until))


def _last(
    before: Job, ended: Job, reason: Reason, now: Now, rules: Rules, error: bytes | None = None
) -> Applied:
    """Of a job that was to be cancelled that is the reason, however its last attempt ended."""
    reason = reason if before.cancel is None else Reason.CANCELLED
    return _finish(before, ended, reason, now, rules, error)


def _finish(
    before: Job, ended: Job, reason: Reason, now: Now, rules: Rules, error: bytes | None = None
) -> Applied:
    attempt = _record(before, ended, now, error)
    return finish_failed(before, ended, reason, now, rules, attempt)


def _given_back(job: Job, end: End) -> Job:
    """The job keeps its place in the queue and no attempt is spent."""
    return replace(
        job,
        end=end,
        released=job.released + 1,
        current_attempt=job.current_attempt - 1,
        course=of_ended_run(job.course),
    )


def _record(
    before: Job, ended: Job, now: Now, error: bytes | None = None, next_at: int = 0
) -> AttemptRecord:
    assert before.runner is not None
    return AttemptRecord(
        attempt=before.current_attempt,
        runner=before.runner,
        started_at=before.started_at,
        finished_at=now.ms,
        end=ended.end,
        expired=(ended.course or PLAIN_COURSE).expired,
        error=error,
        next_at=next_at,
    )

"""A job as `get`, `list` and `attempts` show it: all that its creator asked for, and what became
of it so far."""

from collections.abc import Sequence
from typing import Literal, TypeAlias, cast

from packhorse_broker.contents import unpack_body, unpack_outcome
from packhorse_broker.jobs.deadlines import due_at
from packhorse_broker.jobs.model import PLAIN_COURSE, AttemptRecord, Job, State
from packhorse_broker.jobs.model import CancelRequest as JobCancelRequest
from packhorse_broker.jobs.terms import PLAIN_TERMS, Terms
from packhorse_broker.jobs.terms import Backoff as JobBackoff
from packhorse_broker.jobs.terms import Unique as JobUnique
from packhorse_broker.store.durability import Durability
from packhorse_broker.views import ending_of, progress_of, reason_name, state_name, timeout_name
from packhorse_protocol.messages import (
    Attempt,
    Backoff,
    CancelRequest,
    Error,
    JobSummary,
    JobView,
    Timeouts,
    Unique,
)

GrowthName: TypeAlias = Literal["fixed", "linear", "exponential", "list"]
JitterName: TypeAlias = Literal["none", "full", "equal", "share"]
ScopeName: TypeAlias = Literal["until_started", "until_finished", "window"]
EndName: TypeAlias = Literal["completed", "failed", "lost", "released", "timed_out", "cancelled"]
DurabilityName: TypeAlias = Literal["disk", "replicated"]


def job_view(job: Job) -> JobView:
    """Of a whole job: body and outcome must be there."""
    assert job.body is not None
    payload, headers = unpack_body(job.body)
    result, error = ending_of(job)
    terms = job.terms or PLAIN_TERMS
    course = job.course or PLAIN_COURSE
    return JobView(
        id=job.id,
        type=job.type,
        state=state_name(job.state),
        version=job.version,
        payload=payload,
        key=job.key,
        headers=headers,
        attempts=job.attempts,
        current_attempt=job.current_attempt,
        persistent=job.persistent,
        runner=job.runner,
        handlers=job.handlers,
        created_by=job.created_by,
        created_at=job.created_at,
        queued_at=job.queued_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        failed=job.failed,
        lost=job.lost,
        released=job.released,
        retried=course.retried,
        progress=progress_of(job),
        log_end=job.log_end,
        reason=reason_name(job),
        result=result,
        error=error,
        delayed_until=job.delayed_until,
        next_attempt=_next_attempt(job),
        priority=terms.priority,
        backoff=_backoff(terms.backoff) if terms.backoff is not None else None,
        timeouts=_timeouts(terms),
        lost_limit=terms.lost_limit,
        labels=terms.labels,
        unique=_unique(terms.unique) if terms.unique is not None else None,
        keep_ms=terms.keep_ms,
        timed_out=course.timed_out,
        expired=timeout_name(course.expired),
        cancel=_cancel_request(course.cancel) if course.cancel is not None else None,
        groups=course.groups,
        deadline=0 if job.state.finished else due_at(job),
        expires_at=job.expires_at,
        log_first=job.log_first,
        durability=_durability(terms),
    )


def _durability(terms: Terms) -> DurabilityName | None:
    if not terms.durability:
        return None
    return cast(DurabilityName, Durability(terms.durability).name.lower())


def _next_attempt(job: Job) -> int:
    """When a job is tried again that was tried before; 0: it does not wait for that."""
    waits = job.state is State.PENDING and job.current_attempt > 0
    return job.delayed_until if waits else 0


def _backoff(backoff: JobBackoff) -> Backoff:
    return Backoff(
        type=cast(GrowthName, backoff.growth.name.lower()),
        delay_ms=backoff.delay_ms,
        factor_percent=backoff.factor_percent,
        delays_ms=backoff.delays_ms,
        max_ms=backoff.max_ms or None,
        jitter=cast(JitterName, backoff.jitter.name.lower()),
        jitter_percent=backoff.jitter_percent,
    )


def _timeouts(terms: Terms) -> Timeouts | None:
    if not (terms.idle_ms or terms.run_ms or terms.total_ms):
        return None
    return Timeouts(
        idle_ms=terms.idle_ms or None,
        run_ms=terms.run_ms or None,
        total_ms=terms.total_ms or None,
    )


def _unique(unique: JobUnique) -> Unique:
    return Unique(
        key=unique.key,
        scope=cast(ScopeName, unique.scope.name.lower()),
        window_ms=unique.window_ms or None,
    )


def _cancel_request(cancel: JobCancelRequest) -> CancelRequest:
    return CancelRequest(by=cancel.by, at=cancel.at, until=cancel.until, why=cancel.why)


def job_summary(job: Job) -> JobSummary:
    """Of a record alone."""
    terms = job.terms or PLAIN_TERMS
    return JobSummary(
        id=job.id,
        type=job.type,
        state=state_name(job.state),
        key=job.key,
        unique_key=terms.unique.key if terms.unique is not None else None,
        labels=terms.labels,
        priority=terms.priority,
        attempts=job.attempts,
        current_attempt=job.current_attempt,
        runner=job.runner,
        reason=reason_name(job),
        progress=progress_of(job),
        created_at=job.created_at,
        delayed_until=job.delayed_until,
        queued_at=job.queued_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


def attempts_of(job: Job, ended: Sequence[AttemptRecord]) -> list[Attempt]:
    """Of a job and the records of its ended attempts; the one that completed it has none, since
    the job's own record says all of it."""
    attempts = [_attempt(record) for record in ended]
    if job.state is State.COMPLETE and job.runner is not None:
        attempts.append(
            Attempt(
                attempt=job.current_attempt,
                runner=job.runner,
                started_at=job.started_at,
                finished_at=job.finished_at,
                ended="completed",
            )
        )
    return attempts


def _attempt(record: AttemptRecord) -> Attempt:
    return Attempt(
        attempt=record.attempt,
        runner=record.runner,
        started_at=record.started_at,
        finished_at=record.finished_at,
        ended=cast(EndName, record.end.name.lower()),
        expired=timeout_name(record.expired),
        error=error_of(record),
        next_at=record.next_at,
    )


def error_of(record: AttemptRecord) -> Error | None:
    """What the runner said of an attempt that it failed."""
    if record.error is None:
        return None
    content = unpack_outcome(record.error)
    return content if isinstance(content, Error) else None

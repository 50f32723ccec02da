"""How jobs and refusals look on the wire: from the broker's records to the protocol's."""

from typing import Literal, cast

from packhorse_broker.contents import unpack_body, unpack_outcome
from packhorse_broker.jobs.model import Applied, Job, LogEntry, Refusal, State
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.records import CorruptRecord
from packhorse_broker.store.work import Failed
from packhorse_protocol import RETRYABLE, Code
from packhorse_protocol.messages import (
    Claim,
    Ended,
    Error,
    JobView,
    Outcome,
    Problem,
    Progress,
    Refused,
    Request,
    Watched,
)
from packhorse_protocol.messages import LogEntry as WireLogEntry
from packhorse_protocol.messages import Reason as WireReason
from packhorse_protocol.messages import State as WireState

UNAVAILABLE_RETRY_MS = 500
"""When to try again what failed because the store was away."""


def state_name(state: State) -> WireState:
    return cast(WireState, state.name)


def reason_name(job: Job) -> WireReason | None:
    return cast(WireReason, job.reason.name) if job.reason is not None else None


def progress_of(job: Job) -> Progress | None:
    if job.progress is None:
        return None
    return Progress(percent=job.progress.percent, text=job.progress.text)


def _ending(job: Job) -> tuple[bytes | None, Error | None]:
    if job.outcome is None:
        return None, None
    content = unpack_outcome(job.outcome)
    return (content, None) if isinstance(content, bytes) else (None, content)


def job_view(job: Job) -> JobView:
    """Of a whole job: body and outcome must be there."""
    assert job.body is not None
    payload, headers = unpack_body(job.body)
    result, error = _ending(job)
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
        progress=progress_of(job),
        log_end=job.log_end,
        reason=reason_name(job),
        result=result,
        error=error,
    )


def claim_view(job: Job) -> Claim:
    """Of a STARTED job with its body."""
    assert job.body is not None
    assert job.token is not None
    payload, headers = unpack_body(job.body)
    return Claim(
        job=job.id,
        token=job.token,
        fence=job.fence,
        type=job.type,
        attempt=job.current_attempt,
        attempts=job.attempts,
        payload=payload,
        key=job.key,
        headers=headers,
    )


def outcome_view(job: Job) -> Outcome:
    """Of a finished job with its outcome."""
    result, error = _ending(job)
    return Outcome(
        job=job.id,
        type=job.type,
        state=cast(Literal["COMPLETE", "FAILED"], job.state.name),
        version=job.version,
        reason=reason_name(job),
        result=result,
        error=error,
        key=job.key,
        attempt=job.current_attempt,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


def entry_view(entry: LogEntry) -> WireLogEntry:
    return WireLogEntry(
        offset=entry.offset,
        time_ms=entry.time_ms,
        attempt=entry.attempt,
        type=entry.type,
        message=entry.message,
        percent=entry.percent,
    )


def ended(applied: Applied) -> Ended:
    return Ended(state=state_name(applied.job.state))


def watched(job: Job) -> Watched:
    return Watched(
        state=state_name(job.state),
        version=job.version,
        progress=progress_of(job),
        log_first=job.log_first,
        log_end=job.log_end,
    )


def problem(code: Code, message: str, **details: str) -> Problem:
    return Problem(code=code, message=message, retryable=code in RETRYABLE, details=details or None)


def not_read(found: CorruptRecord | None) -> Problem:
    """Of a job that is not there, or whose record can't be read."""
    if found is None:
        return problem(Code.NOT_FOUND, "there is no such job")
    return problem(Code.INTERNAL, "the job's record can't be read: run packhorse fsck")


def problem_of(result: Refusal | Failed) -> Problem:
    """Of a command that changed nothing."""
    if isinstance(result, Refusal):
        details = {"state": result.state.name} if result.state is not None else {}
        return problem(Code(result.code.value), result.message, **details)
    if isinstance(result.error, StoreUnavailable):
        return Problem(
            code=Code.UNAVAILABLE,
            message=f"the store is unavailable: {result.error}",
            retryable=True,
            retry_after_ms=UNAVAILABLE_RETRY_MS,
        )
    return problem(Code.INTERNAL, "the broker failed; its log says why")


def refused(request: Request, code: Code, message: str) -> Refused:
    """Of a whole request."""
    retry_after_ms = UNAVAILABLE_RETRY_MS if code is Code.UNAVAILABLE else None
    return Refused(
        id=request.id,
        code=code,
        message=message,
        retryable=code in RETRYABLE,
        retry_after_ms=retry_after_ms,
    )

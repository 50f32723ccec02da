"""How claims, outcomes, logs and refusals look on the wire: from the broker's records to the
protocol's. What is told to those who look at a job is in `job_views.py`."""

from typing import Final, Literal, cast

from packhorse_broker.contents import unpack_body, unpack_outcome
from packhorse_broker.jobs.commands import Command, Create, OnDuplicate
from packhorse_broker.jobs.deadlines import due_at
from packhorse_broker.jobs.model import Applied, Expired, Job, LogEntry, Refusal, State
from packhorse_broker.jobs.outages import NO_OUTAGES, KnownOutages
from packhorse_broker.store.errors import StoreFull, StoreUnavailable
from packhorse_broker.store.records import CorruptRecord
from packhorse_broker.store.work import Failed
from packhorse_protocol import RETRYABLE, Code, limits
from packhorse_protocol.messages import (
    Claim,
    Created,
    Ended,
    Error,
    Outcome,
    Problem,
    Progress,
    Refused,
    Request,
    Timeout,
    Watched,
)
from packhorse_protocol.messages import LogEntry as WireLogEntry
from packhorse_protocol.messages import Reason as WireReason
from packhorse_protocol.messages import State as WireState

UNAVAILABLE_RETRY_MS = 500
"""When to try again what failed because the store was away."""

_TIMEOUTS: Final[dict[Expired, Timeout | None]] = {
    Expired.NONE: None,
    Expired.IDLE: "idle",
    Expired.RUN: "run",
    Expired.TOTAL: "total",
}


_STATES: Final = {state: cast(WireState, state.name) for state in State}
_ENDED: Final = {state: Ended(state=name) for state, name in _STATES.items()}
"""Every end of a job is answered with one of these."""


def state_name(state: State) -> WireState:
    return _STATES[state]


def reason_name(job: Job) -> WireReason | None:
    return cast(WireReason, job.reason.name) if job.reason is not None else None


def progress_of(job: Job) -> Progress | None:
    if job.progress is None:
        return None
    return Progress(percent=job.progress.percent, text=job.progress.text)


def timeout_name(expired: Expired) -> Timeout | None:
    return _TIMEOUTS[expired]


def ending_of(job: Job) -> tuple[bytes | None, Error | None]:
    """Result or error of a job whose outcome is there, neither of one that has none."""
    if job.outcome is None:
        return None, None
    content = unpack_outcome(job.outcome)
    return (content, None) if isinstance(content, bytes) else (None, content)


def claim_view(job: Job, now_ms: int, outages: KnownOutages = NO_OUTAGES) -> Claim:
    """Of a STARTED job with its body; `now_ms`: the store's time."""
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
        remaining_ms=remaining_ms(job, now_ms, outages),
    )


def remaining_ms(job: Job, now_ms: int, outages: KnownOutages) -> int | None:
    """After how long a timeout or a cancel request takes the claim away; None: neither does."""
    if job.course is None:
        return None  # As of every plain job, quickly: what ends a claim stands in the course.
    due = due_at(job, outages.at(now_ms))
    return max(due - now_ms, 0) if due else None


def outcome_view(job: Job, group: str | None = None) -> Outcome:
    """Of a finished job with its outcome; `group`: told to a member of it, to answer for it."""
    result, error = ending_of(job)
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
        expired=timeout_name(job.course.expired) if job.course is not None else None,
        group=group,
    )


def entry_view(entry: LogEntry) -> WireLogEntry:
    return WireLogEntry(
        offset=entry.offset,
        time_ms=entry.time_ms,
        attempt=entry.attempt,
        type=entry.type,
        message=entry.message,
        percent=entry.percent,
        by=entry.by,
    )


def created(applied: Applied, command: Create) -> Created:
    """Of the job that a create made, or of the one that was there already."""
    job = applied.job
    duplicate: Literal["joined", "replaced"] | None = None
    if job.id != command.id:
        duplicate = "joined" if command.on_duplicate is OnDuplicate.JOIN else "replaced"
    return Created(
        job=job.id,
        state=_STATES[job.state],
        existed=applied.before is not None and duplicate is None,
        duplicate=duplicate,
    )


def ended(applied: Applied, _: Command) -> Ended:
    return _ENDED[applied.job.state]


def watched(job: Job) -> Watched:
    return Watched(
        state=state_name(job.state),
        version=job.version,
        progress=progress_of(job),
        log_first=job.log_first,
        log_end=job.log_end,
    )


def problem(code: Code, message: str, **details: str) -> Problem:
    """`message` is cut to what a problem may say: names in it may be long when they are quoted."""
    return Problem(
        code=code,
        message=message[: limits.MAX_TEXT_CHARS],
        retryable=code in RETRYABLE,
        details=details or None,
    )


def not_read(found: CorruptRecord | None) -> Problem:
    """Of a job that is not there, or whose record can't be read."""
    if found is None:
        return problem(Code.NOT_FOUND, "there is no such job")
    return problem(Code.INTERNAL, "the job's record can't be read: run packhorse fsck")


def problem_of(result: Refusal | Failed) -> Problem:
    """Of a command that changed nothing."""
    if isinstance(result, Refusal):
        details = {"state": result.state.name} if result.state is not None else {}
        if result.job is not None:
            details["job"] = result.job
        if result.limit is not None:
            details["limit"] = str(result.limit)
        if result.paused:
            details["paused"] = "true"
        return problem(Code(result.code.value), result.message, **details)
    if isinstance(result.error, StoreFull):
        return problem(Code.STORE_FULL, "the store's memory is full: let jobs end first")
    if isinstance(result.error, StoreUnavailable):
        return Problem(
            code=Code.UNAVAILABLE,
            message=f"the store is unavailable: {result.error}",
            retryable=True,
            retry_after_ms=UNAVAILABLE_RETRY_MS,
        )
    return problem(Code.INTERNAL, "the broker failed; its log says why")


class RequestRefused(Exception):
    """Raised by a request that looks, where it can't be answered as it was asked."""

    def __init__(self, code: Code, message: str, **details: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


def refused(request: Request, code: Code, message: str, **details: str) -> Refused:
    """Of a whole request."""
    retry_after_ms = UNAVAILABLE_RETRY_MS if code is Code.UNAVAILABLE else None
    return Refused(
        id=request.id,
        code=code,
        message=message,
        retryable=code in RETRYABLE,
        retry_after_ms=retry_after_ms,
        details=details or None,
    )

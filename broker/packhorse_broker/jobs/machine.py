"""The state machine: one table keyed by state and command.

    decide(job, command, now, rules) -> Applied | Refusal

Two rules hold for every function here: it returns new records and never changes one, and it
depends on nothing but its arguments. A pair that the table lacks is a refusal. `job` is None
where there is no such job.
"""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from packhorse_broker.jobs.commands import (
    Claim,
    Command,
    Complete,
    Create,
    Expire,
    Fail,
    Handle,
    Handled,
    HandlerGone,
    Release,
    Remove,
    ReportProgress,
    RunnerGone,
    TakeBack,
    WriteLog,
)
from packhorse_broker.jobs.model import (
    Applied,
    Decision,
    End,
    Job,
    LogEntry,
    Now,
    Reason,
    Refusal,
    RefusalCode,
    Rules,
    State,
)

MAX_HANDLERS: Final = 256
"""Handlers of one job: each is an entry in the record and in an index, written at every change."""

QUEUED, STARTED, COMPLETE, FAILED = State.QUEUED, State.STARTED, State.COMPLETE, State.FAILED


def decide(job: Job | None, command: Command, now: Now, rules: Rules) -> Decision:
    """What `command` makes of `job` at `now`; changes nothing itself."""
    transition = TABLE.get((job.state if job is not None else None, type(command)))
    if transition is not None:
        return transition(job, command, now, rules)
    if job is None:
        return Refusal(RefusalCode.NOT_FOUND, "there is no such job")
    return Refusal(RefusalCode.WRONG_STATE, f"the job is {job.state.name}", job.state)


# -- into being and out of it -------------------------------------------------------------


def _create(_: None, command: Create, now: Now, rules: Rules) -> Decision:
    job = Job(
        id=command.id,
        type=command.type,
        state=QUEUED,
        version=1,
        order=now.order,
        attempts=command.attempts,
        persistent=command.persistent,
        handlers=(command.handler,) if command.handler is not None else (),
        key=command.key,
        created_by=command.created_by,
        created_at=now.ms,
        queued_at=now.ms,
        fingerprint=command.fingerprint,
        body=command.body,
    )
    return Applied(None, job)


def _create_again(job: Job, command: Create, now: Now, rules: Rules) -> Decision:
    if command.fingerprint is None or command.fingerprint != job.fingerprint:
        return Refusal(
            RefusalCode.CONFLICT, "a job with this id and other content exists", job.state
        )
    if command.handler is None:
        return Applied(job, job)
    return _handle(job, Handle(command.handler), now, rules)


def _remove(job: Job, command: Command, now: Now, rules: Rules) -> Decision:
    return Applied(job, replace(job, version=job.version + 1), removed=True)


def _expire(job: Job, command: Expire, now: Now, rules: Rules) -> Decision:
    if not job.expires_at or job.expires_at > now.ms:
        return Applied(job, job)
    return _remove(job, command, now, rules)


# -- the runner's side --------------------------------------------------------------------

_STALE: Final = Refusal(
    RefusalCode.STALE_CLAIM, "this claim is over: the token is not the job's current one"
)


def _holds(job: Job, client: str, token: bytes) -> bool:
    return job.runner == client and job.token == token


def _claim(job: Job, command: Claim, now: Now, rules: Rules) -> Decision:
    fence = job.fence + 1
    started = replace(
        job,
        state=STARTED,
        version=job.version + 1,
        current_attempt=job.current_attempt + 1,
        runner=command.client,
        token=fence.to_bytes(8, "big") + command.nonce,
        fence=fence,
        end=End.NONE,
        started_at=now.ms,
        progress=None,
    )
    return Applied(job, started)


def _report_progress(job: Job, command: ReportProgress, now: Now, rules: Rules) -> Decision:
    if not _holds(job, command.client, command.token):
        return _STALE
    progress = command.progress
    entry = LogEntry(
        job.log_end, now.ms, job.current_attempt, "progress", progress.text, progress.percent
    )
    return _append(replace(job, progress=progress), job, (entry,), rules)


def _write_log(job: Job, command: WriteLog, now: Now, rules: Rules) -> Decision:
    if not _holds(job, command.client, command.token):
        return _STALE
    entries = tuple(
        LogEntry(offset, now.ms, job.current_attempt, "log", message)
        for offset, message in enumerate(command.messages, job.log_end)
    )
    return _append(job, job, entries, rules)


def _append(job: Job, before: Job, entries: tuple[LogEntry, ...], rules: Rules) -> Applied:
    log_end = job.log_end + len(entries)
    log_first = max(job.log_first, log_end - rules.max_log_entries)
    changed = replace(job, version=job.version + 1, log_end=log_end, log_first=log_first)
    return Applied(before, changed, entries=entries)


def _complete(job: Job, command: Complete, now: Now, rules: Rules) -> Decision:
    if not _holds(job, command.client, command.token):
        return _STALE
    done = replace(job, end=End.COMPLETED, outcome=command.outcome)
    return _finish(job, done, COMPLETE, None, now, rules)


def _fail(job: Job, command: Fail, now: Now, rules: Rules) -> Decision:
    if not _holds(job, command.client, command.token):
        return _STALE
    failed = replace(job, end=End.FAILED, failed=job.failed + 1)
    if command.retry and job.current_attempt < job.attempts:
        return Applied(job, _requeue(failed, now, order=now.order))
    return _finish(job, replace(failed, outcome=command.outcome), FAILED, Reason.FAILED, now, rules)


def _release(job: Job, command: Release, now: Now, rules: Rules) -> Decision:
    return _give_back(job, command, End.RELEASED, now)


def _take_back(job: Job, command: TakeBack, now: Now, rules: Rules) -> Decision:
    return _give_back(job, command, End.TAKEN_BACK, now)


def _give_back(job: Job, command: Release | TakeBack, end: End, now: Now) -> Decision:
    """The job keeps its place in the queue and no attempt is spent."""
    if not _holds(job, command.client, command.token):
        return _STALE
    given_back = replace(
        job,
        end=end,
        released=job.released + 1,
        current_attempt=job.current_attempt - 1,
    )
    return Applied(job, _requeue(given_back, now, order=job.order))


def _lose(job: Job, command: RunnerGone, now: Now, rules: Rules) -> Decision:
    if job.runner != command.client:
        return Applied(job, job)
    lost = replace(job, end=End.LOST, lost=job.lost + 1)
    if job.current_attempt < job.attempts:
        return Applied(job, _requeue(lost, now, order=job.order))
    return _finish(job, lost, FAILED, Reason.RUNNER_TIMEOUT, now, rules)


def _requeue(job: Job, now: Now, *, order: int) -> Job:
    return replace(job, state=QUEUED, version=job.version + 1, queued_at=now.ms, order=order)


def _repeat_of(end: End) -> Callable[[Job, Complete | Fail | Release, Now, Rules], Decision]:
    """The same end of the same claim again is answered like the first time."""

    def repeat(job: Job, command: Complete | Fail | Release, now: Now, rules: Rules) -> Decision:
        if job.end is end and _holds(job, command.client, command.token):
            return Applied(job, job)
        return _STALE

    return repeat


def _too_late(job: Job, command: Command, now: Now, rules: Rules) -> Decision:
    return _STALE


# -- the end and its handlers -------------------------------------------------------------


def _finish(
    before: Job, job: Job, state: State, reason: Reason | None, now: Now, rules: Rules
) -> Applied:
    finished = replace(
        job, state=state, reason=reason, version=before.version + 1, finished_at=now.ms
    )
    return _settle(before, finished, now, rules)


def _settle(before: Job, job: Job, now: Now, rules: Rules) -> Applied:
    """A finished job that nobody waits for goes: COMPLETE at once, FAILED after its retention."""
    if job.handlers or job.persistent:
        return Applied(before, job)
    if job.state is COMPLETE:
        return Applied(before, job, removed=True)
    return Applied(before, replace(job, expires_at=job.finished_at + rules.failed_retention_ms))


def _handle(job: Job, command: Handle, now: Now, rules: Rules) -> Decision:
    if command.client in job.handlers:
        return Applied(job, job)
    if len(job.handlers) >= MAX_HANDLERS:
        return Refusal(
            RefusalCode.TOO_MANY, f"a job has at most {MAX_HANDLERS} handlers", job.state
        )
    added = replace(
        job, handlers=(*job.handlers, command.client), version=job.version + 1, expires_at=0
    )
    return Applied(job, added)


def _without(job: Job, client: str) -> Job:
    left = tuple(handler for handler in job.handlers if handler != client)
    return replace(job, handlers=left, version=job.version + 1)


def _handled(job: Job, command: Handled, now: Now, rules: Rules) -> Decision:
    if command.client not in job.handlers:
        return Refusal(RefusalCode.NOT_HANDLER, "this client does not handle the job", job.state)
    left = _without(job, command.client)
    return Applied(job, left, removed=not left.handlers and not left.persistent)


def _handler_gone(job: Job, command: HandlerGone, now: Now, rules: Rules) -> Decision:
    if command.client not in job.handlers:
        return Applied(job, job)
    left = _without(job, command.client)
    return _settle(job, left, now, rules) if job.state.finished else Applied(job, left)


# -- the table ----------------------------------------------------------------------------

Transition = Callable[..., Decision]

TABLE: Final[dict[tuple[State | None, type[Command]], Transition]] = {
    (None, Create): _create,
    (QUEUED, Create): _create_again,
    (STARTED, Create): _create_again,
    (COMPLETE, Create): _create_again,
    (FAILED, Create): _create_again,
    (QUEUED, Claim): _claim,
    (QUEUED, Release): _repeat_of(End.RELEASED),
    (STARTED, Release): _release,
    (COMPLETE, Release): _too_late,
    (FAILED, Release): _too_late,
    (QUEUED, TakeBack): _too_late,
    (STARTED, TakeBack): _take_back,
    (COMPLETE, TakeBack): _too_late,
    (FAILED, TakeBack): _too_late,
    (QUEUED, ReportProgress): _too_late,
    (STARTED, ReportProgress): _report_progress,
    (COMPLETE, ReportProgress): _too_late,
    (FAILED, ReportProgress): _too_late,
    (QUEUED, WriteLog): _too_late,
    (STARTED, WriteLog): _write_log,
    (COMPLETE, WriteLog): _too_late,
    (FAILED, WriteLog): _too_late,
    (QUEUED, Complete): _too_late,
    (STARTED, Complete): _complete,
    (COMPLETE, Complete): _repeat_of(End.COMPLETED),
    (FAILED, Complete): _too_late,
    (QUEUED, Fail): _repeat_of(End.FAILED),
    (STARTED, Fail): _fail,
    (COMPLETE, Fail): _too_late,
    (FAILED, Fail): _repeat_of(End.FAILED),
    (STARTED, RunnerGone): _lose,
    (QUEUED, Handle): _handle,
    (STARTED, Handle): _handle,
    (COMPLETE, Handle): _handle,
    (FAILED, Handle): _handle,
    (COMPLETE, Handled): _handled,
    (FAILED, Handled): _handled,
    (QUEUED, HandlerGone): _handler_gone,
    (STARTED, HandlerGone): _handler_gone,
    (COMPLETE, HandlerGone): _handler_gone,
    (FAILED, HandlerGone): _handler_gone,
    (QUEUED, Remove): _remove,
    (STARTED, Remove): _remove,
    (COMPLETE, Remove): _remove,
    (FAILED, Remove): _remove,
    (FAILED, Expire): _expire,
}

"""Why a job does not run, for programs and in words for people: from what was read alone."""

from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from packhorse_broker.durations import format_ms
from packhorse_broker.job_views import error_of
from packhorse_broker.jobs.deadlines import deadline
from packhorse_broker.jobs.model import (
    PLAIN_COURSE,
    AttemptRecord,
    CancelRequest,
    End,
    Expired,
    Job,
    Reason,
    State,
)
from packhorse_broker.store.registry import LastResponse
from packhorse_broker.store.takes import NOBODY
from packhorse_broker.store.types import PLAIN, TypeSettings
from packhorse_protocol.limits import MAX_TEXT_CHARS
from packhorse_protocol.messages import Cause

CauseCode: TypeAlias = Literal[
    "delayed",
    "retry_wait",
    "behind",
    "paused",
    "no_runner",
    "no_room",
    "running",
    "runner_silent",
    "cancelling",
    "finished",
    "next",
]

SILENT_SHARE: Final = 2 / 3
"""Of its timeout: a runner that has said nothing for so long has missed two heartbeats."""

_LAST_TIME_MS: Final = 253_402_300_799_000
"""The end of the year 9999: later times have no date here."""

_WHOLE_SECONDS_MS: Final = 10_000
_WHOLE_MINUTES_MS: Final = 3_600_000
"""From here on people are told no milliseconds, and no seconds."""

_TIMEOUTS: Final = {
    Expired.IDLE: "idle timeout",
    Expired.RUN: "run timeout",
    Expired.TOTAL: "total timeout",
}


class Facts(Struct, frozen=True, kw_only=True):
    """What is to be known beside the record; of a job that is not in that state, the defaults."""

    now_ms: int
    late_ms: int
    """How much later than this broker the store may know of a client's last response."""
    ahead: int = 0
    """QUEUED: jobs before it in its queue."""
    settings: TypeSettings = PLAIN
    taken: tuple[int, int] = NOBODY
    """QUEUED: runners that take the type, and their free places."""
    last_attempt: AttemptRecord | None = None
    """PENDING: how its newest attempt ended."""
    runner: LastResponse | None = None
    """STARTED: when its runner was last heard of; None: its registration is gone."""


def causes_of(job: Job, facts: Facts) -> tuple[Cause, ...]:
    """What keeps the job from running, the weightiest first; `next` where nothing does."""
    if job.state is State.PENDING:
        return (_delay(job, facts),)
    if job.state is State.QUEUED:
        return tuple(_hindrances(job, facts)) or (_next(),)
    if job.state is State.STARTED:
        return tuple(_of_started(job, facts))
    return (_end(job),)


# -- waiting


def _delay(job: Job, facts: Facts) -> Cause:
    until = job.delayed_until
    when = f"in {_left(until, facts)}, at {_time(until)}"
    if not job.current_attempt:
        return _cause("delayed", f"it is delayed: due {when}", until=until)
    ended = _how_it_ended(facts.last_attempt)
    return _cause(
        "retry_wait",
        f"it is tried again {when}: attempt {_attempt(job)} {ended}",
        until=until,
        since=facts.last_attempt.finished_at if facts.last_attempt is not None else 0,
    )


def _how_it_ended(attempt: AttemptRecord | None) -> str:
    if attempt is None:
        return "did not end it"
    if attempt.end is End.LOST:
        return f"lost its runner {attempt.runner!r}"
    if attempt.end is End.TIMED_OUT:
        return f"was ended by its {_TIMEOUTS.get(attempt.expired, 'timeout')}"
    error = error_of(attempt)
    told = ": ".join(part for part in (error.type, error.message) if part) if error else ""
    return f"failed ({told})" if told else "failed"


def _hindrances(job: Job, facts: Facts) -> list[Cause]:
    found: list[Cause] = []
    if not facts.settings.gives_out(facts.now_ms):
        found.append(_paused(job, facts.settings))
    runners, free_places = facts.taken
    if not runners:
        found.append(_cause("no_runner", f"no connected runner takes the type {job.type!r}"))
    elif free_places <= 0:
        have = "runner that takes" if runners == 1 else "runners that take"
        has = "has" if runners == 1 else "have"
        found.append(
            _cause("no_room", f"the {runners} {have} the type {job.type!r} {has} no free place")
        )
    if facts.ahead:
        count = "1 job is" if facts.ahead == 1 else f"{facts.ahead} jobs are"
        found.append(
            _cause("behind", f"{count} before it in the queue of {job.type!r}", jobs=facts.ahead)
        )
    return found


def _paused(job: Job, settings: TypeSettings) -> Cause:
    until = settings.paused_until
    return _cause(
        "paused",
        f"the type {job.type!r} is paused"
        + (f" until {_time(until)}" if until else "")
        + (f", by {settings.paused_by!r}" if settings.paused_by else "")
        + (f": {settings.paused_why}" if settings.paused_why else ""),
        until=until,
        since=settings.paused_at,
        client=settings.paused_by,
    )


def _next() -> Cause:
    return _cause("next", "nothing is in its way: it is the next to be claimed")


# -- running


def _of_started(job: Job, facts: Facts) -> list[Cause]:
    course = job.course or PLAIN_COURSE
    found = [_cancelling(course.cancel, facts)] if course.cancel is not None else []
    silence = _silence(job, facts)
    if silence is not None:
        found.append(silence)
    return [*found, _running(job, facts)]


def _running(job: Job, facts: Facts) -> Cause:
    until, which = deadline(job)
    message = f"{job.runner!r} runs attempt {_attempt(job)} for {_gone(job.started_at, facts)}"
    if which is not Expired.NONE:
        message += f"; its {_TIMEOUTS[which]} is over in {_left(until, facts)}"
    return _cause("running", message, until=until, since=job.started_at, client=job.runner)


def _silence(job: Job, facts: Facts) -> Cause | None:
    heard = facts.runner
    if heard is None:
        message = f"its runner {job.runner!r} is gone: the attempt is about to be given up"
        return _cause("runner_silent", message, client=job.runner)
    if facts.now_ms - heard.at_ms <= SILENT_SHARE * heard.timeout_ms + facts.late_ms:
        return None
    until = heard.at_ms + heard.timeout_ms
    return _cause(
        "runner_silent",
        f"its runner {job.runner!r} was last heard of {_gone(heard.at_ms, facts)} ago: in "
        f"{_left(until, facts)} it is given up",
        until=until,
        since=heard.at_ms,
        client=job.runner,
    )


def _cancelling(cancel: CancelRequest, facts: Facts) -> Cause:
    why = f" ({cancel.why})" if cancel.why else ""
    return _cause(
        "cancelling",
        f"{cancel.by!r} asked {_gone(cancel.at, facts)} ago to cancel it{why}: in "
        f"{_left(cancel.until, facts)} it is taken from its runner",
        until=cancel.until,
        since=cancel.at,
        client=cancel.by,
    )


# -- finished


def _end(job: Job) -> Cause:
    return _cause("finished", f"{_ending(job)}, at {_time(job.finished_at)}", since=job.finished_at)


def _ending(job: Job) -> str:
    course = job.course or PLAIN_COURSE
    if job.reason is None:
        return "it is complete"
    if job.reason is Reason.CANCELLED:
        cancel = course.cancel
        why = f" ({cancel.why})" if cancel is not None and cancel.why else ""
        return f"it was cancelled{f' by {cancel.by!r}' if cancel is not None else ''}{why}"
    if job.reason is Reason.JOB_TIMEOUT:
        return f"it was ended by its {_TIMEOUTS.get(course.expired, 'timeout')}"
    if job.reason is Reason.RUNNER_TIMEOUT:
        return f"it failed: attempt {_attempt(job)} lost its runner {job.runner!r}"
    return f"it failed in attempt {_attempt(job)}"


# -- words


def _cause(
    code: CauseCode,
    message: str,
    *,
    until: int = 0,
    since: int = 0,
    jobs: int = 0,
    client: str | None = None,
) -> Cause:
    if len(message) > MAX_TEXT_CHARS:
        message = f"{message[: MAX_TEXT_CHARS - 3]}..."
    return Cause(
        code=code, message=message, until=until, since=since, jobs=jobs, client=client or None
    )


def _attempt(job: Job) -> str:
    return f"{job.current_attempt} of {job.attempts}"


def _left(until_ms: int, facts: Facts) -> str:
    return _span(until_ms - facts.now_ms)


def _gone(since_ms: int, facts: Facts) -> str:
    return _span(facts.now_ms - since_ms)


def _span(duration_ms: int) -> str:
    """A duration as exact as people want it."""
    unit_ms = 1
    if duration_ms >= _WHOLE_MINUTES_MS:
        unit_ms = 60_000
    elif duration_ms >= _WHOLE_SECONDS_MS:
        unit_ms = 1_000
    return format_ms(max(duration_ms - duration_ms % unit_ms, 0))


def _time(at_ms: int) -> str:
    if at_ms > _LAST_TIME_MS:
        return f"{at_ms} ms"
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"

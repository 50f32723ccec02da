"""When time alone moves a job: read from its record, and from the outages that do not count."""

from collections.abc import Sequence

from packhorse_broker.jobs.model import PLAIN_COURSE, Expired, Job, State
from packhorse_broker.jobs.outages import Outage, put_off
from packhorse_broker.jobs.terms import PLAIN_TERMS, Scope


def due_at(job: Job, outages: Sequence[Outage] = ()) -> int:
    """When a timeout, a grace time or the retention of the job is over, in ms; 0: never.

    The end of a delay is not among them: see `Job.delayed_until`.
    """
    return deadline(job, outages)[0]


def deadline(job: Job, outages: Sequence[Outage] = ()) -> tuple[int, Expired]:
    """The same, and which timeout it is: NONE for a grace time or a retention."""
    if job.terms is None and job.course is None:
        return (job.expires_at, Expired.NONE) if job.state.finished else (0, Expired.NONE)
    return min(_deadlines(job, outages), key=_time, default=(0, Expired.NONE))


def passed(job: Job, now_ms: int, outages: Sequence[Outage] = ()) -> Expired | None:
    """What is over by now, NONE for a grace time or a retention; None: nothing is.

    Of several the weightiest: what ends the job by request, then what ends it for good.
    """
    return next((what for time, what in _deadlines(job, outages) if time <= now_ms), None)


def _deadlines(job: Job, outages: Sequence[Outage]) -> list[tuple[int, Expired]]:
    """All that are set, the weightiest first."""
    if job.state.finished:
        return [(job.expires_at, Expired.NONE)] if job.expires_at else []
    terms = job.terms or PLAIN_TERMS
    course = job.course or PLAIN_COURSE
    times: list[tuple[int, int, Expired]] = []
    if job.state is State.STARTED and course.cancel is not None:
        times.append((course.cancel.at, course.cancel.until, Expired.NONE))
    times.append((course.total_until - terms.total_ms, course.total_until, Expired.TOTAL))
    if job.state is State.STARTED:
        # When it was extended last is not in the record. Taken for as long ago as it may run from
        # its claim, so long, or what was left of it, is what it has after an outage at least.
        since = max(job.started_at, course.run_until - terms.run_ms)
        times.append((since, course.run_until, Expired.RUN))
    elif job.state is State.QUEUED and terms.idle_ms:
        times.append((job.queued_at, job.queued_at + terms.idle_ms, Expired.IDLE))
    return [(put_off(until, since, outages), what) for since, until, what in times if until]


def _time(deadline: tuple[int, Expired]) -> int:
    return deadline[0]


def holds_unique_key(job: Job) -> bool:
    """Whether the job's record alone keeps its unique key from others; one that is held for a
    window is kept by the key itself, which the store lets go when the window is over."""
    unique = job.terms.unique if job.terms is not None else None
    if unique is None or unique.scope is Scope.WINDOW:
        return False
    if unique.scope is Scope.UNTIL_STARTED:
        return job.fence == 0 and not job.state.finished
    return not job.state.finished

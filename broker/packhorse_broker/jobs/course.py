"""The uncommon part of a job's record: there for the jobs that need it, and for no others."""

from typing import Any

from msgspec.structs import replace

from packhorse_broker.jobs.model import PLAIN_COURSE, Course, Expired, Job
from packhorse_broker.jobs.terms import PLAIN_TERMS


def altered(course: Course | None, **changes: Any) -> Course | None:
    """The course with changes to its fields; None where nothing uncommon is left in it."""
    changed = replace(course or PLAIN_COURSE, **changes)
    return changed if changed != PLAIN_COURSE else None


def of_queued(job: Job, now_ms: int) -> Course | None:
    """Of a job that becomes QUEUED: it waits for no time, and its whole life has begun."""
    if job.terms is None and job.course is None:
        return None
    total_until = job.course.total_until if job.course is not None else 0
    return altered(job.course, delayed_until=0, total_until=total_until or total_end(job, now_ms))


def of_claimed(job: Job, now_ms: int) -> Course | None:
    """Of a job that has got a runner: its run timeout begins, what ended the last one is past."""
    run_ms = (job.terms or PLAIN_TERMS).run_ms
    return altered(job.course, expired=Expired.NONE, run_until=now_ms + run_ms if run_ms else 0)


def of_ended_run(course: Course | None) -> Course | None:
    """Of a job that its runner holds no more."""
    return altered(course, run_until=0) if course is not None else None


def total_end(job: Job, now_ms: int) -> int:
    """When the total timeout of a job that can first run now is over; 0: it has none."""
    total_ms = job.terms.total_ms if job.terms is not None else 0
    return now_ms + total_ms if total_ms else 0

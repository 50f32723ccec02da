"""A job without a runner: QUEUED, or PENDING until its time has come."""

from msgspec.structs import replace

from packhorse_broker.jobs.commands import Due
from packhorse_broker.jobs.course import altered, of_queued
from packhorse_broker.jobs.deadlines import passed
from packhorse_broker.jobs.endings import finish_failed
from packhorse_broker.jobs.model import Applied, Decision, Expired, Job, Now, Reason, Rules, State


def queued(job: Job, now: Now, order: int) -> Job:
    """The job, one version on, at the place `order` of its type's queue."""
    return replace(
        job,
        state=State.QUEUED,
        version=job.version + 1,
        order=order,
        queued_at=now.ms,
        course=of_queued(job, now.ms),
    )


def pending(job: Job, until: int) -> Job:
    """The job, one version on, to be queued at `until`."""
    return replace(
        job,
        state=State.PENDING,
        version=job.version + 1,
        course=altered(job.course, delayed_until=until),
    )


def delay_over(job: Job, command: Due, now: Now, rules: Rules) -> Decision:
    expired = passed(job, now.ms, command.outages.at(now.ms))
    if expired is not None:
        return _expire(job, expired, now, rules)
    if job.delayed_until > now.ms:
        return Applied(job, job)
    return Applied(job, queued(job, now, now.order))


def wait_over(job: Job, command: Due, now: Now, rules: Rules) -> Decision:
    expired = passed(job, now.ms, command.outages.at(now.ms))
    return Applied(job, job) if expired is None else _expire(job, expired, now, rules)


def _expire(job: Job, expired: Expired, now: Now, rules: Rules) -> Applied:
    course = altered(job.course, delayed_until=0, expired=expired)
    return finish_failed(job, job, Reason.JOB_TIMEOUT, now, rules, course=course)

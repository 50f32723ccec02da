"""A job comes into being, or gets the content of another before it has started."""

from msgspec.structs import replace

from packhorse_broker.jobs.byhand import wrong_state
from packhorse_broker.jobs.commands import Create, Replace
from packhorse_broker.jobs.course import altered
from packhorse_broker.jobs.handlers import MAX_HANDLERS, too_many, united, with_handlers
from packhorse_broker.jobs.model import (
    PLAIN_COURSE,
    Applied,
    Course,
    Decision,
    Job,
    Now,
    Refusal,
    RefusalCode,
    Replacement,
    Rules,
    State,
)
from packhorse_broker.jobs.terms import PLAIN_TERMS, Terms

PENDING, QUEUED = State.PENDING, State.QUEUED


def create(_: None, command: Create, now: Now, rules: Rules) -> Decision:
    course = None
    if command.terms or command.delay_ms or command.delay_until or command.group:
        course = _course(None, command, _groups(command), now)
    delayed = course is not None and course.delayed_until > 0
    # By position as far as it reads well: CPython makes a dictionary for a call with more than
    # 15 names, which costs twice as much as all the rest here.
    job = Job(
        command.id,
        command.type,
        PENDING if delayed else QUEUED,
        1,
        now.order,
        attempts=command.attempts,
        persistent=command.persistent,
        handlers=(command.handler,) if command.handler is not None else (),
        key=command.key,
        created_by=command.created_by,
        created_at=now.ms,
        queued_at=0 if delayed else now.ms,
        fingerprint=command.fingerprint,
        body=command.body,
        terms=command.terms,
        course=course,
    )
    return Applied(None, job)


def create_again(job: Job, command: Create, now: Now, rules: Rules) -> Decision:
    if command.fingerprint is None or command.fingerprint != job.fingerprint:
        return Refusal(
            RefusalCode.CONFLICT, "a job with this id and other content exists", job.state
        )
    return with_handlers(job, _handlers(command), _groups(command))


def replace_content(job: Job, command: Replace, now: Now, rules: Rules) -> Decision:
    """Handlers are added, never taken away; the delay begins anew. What tells the creator's own
    repetition, and for how long the unique key is held, stay as the creator chose. The same
    replacement again is answered like the first time, whatever has become of the job."""
    by = command.by
    if repeats(job, by):
        return with_handlers(job, _handlers(by), _groups(by))
    if job.fence:
        return Refusal(RefusalCode.WRONG_STATE, "the job has been started before", job.state)
    if job.state.finished:
        return wrong_state(job)
    handlers = united(job.handlers, _handlers(by))
    groups = united(job.groups, _groups(by))
    if len(handlers) + len(groups) > MAX_HANDLERS:
        return too_many(job)
    course = _course(job.course, by, groups, now)
    delayed = course is not None and course.delayed_until > 0
    changed = replace(
        job,
        state=PENDING if delayed else QUEUED,
        version=job.version + 1,
        order=job.order if delayed else now.order,
        attempts=by.attempts,
        persistent=by.persistent,
        handlers=handlers,
        key=by.key,
        queued_at=job.queued_at if delayed else now.ms,
        body=by.body,
        body_bytes=0,
        terms=_terms(job, by),
        course=altered(course, replaced_by=_replacement(by)),
    )
    return Applied(job, changed)


def repeats(job: Job, by: Create) -> bool:
    """Whether it is this create that gave the job the content which it has."""
    replacement = _replacement(by)
    return replacement is not None and replacement == (job.course or PLAIN_COURSE).replaced_by


def _replacement(by: Create) -> Replacement | None:
    return Replacement(by.id, by.fingerprint) if by.fingerprint is not None else None


def _terms(job: Job, by: Create) -> Terms | None:
    unique = (job.terms or PLAIN_TERMS).unique
    terms = replace(by.terms or PLAIN_TERMS, unique=unique)
    return terms if terms != PLAIN_TERMS else None


def _course(
    known: Course | None, command: Create, groups: tuple[str, ...], now: Now
) -> Course | None:
    """With the delay that the command asks for, or else with the total timeout begun."""
    until = max(command.delay_until, now.ms + command.delay_ms)
    if until > now.ms:
        return altered(known, groups=groups, delayed_until=until, total_until=0)
    total_ms = command.terms.total_ms if command.terms is not None else 0
    total_until = now.ms + total_ms if total_ms else 0
    return altered(known, groups=groups, delayed_until=0, total_until=total_until)


def _handlers(command: Create) -> tuple[str, ...]:
    return (command.handler,) if command.handler is not None else ()


def _groups(command: Create) -> tuple[str, ...]:
    return (command.group,) if command.group is not None else ()

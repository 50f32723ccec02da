"""Who is to learn of a job's outcome: clients, and groups of which any member may deal with it."""

from typing import Final

from msgspec.structs import replace

from packhorse_broker.jobs.commands import Handle, Handled, HandlerGone
from packhorse_broker.jobs.course import altered
from packhorse_broker.jobs.endings import kept_ms
from packhorse_broker.jobs.model import (
    Applied,
    Decision,
    Job,
    Now,
    Refusal,
    RefusalCode,
    Rules,
)

MAX_HANDLERS: Final = 256
"""Handlers and groups of one job: each is an entry in the record and in an index, written at
every change."""


def handle(job: Job, command: Handle, now: Now, rules: Rules) -> Decision:
    if command.group is not None:
        return with_handlers(job, (), (command.group,))
    return with_handlers(job, (command.client,), ())


def with_handlers(job: Job, clients: tuple[str, ...], groups: tuple[str, ...]) -> Decision:
    """The job with these handlers besides its own; one that is handled does not expire."""
    clients = united(job.handlers, clients)
    groups = united(job.groups, groups)
    if clients is job.handlers and groups is job.groups:
        return Applied(job, job)
    if len(clients) + len(groups) > MAX_HANDLERS:
        return too_many(job)
    course = job.course
    if groups is not job.groups:
        course = altered(course, groups=groups)
    added = replace(job, handlers=clients, course=course, version=job.version + 1, expires_at=0)
    return Applied(job, added)


def united(known: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    """Both without repetition, in order; `known` itself where there is nothing new."""
    new = tuple(name for name in more if name not in known)
    return (*known, *new) if new else known


def too_many(job: Job) -> Refusal:
    return Refusal(
        RefusalCode.TOO_MANY,
        f"a job has at most {MAX_HANDLERS} handlers and groups of handlers",
        job.state,
    )


def handled(job: Job, command: Handled, now: Now, rules: Rules) -> Decision:
    """When the last one has dealt with the outcome, the job goes, unless it is persistent."""
    if command.group is not None:
        if command.group not in job.groups:
            return Refusal(RefusalCode.NOT_HANDLER, "this group does not handle the job", job.state)
        groups = tuple(group for group in job.groups if group != command.group)
        left = replace(job, course=altered(job.course, groups=groups), version=job.version + 1)
    elif command.client not in job.handlers:
        return Refusal(RefusalCode.NOT_HANDLER, "this client does not handle the job", job.state)
    else:
        left = _without(job, command.client)
    return Applied(job, left, removed=not left.awaited and not left.persistent)


def leave(job: Job, command: HandlerGone, now: Now, rules: Rules) -> Decision:
    """A finished job whose last handler has left is kept as if it never had one."""
    if command.client not in job.handlers:
        return Applied(job, job)
    left = _without(job, command.client)
    if not job.state.finished:
        return Applied(job, left)
    keep = kept_ms(left, left.state, rules)
    if keep is None:
        return Applied(job, left)
    if not keep:
        return Applied(job, left, removed=True)
    return Applied(job, replace(left, expires_at=left.finished_at + keep))


def _without(job: Job, client: str) -> Job:
    left = tuple(handler for handler in job.handlers if handler != client)
    return replace(job, handlers=left, version=job.version + 1)

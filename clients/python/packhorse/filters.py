"""Which jobs are meant, by what they have in common."""

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Final, TypedDict, get_args

from packhorse.errors import InvalidValue
from packhorse.kinds_to_read import JobsWanted
from packhorse.lanes import Lane
from packhorse.moments import Moment, epoch_ms
from packhorse.terms import one_of
from packhorse_protocol.messages import Cursor, JobPage, JobSummary, Reason, State

STATES: Final[tuple[State, ...]] = get_args(State)
"""All states, in the order of a job's life."""

REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
"""Why a job may be FAILED."""

RETRIED_REASONS: Final[tuple[Reason, ...]] = ("FAILED", "RUNNER_TIMEOUT", "JOB_TIMEOUT")
"""What `retry_matching` retries unless told otherwise: a cancelled job is not wanted back."""

PAGE_JOBS: Final = 500
"""Jobs asked for at once: half of what the protocol allows."""


class Which(TypedDict, total=False):
    """What jobs may be chosen by, as keywords; one that is left out is not asked for.

    `since` and `until` (exclusive) bound the time that belongs to the job's state: when a PENDING
    one is due, a QUEUED one was queued, a STARTED one started, a finished one finished.
    """

    states: State | Iterable[State]
    label: str | None
    unique_key: str | None
    since: Moment | None
    until: Moment | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """What became of jobs that matched: `changed` of those `found`.

    The others had gone on, or were gone, before it was their turn, or are `duplicates`. A dry run
    changes none.
    """

    found: int
    changed: int
    duplicates: int = 0
    """Jobs that can't be retried while another job holds their unique key."""


def reasons_of(reasons: Reason | Iterable[Reason]) -> tuple[Reason, ...]:
    """One reason or several. Raises `InvalidValue` for what is none."""
    found = (reasons,) if isinstance(reasons, str) else tuple(reasons)
    for reason in found:
        one_of(reason, REASONS, "reasons")
    return found


def states_of(states: State | Iterable[State]) -> tuple[State, ...]:
    """One state or several. Raises `InvalidValue` for what is none."""
    found = (states,) if isinstance(states, str) else tuple(states)
    for state in found:
        one_of(state, STATES, "states")
    return found


def wanted(
    job_type: str | None,
    which: Which,
    *,
    newest_first: bool = False,
    cursor: Cursor | None = None,
    limit: int = PAGE_JOBS,
) -> JobsWanted:
    """One page of those that match.

    Raises `InvalidValue`, and `TypeError` for what jobs can't be chosen by: a misspelt name would
    choose them all.
    """
    for name in which:
        if name not in Which.__annotations__:
            raise TypeError(f"{name!r} is nothing by which jobs are chosen")
    since, until = which.get("since"), which.get("until")
    return JobsWanted(
        type=job_type,
        states=states_of(which.get("states", ())),
        label=which.get("label"),
        unique_key=which.get("unique_key"),
        since=0 if since is None else epoch_ms(since, "since"),
        until=None if until is None else epoch_ms(until, "until"),
        newest_first=newest_first,
        cursor=cursor,
        limit=limit,
    )


async def pages(
    lane: Lane[JobsWanted, JobPage], first: JobsWanted, limit: int | None
) -> AsyncGenerator[tuple[JobSummary, ...], None]:
    """Page after page, with at most `limit` jobs in all. Raises `InvalidValue`."""
    if limit is not None and limit < 1:
        raise InvalidValue(f"limit: {limit} must be at least 1")
    cursor = first.cursor
    while True:
        most = PAGE_JOBS if limit is None else min(limit, PAGE_JOBS)
        page = await lane.submit(first._replace(cursor=cursor, limit=most))
        if page.jobs:
            yield page.jobs
        cursor = page.cursor
        if limit is not None:
            limit -= len(page.jobs)
        if cursor is None or limit == 0:
            return

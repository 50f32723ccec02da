"""Kinds of requests by which somebody steers jobs and types; each is recorded with who and why."""

from typing import Final, NamedTuple

from packhorse.kinds import NAME_BYTES
from packhorse.lanes import Gone, Kind
from packhorse_protocol.errors import Code
from packhorse_protocol.messages import (
    Cancel,
    Configure,
    Done,
    Ended,
    Remove,
    Retry,
    RunNow,
    State,
    TypeChange,
)


class Cancelled(NamedTuple):
    """A job to cancel; a running one within the grace time, None: the broker's."""

    job: str
    grace_ms: int | None
    why: str


class Retried(NamedTuple):
    """A FAILED job to queue again, with so many more attempts."""

    job: str
    attempts: int
    why: str


class Hurried(NamedTuple):
    """A PENDING job to queue at once."""

    job: str
    why: str


class Removed(NamedTuple):
    """A job to remove if it is in one of these states; none named: in any."""

    job: str
    states: tuple[State, ...]
    why: str


class Changed(NamedTuple):
    """Settings of a type to change."""

    change: TypeChange
    why: str


_QUEUED_BEFORE: Final = Gone(
    result=Ended(state="QUEUED"), codes=frozenset({Code.WRONG_STATE, Code.NOT_FOUND})
)
"""Of a repeated request: the first one was carried out, and the job has gone on since."""

CANCEL: Final[Kind[Cancelled, Ended]] = Kind(
    build=lambda request_id, items: Cancel(
        id=request_id,
        jobs=tuple(item.job for item in items),
        grace_ms=items[0].grace_ms,
        why=items[0].why,
    ),
    subject=lambda item: item.job,
    said_once=lambda item: item[1:],
    gone=Gone(result=Ended(state="FAILED")),
)
RETRY: Final[Kind[Retried, Ended]] = Kind(
    build=lambda request_id, items: Retry(
        id=request_id,
        jobs=tuple(item.job for item in items),
        attempts=items[0].attempts,
        why=items[0].why,
    ),
    subject=lambda item: item.job,
    said_once=lambda item: item[1:],
    gone=_QUEUED_BEFORE,
)
RUN_NOW: Final[Kind[Hurried, Ended]] = Kind(
    build=lambda request_id, items: RunNow(
        id=request_id, jobs=tuple(item.job for item in items), why=items[0].why
    ),
    subject=lambda item: item.job,
    said_once=lambda item: item.why,
    gone=_QUEUED_BEFORE,
)
REMOVE: Final[Kind[Removed, Done]] = Kind(
    build=lambda request_id, items: Remove(
        id=request_id,
        jobs=tuple(item.job for item in items),
        states=items[0].states,
        why=items[0].why,
    ),
    subject=lambda item: item.job,
    said_once=lambda item: item[1:],
    gone=Gone(result=Done()),
)
CONFIGURE: Final[Kind[Changed, Done]] = Kind(
    build=lambda request_id, items: Configure(
        id=request_id, types=tuple(item.change for item in items), why=items[0].why
    ),
    data_bytes=lambda _: NAME_BYTES,
    said_once=lambda item: item.why,
)

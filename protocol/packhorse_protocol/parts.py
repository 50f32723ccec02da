"""What messages are made of: the records within them, and the entries of an `ok`.

Each is a frozen record whose annotations hold the bounds of its fields. `SPEC.md` says what they
mean; `messages.py` has the messages themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias, TypeVar, dataclass_transform

from packhorse_protocol import limits
from packhorse_protocol.fields import (
    Attempts,
    Blob,
    Bounds,
    Count,
    DurationMs,
    Headers,
    LongText,
    Name,
    Percent,
    Text,
    TimeMs,
    Token,
)

T = TypeVar("T")
Record = TypeVar("Record")

Batch: TypeAlias = Annotated[tuple[T, ...], Bounds(low=1, high=limits.MAX_ARRAY_ITEMS)]
"""Items of a batch request: each succeeds or fails by itself, answered in the same order."""

Items: TypeAlias = Annotated[tuple[T, ...], Bounds(low=0, high=limits.MAX_ARRAY_ITEMS)]

State: TypeAlias = Literal["QUEUED", "STARTED", "COMPLETE", "FAILED"]
Reason: TypeAlias = Literal["FAILED", "RUNNER_TIMEOUT"]
Role: TypeAlias = Literal["create", "run", "handle", "read", "admin"]
ROLES: Final[tuple[Role, ...]] = ("create", "run", "handle", "read", "admin")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[Record]) -> type[Record]:
    """A frozen, slotted, keyword-only record."""
    return dataclass(frozen=True, slots=True, kw_only=True)(cls)


# -- parts of messages --------------------------------------------------------------------


@record
class NewJob:
    """What a creator says of a job. `payload` is opaque bytes."""

    type: Name
    payload: Blob = b""
    id: Name | None = None
    key: Name | None = None
    headers: Headers | None = None
    attempts: Attempts = 1
    persistent: bool = False


@record
class ClaimRef:
    """Names a claim: what its holder presents with everything it says of the job."""

    job: Name
    token: Token


@record
class ProgressReport:
    job: Name
    token: Token
    percent: Percent
    text: Text = ""


@record
class LogReport:
    job: Name
    token: Token
    messages: Batch[LongText]


@record
class Completion:
    job: Name
    token: Token
    result: Blob = b""


@record
class Error:
    """Why an attempt failed, in the runner's words."""

    type: Text = ""
    message: Text = ""
    traceback: LongText = ""


@record
class Failure:
    """`retry` false ends the job although attempts remain."""

    job: Name
    token: Token
    error: Error
    retry: bool = True


@record
class Problem:
    """Why a request or one item of it was refused; `errors.py` has the codes.

    `details` names what was wrong, where a program can use it: `path`, `limit`, `state`.
    """

    code: Text
    message: Text
    retryable: bool = False
    retry_after_ms: DurationMs | None = None
    details: Headers | None = None


@record
class Progress:
    percent: Percent
    text: Text = ""


@record
class LogEntry:
    """One line of a job's log. `offset` counts from 0 over the job's life, without gaps."""

    offset: Count
    time_ms: TimeMs
    attempt: Count
    type: Literal["log", "progress"]
    message: LongText
    percent: Percent | None = None


@record
class Limits:
    """What this broker accepts on this connection."""

    frame_bytes: Count
    payload_bytes: Count
    result_bytes: Count
    log_message_bytes: Count
    batch: Count
    in_flight: Count


@record
class Outcome:
    """How a job ended. COMPLETE has a `result`; FAILED a `reason`, maybe an `error` too."""

    job: Name
    type: Name
    state: Literal["COMPLETE", "FAILED"]
    version: Count
    reason: Reason | None = None
    result: Blob | None = None
    error: Error | None = None
    key: Name | None = None
    attempt: Count = 0
    created_at: TimeMs = 0
    started_at: TimeMs = 0
    finished_at: TimeMs = 0


@record
class Revocation:
    """A claim that is no longer this runner's; `reason` is for people and logs."""

    job: Name
    token: Token
    reason: Literal["removed", "taken_back"]


@record
class Event:
    """What became of a watched job. Events of one job come in the order of `version`.

    Between two events of a job some may have been left out (a slow reader gets the newest
    progress only); `log` entries that were left out can be read with `logs` by offset.
    """

    job: Name
    version: Count
    state: State | None = None
    progress: Progress | None = None
    log: Items[LogEntry] = ()
    removed: bool = False


# -- results: entries of an `ok` ------------------------------------------------------------


@record
class Done:
    """Nothing to add: it is so."""


@record
class Created:
    """`existed`: the same job had been created before, nothing was changed."""

    job: Name
    state: State
    existed: bool = False


@record
class JobView:
    """A job as `get` shows it. Times in ms, 0 or absent: has not happened."""

    id: Name
    type: Name
    state: State
    version: Count
    payload: Blob = b""
    key: Name | None = None
    headers: Headers | None = None
    attempts: Attempts = 1
    current_attempt: Count = 0
    persistent: bool = False
    runner: Name | None = None
    handlers: Items[Name] = ()
    created_by: Name | None = None
    created_at: TimeMs = 0
    queued_at: TimeMs = 0
    started_at: TimeMs = 0
    finished_at: TimeMs = 0
    failed: Count = 0
    lost: Count = 0
    released: Count = 0
    progress: Progress | None = None
    log_end: Count = 0
    reason: Reason | None = None
    result: Blob | None = None
    error: Error | None = None


@record
class Claim:
    """A job and the right to run it once. `fence` grows with each claim of the job."""

    job: Name
    token: Token
    fence: Count
    type: Name
    attempt: Count
    attempts: Attempts = 1
    payload: Blob = b""
    key: Name | None = None
    headers: Headers | None = None


@record
class Ended:
    """The state a job is in after its attempt ended, as the first answer told."""

    state: State


@record
class LogPage:
    """`entries` are those at or after the offset asked for that are still kept.

    `first` is the oldest offset kept, `end` the offset that the next entry will get.
    """

    entries: Items[LogEntry]
    first: Count
    end: Count


@record
class Watched:
    """The job as it is when the watch begins; events follow from there."""

    state: State
    version: Count
    progress: Progress | None = None
    log_first: Count = 0
    log_end: Count = 0


Counted: TypeAlias = Annotated[
    Mapping[Name, Mapping[State, Count]], Bounds(low=0, high=limits.MAX_MAP_ITEMS)
]


@record
class Counts:
    """Exact numbers of jobs per type and state; `more` when there are more types than fit."""

    types: Counted
    more: bool = False


@record
class BrokerInfo:
    broker: Name
    library: Text
    store: Text
    schema: Count
    started_ms: TimeMs
    now_ms: TimeMs
    connections: Count
    clients: Count

"""What messages are made of: the records within them.

Each is a frozen record whose annotations hold the bounds of its fields. `SPEC.md` says what they
mean; `results.py` has the entries of an `ok`, `messages.py` the messages themselves.
"""

from typing import Annotated, Final, Literal, TypeAlias, TypeVar

from packhorse_protocol import limits
from packhorse_protocol.fields import (
    Attempts,
    Blob,
    Bounds,
    Count,
    DelayMs,
    DueMs,
    DurationMs,
    FactorPercent,
    Headers,
    Label,
    LimitMs,
    LongText,
    Name,
    Percent,
    Priority,
    Text,
    TimeMs,
    Token,
)
from packhorse_protocol.records import record

T = TypeVar("T")

Batch: TypeAlias = Annotated[tuple[T, ...], Bounds(low=1, high=limits.MAX_ARRAY_ITEMS)]
"""Items of a batch request: each succeeds or fails by itself, answered in the same order."""

Items: TypeAlias = Annotated[tuple[T, ...], Bounds(low=0, high=limits.MAX_ARRAY_ITEMS)]

JsonSchema: TypeAlias = Annotated[bytes, Bounds(low=0, high=limits.MAX_SCHEMA_BYTES)]

Cursor: TypeAlias = Annotated[bytes, Bounds(low=1, high=limits.MAX_CURSOR_BYTES)]
"""Where a list goes on: made by the broker, opaque to the client."""

State: TypeAlias = Literal["PENDING", "QUEUED", "STARTED", "COMPLETE", "FAILED"]
Reason: TypeAlias = Literal["FAILED", "RUNNER_TIMEOUT", "JOB_TIMEOUT", "CANCELLED"]
States: TypeAlias = Annotated[tuple[State, ...], Bounds(low=0, high=5)]
"""Some of the states; empty: all."""
Timeout: TypeAlias = Literal["idle", "run", "total"]

Durability: TypeAlias = Literal["disk", "replicated"]
"""Which of a job's timeouts ended it or its attempt."""
Role: TypeAlias = Literal["create", "run", "handle", "read", "admin"]
ROLES: Final[tuple[Role, ...]] = ("create", "run", "handle", "read", "admin")


# -- parts of messages --------------------------------------------------------------------


@record
class Backoff:
    """How long a job waits between two attempts; `n` counts the attempts spent so far.

    `fixed`: `delay_ms`. `linear`: `delay_ms` x n. `exponential`: `delay_ms` x factor^(n-1).
    `list`: the n-th of `delays_ms`, the last one after that. `max_ms` bounds what comes of it.
    Jitter then draws at random: `full` from 0 to it, `equal` from its half to it, `share` within
    `jitter_percent` of it either way.
    """

    type: Literal["fixed", "linear", "exponential", "list"]
    delay_ms: DelayMs = 0
    factor_percent: FactorPercent = 200
    delays_ms: Annotated[tuple[DelayMs, ...], Bounds(low=0, high=limits.MAX_BACKOFF_STEPS)] = ()
    max_ms: LimitMs | None = None
    jitter: Literal["none", "full", "equal", "share"] = "none"
    jitter_percent: Percent = 0


@record
class Timeouts:
    """`idle_ms` bounds each wait in QUEUED, `run_ms` each attempt, `total_ms` the whole life from
    the moment when the job could first run."""

    idle_ms: LimitMs | None = None
    run_ms: LimitMs | None = None
    total_ms: LimitMs | None = None


@record
class Unique:
    """At most one job of a type has a unique key at a time.

    It is held until the job first starts, until it has finished, or for `window_ms` from its
    creation. What a create does that finds it held: it is refused (`reject`), its creator becomes
    a handler of the holder (`join`), or the holder gets the new content, if it has not started
    yet (`replace`).
    """

    key: Name
    scope: Literal["until_started", "until_finished", "window"] = "until_finished"
    window_ms: LimitMs | None = None
    on_duplicate: Literal["reject", "join", "replace"] = "reject"


@record
class NewJob:
    """What a creator says of a job. `payload` is opaque bytes.

    It waits PENDING for `delay_ms`, or until `delay_until`. `keep_ms`: how long it is kept after
    its end where nobody handles it, instead of its type's retention.
    """

    type: Name
    payload: Blob = b""
    id: Name | None = None
    key: Name | None = None
    headers: Headers | None = None
    attempts: Attempts = 1
    persistent: bool = False
    delay_ms: DelayMs = 0
    delay_until: DueMs = 0
    priority: Priority = 0
    backoff: Backoff | None = None
    timeouts: Timeouts | None = None
    lost_limit: Count | None = None
    labels: Annotated[tuple[Label, ...], Bounds(low=0, high=limits.MAX_LABELS)] = ()
    unique: Unique | None = None
    keep_ms: DelayMs | None = None
    durability: Durability | None = None


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
class Extension:
    """`run_ms`: the attempt may run so long from now on, but never past the job's total."""

    job: Name
    token: Token
    run_ms: LimitMs


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
    """`retry` false ends the job although attempts remain; `retry_in_ms` is the wait until the
    next one, instead of the job's backoff."""

    job: Name
    token: Token
    error: Error
    retry: bool = True
    retry_in_ms: DelayMs | None = None


@record
class Retention:
    """How finished jobs that nobody handles are kept: for how long, and at most how many of a
    type (the oldest go first). `keep_ms` 0: not at all, absent: as long as the broker's own
    retention says; `keep_jobs` absent: no bound."""

    keep_ms: DelayMs | None = None
    keep_jobs: Count | None = None


@record
class TypeChange:
    """What is to change about a type; what is absent stays as it is.

    A `paused` type gives out no jobs (until `paused_until`, which belongs to `paused` and goes
    with it), a `draining` one takes no new ones. A limit of 0 is no limit.
    """

    type: Name
    paused: bool | None = None
    paused_until: DueMs | None = None
    draining: bool | None = None
    keep_complete: Retention | None = None
    keep_failed: Retention | None = None
    max_jobs: Count | None = None
    max_bytes: Count | None = None


@record
class TypeSchema:
    """`schema`: a JSON Schema of the type's arguments, as JSON text in UTF-8; empty: none."""

    type: Name
    schema: JsonSchema


@record
class Problem:
    """Why a request or one item of it was refused; `errors.py` has the codes.

    `details` names what was wrong, where a program can use it: `path`, `limit`, `state`, `job`
    (the holder of a unique key), `paused`.
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
    """One line of a job's log. `offset` counts from 0 over the job's life, without gaps.

    An `action` was done by hand: `message` says what and why, `by` is the client that did it.
    """

    offset: Count
    time_ms: TimeMs
    attempt: Count
    type: Literal["log", "progress", "action"]
    message: LongText
    percent: Percent | None = None
    by: Name | None = None


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
    """How a job ended. COMPLETE has a `result`; FAILED a `reason`, maybe an `error` too.

    `expired`: with JOB_TIMEOUT, which timeout. `group`: the outcome is for this group of
    handlers, and is to be answered for it.
    """

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
    expired: Timeout | None = None
    group: Name | None = None


@record
class Revocation:
    """A claim that is no longer this runner's; `reason` is for people and logs."""

    job: Name
    token: Token
    reason: Literal["removed", "taken_back", "timeout", "cancelled"]


@record
class Cancellation:
    """The job of this claim is to be cancelled: its runner has `grace_ms` left to end it."""

    job: Name
    token: Token
    grace_ms: DurationMs
    why: Text = ""


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

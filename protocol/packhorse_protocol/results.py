"""The entries of an `ok`: what each request is answered with.

Like `parts.py`, frozen records whose annotations hold the bounds of their fields.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from packhorse_protocol import limits
from packhorse_protocol.fields import (
    Attempts,
    Blob,
    Bounds,
    Count,
    DelayMs,
    DurationMs,
    Headers,
    Label,
    Name,
    Priority,
    Text,
    TimeMs,
    Token,
)
from packhorse_protocol.parts import (
    Backoff,
    Cursor,
    Durability,
    Error,
    Items,
    JsonSchema,
    LogEntry,
    Progress,
    Reason,
    Retention,
    State,
    Timeout,
    Timeouts,
    Unique,
)
from packhorse_protocol.records import record


@record
class Done:
    """Nothing to add: it is so."""


@record
class Created:
    """`existed`: the same job had been created before, nothing was changed.

    `duplicate`: another job holds the unique key; `job` is that one, which the creator has
    `joined` as a handler, or whose content was `replaced`.
    """

    job: Name
    state: State
    existed: bool = False
    duplicate: Literal["joined", "replaced"] | None = None


@record
class CancelRequest:
    """Somebody asked for the job to be cancelled; at `until` its claim is taken away."""

    by: Name
    at: TimeMs
    until: TimeMs
    why: Text = ""


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
    delayed_until: TimeMs = 0
    next_attempt: TimeMs = 0
    priority: Priority = 0
    backoff: Backoff | None = None
    timeouts: Timeouts | None = None
    lost_limit: Count | None = None
    labels: Items[Label] = ()
    unique: Unique | None = None
    keep_ms: DelayMs | None = None
    timed_out: Count = 0
    expired: Timeout | None = None
    cancel: CancelRequest | None = None
    groups: Items[Name] = ()
    deadline: TimeMs = 0
    expires_at: TimeMs = 0
    log_first: Count = 0
    retried: Count = 0
    durability: Durability | None = None


@record
class Claim:
    """A job and the right to run it once. `fence` grows with each claim of the job.

    `remaining_ms`: after so long the claim is taken away; absent: it has no limit.
    """

    job: Name
    token: Token
    fence: Count
    type: Name
    attempt: Count
    attempts: Attempts = 1
    payload: Blob = b""
    key: Name | None = None
    headers: Headers | None = None
    remaining_ms: DurationMs | None = None


@record
class Ended:
    """The state a job is in after its attempt ended, as the first answer told."""

    state: State


@record
class Extended:
    """How long the attempt may run from now on; absent: without limit."""

    remaining_ms: DurationMs | None = None


@record
class LogPage:
    """`entries` are those at or after the offset asked for that are still kept.

    `first` is the oldest offset kept, `end` the offset that the next entry will get. Entries
    before `first` were dropped, with `dropped_bytes` of messages in them.
    """

    entries: Items[LogEntry]
    first: Count
    end: Count
    dropped_bytes: Count = 0


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
    kept: Text = ""
    durability: Text = ""
    replicas: Count = 0
    store_full: bool = False
    commits: Count = 0
    conflicts: Count = 0
    partitions: Count = 0


@record
class Attempt:
    """One attempt of a job that has ended, and how.

    `lost`: its runner went away; `released`: it was given back and cost no attempt. `expired`:
    which timeout ended it. `next_at`: when the job was to be tried again, 0: at once or never.
    """

    attempt: Count
    runner: Name
    started_at: TimeMs
    finished_at: TimeMs
    ended: Literal["completed", "failed", "lost", "released", "timed_out", "cancelled"]
    expired: Timeout | None = None
    error: Error | None = None
    next_at: TimeMs = 0


@record
class AttemptList:
    """The attempts of a job, oldest first; `dropped` older ones are no longer kept."""

    attempts: Items[Attempt]
    dropped: Count = 0


@record
class JobSummary:
    """A job as `list` shows it: without payload, result and error."""

    id: Name
    type: Name
    state: State
    key: Name | None = None
    unique_key: Name | None = None
    labels: Items[Label] = ()
    priority: Priority = 0
    attempts: Attempts = 1
    current_attempt: Count = 0
    runner: Name | None = None
    reason: Reason | None = None
    progress: Progress | None = None
    created_at: TimeMs = 0
    delayed_until: TimeMs = 0
    queued_at: TimeMs = 0
    started_at: TimeMs = 0
    finished_at: TimeMs = 0


@record
class JobPage:
    """Jobs that match; `cursor` asks for the next page, absent: there is none.

    A page may hold fewer jobs than asked for, even none, and still have a next one.
    """

    jobs: Items[JobSummary]
    cursor: Cursor | None = None


@record
class TypeView:
    """A type as it stands. `latency_ms`: how long the head of its queue has waited.

    `jobs_bytes`: payloads and results held. `runners`: connected ones that take it, at any broker.
    `changed_at`, `by`, `why`: the last change of its settings.
    """

    type: Name
    counts: Mapping[State, Count]
    latency_ms: DurationMs = 0
    jobs_bytes: Count = 0
    runners: Count = 0
    paused: bool = False
    paused_until: TimeMs = 0
    draining: bool = False
    keep_complete: Retention | None = None
    keep_failed: Retention | None = None
    max_jobs: Count = 0
    max_bytes: Count = 0
    has_schema: bool = False
    changed_at: TimeMs = 0
    by: Name | None = None
    why: Text = ""


@record
class TypeList:
    """`more` when there are more types than fit: name them, or ask for those `after` the last."""

    types: Items[TypeView]
    more: bool = False


@record
class SchemaView:
    """The type's JSON Schema, empty if it has none, and who published it when."""

    schema: JsonSchema = b""
    by: Name | None = None
    at: TimeMs = 0


@record
class Minute:
    """What happened to a type's jobs in the minute that begins at `at`.

    `wait_ms` and `run_ms` are sums, over the jobs started and the attempts ended.
    """

    at: TimeMs
    created: Count = 0
    started: Count = 0
    completed: Count = 0
    failed: Count = 0
    retried: Count = 0
    lost: Count = 0
    timed_out: Count = 0
    cancelled: Count = 0
    released: Count = 0
    removed: Count = 0
    wait_ms: Count = 0
    run_ms: Count = 0


@record
class MinuteList:
    """The minutes in which something happened, oldest first."""

    minutes: Items[Minute]


@record
class Cause:
    """One reason why a job does not run, for programs (`code`) and for people (`message`)."""

    code: Literal[
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
    message: Text
    until: TimeMs = 0
    since: TimeMs = 0
    jobs: Count = 0
    client: Name | None = None


@record
class Why:
    """Why a job does not run; `next` alone where nothing is in its way."""

    state: State
    causes: Items[Cause]


@record
class Action:
    """Something done by hand."""

    at: TimeMs
    action: Name
    by: Name
    why: Text = ""
    job: Name | None = None
    type: Name | None = None


@record
class ActionList:
    """Newest first; `cursor` asks for the next page, absent: there is none."""

    actions: Items[Action]
    cursor: Cursor | None = None

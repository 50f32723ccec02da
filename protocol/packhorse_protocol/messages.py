"""Every message of the protocol as a frozen record; this module alone knows the wire's tags.

A message is a msgpack map whose key `t` holds the tag. A field is left out when it has its
default. Requests carry `id` and are answered by one `ok` or one `error` with the same `id`;
pushes carry none. `SPEC.md` says what each message means; the records say its shape.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias, TypeVar, dataclass_transform

from packhorse_protocol import limits
from packhorse_protocol.fields import (
    Attempts,
    Blob,
    Bounds,
    Count,
    Credit,
    DurationMs,
    Headers,
    LongText,
    Name,
    Percent,
    RequestId,
    Secret,
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


CLIENT_MESSAGES: Final[dict[str, type]] = {}
"""Tag -> record of what a client may send."""
BROKER_MESSAGES: Final[dict[str, type]] = {}
"""Tag -> record of what a broker may send."""
RESULTS: Final[dict[type, type]] = {}
"""Request -> record of each entry in the `results` of its `ok`."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def from_client(tag: str, *, results: type | None = None) -> Callable[[type[Record]], type[Record]]:
    """Registers a client's message; with `results` it is a request."""

    def register(cls: type[Record]) -> type[Record]:
        built = record(cls)
        CLIENT_MESSAGES[tag] = built
        if results is not None:
            RESULTS[built] = results
        return built

    return register


@dataclass_transform(frozen_default=True, kw_only_default=True)
def from_broker(tag: str) -> Callable[[type[Record]], type[Record]]:
    """Registers a broker's message."""

    def register(cls: type[Record]) -> type[Record]:
        built = record(cls)
        BROKER_MESSAGES[tag] = built
        return built

    return register


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


# -- from the client ----------------------------------------------------------------------


@from_client("hello")
class Hello:
    """First frame of a connection. `secret` resumes the client of that id, if it is still known."""

    versions: Annotated[tuple[Count, ...], Bounds(low=1, high=16)]
    client: Name | None = None
    secret: Secret | None = None
    roles: Annotated[tuple[Role, ...], Bounds(low=1, high=len(ROLES))] | None = None
    timeout_ms: DurationMs | None = None
    library: Text = ""


@from_client("beat")
class ClientBeat:
    """A heartbeat. It is not answered; any other frame serves as well."""


@from_client("create", results=Created)
class Create:
    """`handle`: this client becomes a handler of each job in the transaction that creates it."""

    id: RequestId
    jobs: Batch[NewJob]
    handle: bool = False


@from_client("get", results=JobView)
class Get:
    id: RequestId
    jobs: Batch[Name]


@from_client("take", results=Done)
class Take:
    """What this runner takes from now on: `credit` claims at once at most, each type its own."""

    id: RequestId
    types: Annotated[Mapping[Name, Credit], Bounds(low=0, high=limits.MAX_MAP_ITEMS)]
    credit: Credit


@from_client("claim", results=Claim)
class ClaimJobs:
    """Claims exactly these jobs, each if it is QUEUED. Credit is neither needed nor used."""

    id: RequestId
    jobs: Batch[Name]


@from_client("release", results=Ended)
class Release:
    """Gives claims back: the job is queued again and no attempt is spent."""

    id: RequestId
    claims: Batch[ClaimRef]


@from_client("progress", results=Done)
class ReportProgress:
    id: RequestId
    reports: Batch[ProgressReport]


@from_client("log", results=Done)
class WriteLog:
    id: RequestId
    reports: Batch[LogReport]


@from_client("complete", results=Ended)
class Complete:
    id: RequestId
    jobs: Batch[Completion]


@from_client("fail", results=Ended)
class Fail:
    id: RequestId
    jobs: Batch[Failure]


@from_client("handle", results=Ended)
class Handle:
    """Becomes a handler of existing jobs; the outcome of a finished one is pushed at once."""

    id: RequestId
    jobs: Batch[Name]


@from_client("handled", results=Done)
class Handled:
    """The outcome of these jobs has been dealt with; this client is no longer their handler."""

    id: RequestId
    jobs: Batch[Name]


@from_client("remove", results=Done)
class Remove:
    """Removes jobs in any state; a runner that holds one is told by `revoke`."""

    id: RequestId
    jobs: Batch[Name]


@from_client("logs", results=LogPage)
class ReadLog:
    id: RequestId
    job: Name
    offset: Count = 0
    limit: Annotated[int, Bounds(low=1, high=1_000)] = 100


@from_client("watch", results=Watched)
class Watch:
    """Events of these jobs are pushed until `unwatch`, their removal or the connection's end."""

    id: RequestId
    jobs: Batch[Name]


@from_client("unwatch", results=Done)
class Unwatch:
    id: RequestId
    jobs: Batch[Name]


@from_client("counts", results=Counts)
class CountJobs:
    """Counts of the named types, or of all."""

    id: RequestId
    types: Items[Name] = ()


@from_client("info", results=BrokerInfo)
class Info:
    id: RequestId


@from_client("bye", results=Done)
class Bye:
    """Leaves for good: claims end as RUNNER_TIMEOUT, handler entries go, the broker closes."""

    id: RequestId


# -- from the broker ----------------------------------------------------------------------


@record
class Limits:
    """What this broker accepts on this connection."""

    frame_bytes: Count
    payload_bytes: Count
    result_bytes: Count
    log_message_bytes: Count
    batch: Count
    in_flight: Count


@from_broker("welcome")
class Welcome:
    """`resumed` false with a secret sent: the former registration is gone, claims included."""

    version: Count
    client: Name
    secret: Secret
    resumed: bool
    roles: Annotated[tuple[Role, ...], Bounds(low=0, high=len(ROLES))]
    heartbeat_ms: DurationMs
    timeout_ms: DurationMs
    limits: Limits
    features: Items[Name]
    broker: Name
    store: Text
    now_ms: TimeMs
    library: Text = ""


@from_broker("beat")
class BrokerBeat:
    """A heartbeat, sent when nothing else was for the announced interval."""


@from_broker("ok")
class Ok:
    """Answers a request: one entry per item, each the request's result record or a `Problem`."""

    id: RequestId
    results: tuple[object, ...]


@from_broker("error")
class Refused:
    """Answers a request as a whole, or (without `id`) a frame that could not be read as one.

    `closing`: the broker closes the connection after this frame.
    """

    code: Text
    message: Text
    id: RequestId | None = None
    retryable: bool = False
    retry_after_ms: DurationMs | None = None
    details: Headers | None = None
    closing: bool = False


@from_broker("claims")
class Claims:
    """Jobs for this runner, within the credit it gave."""

    claims: Batch[Claim]


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


@from_broker("outcomes")
class Outcomes:
    """Outcomes that this client handles: repeated after each resume until it answers `handled`."""

    outcomes: Batch[Outcome]


@record
class Revocation:
    """A claim that is no longer this runner's; `reason` is for people and logs."""

    job: Name
    token: Token
    reason: Literal["removed", "client_gone"]


@from_broker("revoke")
class Revoke:
    claims: Batch[Revocation]


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


@from_broker("events")
class Events:
    events: Batch[Event]


@from_broker("drain")
class Drain:
    """This broker is going away: finish or release, then reconnect (to another, or to it later)."""

    grace_ms: DurationMs


ClientMessage: TypeAlias = (
    Hello
    | ClientBeat
    | Create
    | Get
    | Take
    | ClaimJobs
    | Release
    | ReportProgress
    | WriteLog
    | Complete
    | Fail
    | Handle
    | Handled
    | Remove
    | ReadLog
    | Watch
    | Unwatch
    | CountJobs
    | Info
    | Bye
)

Request: TypeAlias = (
    Create
    | Get
    | Take
    | ClaimJobs
    | Release
    | ReportProgress
    | WriteLog
    | Complete
    | Fail
    | Handle
    | Handled
    | Remove
    | ReadLog
    | Watch
    | Unwatch
    | CountJobs
    | Info
    | Bye
)

BrokerMessage: TypeAlias = (
    Welcome | BrokerBeat | Ok | Refused | Claims | Outcomes | Revoke | Events | Drain
)

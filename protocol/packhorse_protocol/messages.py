"""Every message of the protocol as a frozen record; this module alone knows the wire's tags.

A message is a msgpack map whose key `t` holds the tag. A field is left out when it has its
default. Requests carry `id` and are answered by one `ok` or one `error` with the same `id`;
pushes carry none. `SPEC.md` says what each message means; the records say its shape.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Final, TypeAlias, dataclass_transform

from packhorse_protocol import limits
from packhorse_protocol.fields import (
    Bounds,
    Count,
    Credit,
    DurationMs,
    Headers,
    Name,
    RequestId,
    Secret,
    Text,
    TimeMs,
)
from packhorse_protocol.parts import (
    ROLES,
    Batch,
    BrokerInfo,
    Claim,
    ClaimRef,
    Completion,
    Counts,
    Created,
    Done,
    Ended,
    Error,
    Event,
    Failure,
    Items,
    JobView,
    Limits,
    LogEntry,
    LogPage,
    LogReport,
    NewJob,
    Outcome,
    Problem,
    Progress,
    ProgressReport,
    Reason,
    Record,
    Revocation,
    Role,
    State,
    Watched,
    record,
)

# The parts of messages may be imported from here as well.
__all__ = [
    "ROLES",
    "BrokerInfo",
    "Claim",
    "ClaimRef",
    "Completion",
    "Counts",
    "Created",
    "Done",
    "Ended",
    "Error",
    "Event",
    "Failure",
    "JobView",
    "Limits",
    "LogEntry",
    "LogPage",
    "LogReport",
    "NewJob",
    "Outcome",
    "Problem",
    "Progress",
    "ProgressReport",
    "Reason",
    "Revocation",
    "Role",
    "State",
    "Watched",
]

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


@from_broker("outcomes")
class Outcomes:
    """Outcomes that this client handles: repeated after each resume until it answers `handled`."""

    outcomes: Batch[Outcome]


@from_broker("revoke")
class Revoke:
    claims: Batch[Revocation]


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

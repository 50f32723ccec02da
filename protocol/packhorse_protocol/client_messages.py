"""What clients send: this module alone knows the tags of these."""

from collections.abc import Mapping
from typing import Annotated, TypeAlias

from packhorse_protocol import limits
from packhorse_protocol.fields import (
    Attempts,
    Bounds,
    Count,
    Credit,
    DelayMs,
    DurationMs,
    Label,
    Name,
    PageLimit,
    RequestId,
    Secret,
    Text,
    TimeMs,
    Weight,
)
from packhorse_protocol.parts import (
    ROLES,
    Batch,
    ClaimRef,
    Completion,
    Cursor,
    Extension,
    Failure,
    Items,
    LogReport,
    NewJob,
    ProgressReport,
    Role,
    States,
    TypeChange,
    TypeSchema,
)
from packhorse_protocol.results import (
    ActionList,
    AttemptList,
    BrokerInfo,
    Claim,
    Counts,
    Created,
    Done,
    Ended,
    Extended,
    JobPage,
    JobView,
    LogPage,
    MinuteList,
    SchemaView,
    TypeList,
    Watched,
    Why,
)
from packhorse_protocol.tags import from_client


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
    """`handle`: this client becomes a handler of each job in the transaction that creates it;
    `group`: so does this group of handlers."""

    id: RequestId
    jobs: Batch[NewJob]
    handle: bool = False
    group: Name | None = None


@from_client("get", results=JobView)
class Get:
    id: RequestId
    jobs: Batch[Name]


@from_client("take", results=Done)
class Take:
    """What this runner takes from now on: `credit` claims at once at most, each type its own.

    `weights`: how the credit is shared among the types that have jobs waiting; 1 where absent.
    """

    id: RequestId
    types: Annotated[Mapping[Name, Credit], Bounds(low=0, high=limits.MAX_MAP_ITEMS)]
    credit: Credit
    weights: Annotated[Mapping[Name, Weight], Bounds(low=0, high=limits.MAX_MAP_ITEMS)] | None = (
        None
    )


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


@from_client("extend", results=Extended)
class Extend:
    """Moves the run timeout of claims, never past their jobs' total."""

    id: RequestId
    claims: Batch[Extension]


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
    """Becomes a handler of existing jobs; the outcome of a finished one is pushed at once.

    With `group` that group becomes the handler instead of this client.
    """

    id: RequestId
    jobs: Batch[Name]
    group: Name | None = None


@from_client("handled", results=Done)
class Handled:
    """The outcome of these jobs has been dealt with; this client, or with `group` that group, is
    no longer their handler."""

    id: RequestId
    jobs: Batch[Name]
    group: Name | None = None


@from_client("join", results=Done)
class Join:
    """The groups that this client is a member of from now on: outcomes that a group handles are
    pushed to one connected member of it."""

    id: RequestId
    groups: Annotated[tuple[Name, ...], Bounds(low=0, high=limits.MAX_GROUPS)]


@from_client("cancel", results=Ended)
class Cancel:
    """Ends jobs as CANCELLED: a waiting one at once, a running one within `grace_ms`.

    The runner is told by `cancelling`, and its claim taken away when the grace time is over.
    Absent, the broker's own grace time holds.
    """

    id: RequestId
    jobs: Batch[Name]
    grace_ms: DelayMs | None = None
    why: Text = ""


@from_client("retry", results=Ended)
class Retry:
    """Queues FAILED jobs again, with so many more attempts."""

    id: RequestId
    jobs: Batch[Name]
    attempts: Attempts = 1
    why: Text = ""


@from_client("run_now", results=Ended)
class RunNow:
    """Queues PENDING jobs at once."""

    id: RequestId
    jobs: Batch[Name]
    why: Text = ""


@from_client("remove", results=Done)
class Remove:
    """Removes jobs in any state, or only those in one of `states`; a runner that holds one is
    told by `revoke`."""

    id: RequestId
    jobs: Batch[Name]
    states: States = ()
    why: Text = ""


@from_client("list", results=JobPage)
class ListJobs:
    """Jobs that match all that is given, in the order of the index that is read.

    `since` and `until` (exclusive) bound the time that belongs to the job's state: when a PENDING
    one is due, a QUEUED one was queued, a STARTED one started, a finished one finished.
    """

    id: RequestId
    type: Name | None = None
    states: States = ()
    label: Label | None = None
    unique_key: Name | None = None
    since: TimeMs = 0
    until: TimeMs | None = None
    newest_first: bool = False
    cursor: Cursor | None = None
    limit: PageLimit = 100


@from_client("attempts", results=AttemptList)
class ListAttempts:
    """How each attempt of these jobs went."""

    id: RequestId
    jobs: Batch[Name]


@from_client("why", results=Why)
class AskWhy:
    """Why these jobs do not run."""

    id: RequestId
    jobs: Batch[Name]


@from_client("types", results=TypeList)
class ListTypes:
    """The named types, or all in the order of their names, from the one `after` this on."""

    id: RequestId
    types: Items[Name] = ()
    after: Name | None = None
    limit: PageLimit = 100


@from_client("configure", results=Done)
class Configure:
    """Pauses, resumes, drains or limits types; holds for all brokers, and until changed again."""

    id: RequestId
    types: Batch[TypeChange]
    why: Text = ""


@from_client("publish", results=Done)
class Publish:
    """Stores the JSON Schema of types, which creators may look up with `schema`."""

    id: RequestId
    schemas: Batch[TypeSchema]


@from_client("schema", results=SchemaView)
class GetSchema:
    id: RequestId
    types: Batch[Name]


@from_client("minutes", results=MinuteList)
class CountMinutes:
    """What happened to a type's jobs, minute by minute, of the last day."""

    id: RequestId
    type: Name
    since: TimeMs = 0


@from_client("actions", results=ActionList)
class ListActions:
    """What was done by hand, newest first, before this time where it is given.

    `cursor`, of the page before, goes on where that ended.
    """

    id: RequestId
    before: TimeMs | None = None
    limit: PageLimit = 100
    cursor: Cursor | None = None


@from_client("logs", results=LogPage)
class ReadLog:
    id: RequestId
    job: Name
    offset: Count = 0
    limit: PageLimit = 100


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


Request: TypeAlias = (
    Create
    | Get
    | Take
    | ClaimJobs
    | Release
    | Extend
    | ReportProgress
    | WriteLog
    | Complete
    | Fail
    | Handle
    | Handled
    | Join
    | Cancel
    | Retry
    | RunNow
    | Remove
    | ListJobs
    | ListAttempts
    | AskWhy
    | ListTypes
    | Configure
    | Publish
    | GetSchema
    | CountMinutes
    | ListActions
    | ReadLog
    | Watch
    | Unwatch
    | CountJobs
    | Info
    | Bye
)

ClientMessage: TypeAlias = Hello | ClientBeat | Request

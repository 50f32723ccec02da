"""Kinds of requests that only look: nothing becomes of repeating them."""

from typing import Final, NamedTuple

from packhorse.lanes import Kind
from packhorse_protocol.messages import (
    ActionList,
    AskWhy,
    AttemptList,
    BrokerInfo,
    CountJobs,
    CountMinutes,
    Counts,
    Cursor,
    Done,
    Get,
    GetSchema,
    Info,
    JobPage,
    JobView,
    ListActions,
    ListAttempts,
    ListJobs,
    ListTypes,
    LogPage,
    MinuteList,
    ReadLog,
    SchemaView,
    State,
    TypeList,
    Unwatch,
    Watch,
    Watched,
    Why,
)


class LogWanted(NamedTuple):
    """Which entries of a job's log."""

    job: str
    offset: int
    limit: int


class JobsWanted(NamedTuple):
    """Which jobs: one page of those that match all that is given."""

    type: str | None
    states: tuple[State, ...]
    label: str | None
    unique_key: str | None
    since: int
    until: int | None
    newest_first: bool
    cursor: Cursor | None
    limit: int


class TypesWanted(NamedTuple):
    """The types named, or those after one in the order of their names."""

    types: tuple[str, ...]
    after: str | None
    limit: int


class MinutesWanted(NamedTuple):
    type: str
    since: int


class ActionsWanted(NamedTuple):
    before: int | None
    limit: int
    cursor: bytes | None


def _itself(name: str) -> str:
    return name


GET: Final[Kind[str, JobView]] = Kind(
    build=lambda request_id, jobs: Get(id=request_id, jobs=jobs), subject=_itself
)
ATTEMPTS: Final[Kind[str, AttemptList]] = Kind(
    build=lambda request_id, jobs: ListAttempts(id=request_id, jobs=jobs), subject=_itself
)
WHY: Final[Kind[str, Why]] = Kind(
    build=lambda request_id, jobs: AskWhy(id=request_id, jobs=jobs), subject=_itself
)
READ_LOG: Final[Kind[LogWanted, LogPage]] = Kind(
    build=lambda request_id, wanted: ReadLog(id=request_id, **wanted[0]._asdict()),
    subject=lambda wanted: wanted.job,
    alone=True,
)
LIST: Final[Kind[JobsWanted, JobPage]] = Kind(
    build=lambda request_id, wanted: ListJobs(id=request_id, **wanted[0]._asdict()), alone=True
)

WATCH: Final[Kind[str, Watched]] = Kind(
    build=lambda request_id, jobs: Watch(id=request_id, jobs=jobs), subject=_itself
)
UNWATCH: Final[Kind[str, Done]] = Kind(
    build=lambda request_id, jobs: Unwatch(id=request_id, jobs=jobs), subject=_itself
)

TYPES: Final[Kind[TypesWanted, TypeList]] = Kind(
    build=lambda request_id, wanted: ListTypes(id=request_id, **wanted[0]._asdict()), alone=True
)
COUNTS: Final[Kind[tuple[str, ...], Counts]] = Kind(
    build=lambda request_id, types: CountJobs(id=request_id, types=types[0]), alone=True
)
SCHEMA: Final[Kind[str, SchemaView]] = Kind(
    build=lambda request_id, types: GetSchema(id=request_id, types=types)
)
MINUTES: Final[Kind[MinutesWanted, MinuteList]] = Kind(
    build=lambda request_id, wanted: CountMinutes(id=request_id, **wanted[0]._asdict()),
    alone=True,
)
ACTIONS: Final[Kind[ActionsWanted, ActionList]] = Kind(
    build=lambda request_id, wanted: ListActions(id=request_id, **wanted[0]._asdict()),
    alone=True,
)
INFO: Final[Kind[None, BrokerInfo]] = Kind(
    build=lambda request_id, _: Info(id=request_id), alone=True
)

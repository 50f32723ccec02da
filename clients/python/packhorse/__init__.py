"""Packhorse: create jobs, run them, and learn how they ended.

    async with packhorse.connect() as client:
        print(await client.run("thumb", {"url": "cat.png"}))

On what terms a job runs is said when it is created; `NewJob` has all that can be said:

    job = await client.create(
        "report", {"month": 11}, delay="10m", attempts=5, unique="report-11",
        backoff=Backoff.exponential("1s", max="10m", jitter="full"), run_timeout="1h",
    )

`connect` makes a `Client`, `Worker` runs job functions, `packhorse.sync` has the same for
programs without an event loop, and `errors` the tree of what can be raised.

    await job.result()                                   # wait for one, or
    await client.wait(jobs, "any", timeout="1m")         # for the first of several, or
    async for outcome in client.outcomes(group="mail"):  # take those of a group of handlers

    await client.why(job.id)                             # why it does not run
    async for job in client.list("report", states="FAILED"): ...
    await client.retry_matching("report", why="the disk is back")
    await client.pause("report", until=tomorrow)
"""

from packhorse.cancelling import Cancelled
from packhorse.client import Client, connect
from packhorse.context import Context, ThreadContext
from packhorse.durations import Duration
from packhorse.errors import (
    BrokerUnavailable,
    ClientClosed,
    ClientExists,
    ClientGone,
    Conflict,
    ConnectionLost,
    Draining,
    Duplicate,
    Fail,
    Forbidden,
    Internal,
    InvalidValue,
    Malformed,
    NotDurable,
    NotFound,
    NotHandler,
    OutcomeTimeout,
    PackhorseError,
    PayloadError,
    QuotaExceeded,
    Refused,
    SecretWrong,
    SomeRefused,
    StaleClaim,
    StoreFull,
    Superseded,
    TooLarge,
    TooMany,
    TooManyConnections,
    TypeDraining,
    Unavailable,
    Unsupported,
    VersionUnsupported,
    WrongState,
)
from packhorse.filters import Matched
from packhorse.job import Job
from packhorse.middleware import Middleware
from packhorse.moments import Moment
from packhorse.newjob import NewJob
from packhorse.outcome import JobCancelled, JobFailed, JobTimedOut, Outcome, RunnerLost
from packhorse.payload import RawResult
from packhorse.processes import FailedInProcess, ProcessDied
from packhorse.terms import Backoff, Keep, Unique
from packhorse.worker import Worker
from packhorse.workshop import ProcessContext
from packhorse_protocol.messages import (
    Action,
    Attempt,
    AttemptList,
    BrokerInfo,
    CancelRequest,
    Cause,
    Counts,
    Error,
    Event,
    JobPage,
    JobSummary,
    JobView,
    LogEntry,
    Minute,
    Progress,
    Reason,
    State,
    Timeout,
    TypeView,
    Why,
)

__all__ = [
    "Action",
    "Attempt",
    "AttemptList",
    "Backoff",
    "BrokerInfo",
    "BrokerUnavailable",
    "CancelRequest",
    "Cancelled",
    "Cause",
    "Client",
    "ClientClosed",
    "ClientExists",
    "ClientGone",
    "Conflict",
    "ConnectionLost",
    "Context",
    "Counts",
    "Draining",
    "Duplicate",
    "Duration",
    "Error",
    "Event",
    "Fail",
    "FailedInProcess",
    "Forbidden",
    "Internal",
    "InvalidValue",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobPage",
    "JobSummary",
    "JobTimedOut",
    "JobView",
    "Keep",
    "LogEntry",
    "Malformed",
    "Matched",
    "Middleware",
    "Minute",
    "Moment",
    "NewJob",
    "NotDurable",
    "NotFound",
    "NotHandler",
    "Outcome",
    "OutcomeTimeout",
    "PackhorseError",
    "PayloadError",
    "ProcessContext",
    "ProcessDied",
    "Progress",
    "QuotaExceeded",
    "RawResult",
    "Reason",
    "Refused",
    "RunnerLost",
    "SecretWrong",
    "SomeRefused",
    "StaleClaim",
    "State",
    "StoreFull",
    "Superseded",
    "ThreadContext",
    "Timeout",
    "TooLarge",
    "TooMany",
    "TooManyConnections",
    "TypeDraining",
    "TypeView",
    "Unavailable",
    "Unique",
    "Unsupported",
    "VersionUnsupported",
    "Why",
    "Worker",
    "WrongState",
    "connect",
]

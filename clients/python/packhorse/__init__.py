"""Packhorse: create jobs, run them, and learn how they ended.

    async with packhorse.connect() as client:
        print(await client.run("thumb", {"url": "cat.png"}))

`connect` makes a `Client`, `Worker` runs job functions, `packhorse.sync` has the same for
programs without an event loop, and `errors` the tree of what can be raised.
"""

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
    Fail,
    Forbidden,
    Internal,
    InvalidValue,
    Malformed,
    NotFound,
    NotHandler,
    OutcomeTimeout,
    PackhorseError,
    PayloadError,
    Refused,
    SecretWrong,
    SomeRefused,
    StaleClaim,
    Superseded,
    TooLarge,
    TooMany,
    TooManyConnections,
    Unavailable,
    Unsupported,
    VersionUnsupported,
    WrongState,
)
from packhorse.job import Job
from packhorse.newjob import NewJob
from packhorse.outcome import JobFailed, Outcome
from packhorse.worker import Worker
from packhorse_protocol.messages import (
    BrokerInfo,
    Counts,
    Error,
    Event,
    JobView,
    LogEntry,
    Progress,
    Reason,
    State,
)

__all__ = [
    "BrokerInfo",
    "BrokerUnavailable",
    "Client",
    "ClientClosed",
    "ClientExists",
    "ClientGone",
    "Conflict",
    "ConnectionLost",
    "Context",
    "Counts",
    "Draining",
    "Duration",
    "Error",
    "Event",
    "Fail",
    "Forbidden",
    "Internal",
    "InvalidValue",
    "Job",
    "JobFailed",
    "JobView",
    "LogEntry",
    "Malformed",
    "NewJob",
    "NotFound",
    "NotHandler",
    "Outcome",
    "OutcomeTimeout",
    "PackhorseError",
    "PayloadError",
    "Progress",
    "Reason",
    "Refused",
    "SecretWrong",
    "SomeRefused",
    "StaleClaim",
    "State",
    "Superseded",
    "ThreadContext",
    "TooLarge",
    "TooMany",
    "TooManyConnections",
    "Unavailable",
    "Unsupported",
    "VersionUnsupported",
    "Worker",
    "WrongState",
    "connect",
]

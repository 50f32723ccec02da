"""The outcome of a job, as its handlers get it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from packhorse.errors import PackhorseError
from packhorse.payload import unpack_result
from packhorse_protocol.messages import Done, Error, JobView, Reason, Timeout
from packhorse_protocol.messages import Outcome as OutcomeMessage

Acknowledge: TypeAlias = Callable[[], "asyncio.Future[Done]"]

JobEnd: TypeAlias = tuple[str, int, int]
"""What tells outcomes apart: a job, the time of its creation, as an id may be used again, and its
end, as it may be retried by hand."""


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True, eq=False)
class Outcome:
    """How a job ended: `result()` for its value, `handled()` once it has been dealt with.

    Until `handled()` is called (most ways of getting an outcome do it themselves) the broker
    keeps the job and pushes the outcome again after a reconnect. Times are milliseconds since
    the epoch, by the store's clock; 0: it has not happened.
    """

    job: str
    type: str
    state: Literal["COMPLETE", "FAILED"]
    reason: Reason | None
    """Why it is FAILED: by its runner's word, or without it, a timeout, a cancellation."""
    expired: Timeout | None
    """With the reason JOB_TIMEOUT, which one: `idle`, `run` or `total`."""
    error: Error | None
    """The runner's own words: type, message, traceback."""
    data: bytes
    """The result as the runner sent it."""
    key: str | None
    attempt: int
    """The attempt that ended the job, from 1."""
    group: str | None
    """The group of handlers that it came for; None: for this client."""
    version: int
    """The job's when it ended or later; larger with each end, where it is retried by hand."""
    created_at: int
    started_at: int
    finished_at: int
    acknowledge: Acknowledge = field(repr=False)
    """Sends `handled` unless that was done; who does not wait for the answer calls this."""

    @property
    def ok(self) -> bool:
        """Whether the job is COMPLETE."""
        return self.state == "COMPLETE"

    def result(self) -> Any:
        """The value that the job function returned.

        Raises `JobFailed` for a FAILED job (`JobCancelled`, `JobTimedOut`, `RunnerLost` where it
        was not the runner's word), `PayloadError` for a result that no Python client packed:
        read `data` then.
        """
        if not self.ok:
            raise failure(self)
        return unpack_result(self.data)

    async def handled(self) -> None:
        """Tells the broker that this outcome has been dealt with; it is not pushed again.

        Can be repeated. Raises `ConnectionLost` if the client closes before the broker answers.
        """
        # Shielded: whoever else waits for the same answer still gets it.
        await asyncio.shield(self.acknowledge())


class JobFailed(PackhorseError):
    """The job ended as FAILED; `outcome` has the reason and the runner's error."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(f"job {outcome.job} ({outcome.type}) {outcome.reason}: {self.said()}")

    @property
    def reason(self) -> Reason | None:
        """FAILED, RUNNER_TIMEOUT, JOB_TIMEOUT or CANCELLED."""
        return self.outcome.reason

    def said(self) -> str:
        """What was wrong, in a few words."""
        error = self.outcome.error
        return f"{error.type}: {error.message}" if error is not None else "no word from the runner"


class JobCancelled(JobFailed):
    """Somebody cancelled the job: `client.get` says who and why, while the job is kept."""

    def said(self) -> str:
        return super().said() if self.outcome.error is not None else "it was cancelled"


class JobTimedOut(JobFailed):
    """One of the job's timeouts passed: `expired` says which."""

    @property
    def expired(self) -> Timeout | None:
        """`idle`: it waited too long; `run`: its last attempt took too long; `total`: both."""
        return self.outcome.expired

    def said(self) -> str:
        return f"its {self.expired} timeout passed" if self.expired else "a timeout passed"


class RunnerLost(JobFailed):
    """The job's last attempt was lost with its runner."""

    def said(self) -> str:
        return "its runner went away"


_FAILURES: Final[Mapping[Reason, type[JobFailed]]] = {
    "CANCELLED": JobCancelled,
    "JOB_TIMEOUT": JobTimedOut,
    "RUNNER_TIMEOUT": RunnerLost,
}


def failure(outcome: Outcome) -> JobFailed:
    """The exception for a FAILED job, by its reason."""
    return _FAILURES.get(outcome.reason or "FAILED", JobFailed)(outcome)


def from_message(message: OutcomeMessage, acknowledge: Acknowledge) -> Outcome:
    """An outcome as it is pushed."""
    return Outcome(
        job=message.job,
        type=message.type,
        state=message.state,
        reason=message.reason,
        expired=message.expired,
        error=message.error,
        data=message.result or b"",
        key=message.key,
        attempt=message.attempt,
        group=message.group,
        version=message.version,
        created_at=message.created_at,
        started_at=message.started_at,
        finished_at=message.finished_at,
        acknowledge=acknowledge,
    )


def from_view(view: JobView, acknowledge: Acknowledge) -> Outcome | None:
    """The same from a job that was read, None if it has not ended."""
    if view.state not in ("COMPLETE", "FAILED"):
        return None
    message = OutcomeMessage(
        job=view.id,
        type=view.type,
        state=view.state,
        version=view.version,
        reason=view.reason,
        expired=view.expired,
        result=view.result,
        error=view.error,
        key=view.key,
        attempt=view.current_attempt,
        created_at=view.created_at,
        started_at=view.started_at,
        finished_at=view.finished_at,
    )
    return from_message(message, acknowledge)


def end_of(outcome: Outcome | OutcomeMessage) -> JobEnd:
    """Not by its version, which may have grown since: as when another handler has left."""
    return outcome.job, outcome.created_at, outcome.finished_at

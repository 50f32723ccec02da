"""`packhorse.outcome` without `await`. Made by `generate_sync.py`."""

from typing import Any, Literal

from packhorse import outcome as asynchronous_outcome
from packhorse.loopthread import LoopThread
from packhorse_protocol.messages import Error, Reason, Timeout


class Outcome:
    """How a job ended: `result()` for its value, `handled()` once it has been dealt with.

    Until `handled()` is called (most ways of getting an outcome do it themselves) the broker
    keeps the job and pushes the outcome again after a reconnect. Times are milliseconds since
    the epoch, by the store's clock; 0: it has not happened.
    """

    def __init__(self, loop: LoopThread, wrapped: asynchronous_outcome.Outcome) -> None:
        self._loop = loop
        self._wrapped = wrapped

    @property
    def job(self) -> str:
        return self._wrapped.job

    @property
    def type(self) -> str:
        return self._wrapped.type

    @property
    def state(self) -> Literal["COMPLETE", "FAILED"]:
        return self._wrapped.state

    @property
    def reason(self) -> Reason | None:
        """Why it is FAILED: by its runner's word, or without it, a timeout, a cancellation."""
        return self._wrapped.reason

    @property
    def expired(self) -> Timeout | None:
        """With the reason JOB_TIMEOUT, which one: `idle`, `run` or `total`."""
        return self._wrapped.expired

    @property
    def error(self) -> Error | None:
        """The runner's own words: type, message, traceback."""
        return self._wrapped.error

    @property
    def data(self) -> bytes:
        """The result as the runner sent it."""
        return self._wrapped.data

    @property
    def key(self) -> str | None:
        return self._wrapped.key

    @property
    def attempt(self) -> int:
        """The attempt that ended the job, from 1."""
        return self._wrapped.attempt

    @property
    def group(self) -> str | None:
        """The group of handlers that it came for; None: for this client."""
        return self._wrapped.group

    @property
    def version(self) -> int:
        """The job's when it ended or later; larger with each end, where it is retried by hand."""
        return self._wrapped.version

    @property
    def created_at(self) -> int:
        return self._wrapped.created_at

    @property
    def started_at(self) -> int:
        return self._wrapped.started_at

    @property
    def finished_at(self) -> int:
        return self._wrapped.finished_at

    @property
    def ok(self) -> bool:
        """Whether the job is COMPLETE."""
        return self._wrapped.ok

    def result(self) -> Any:
        """The value that the job function returned.

        Raises `JobFailed` for a FAILED job (`JobCancelled`, `JobTimedOut`, `RunnerLost` where it
        was not the runner's word), `PayloadError` for a result that no Python client packed:
        read `data` then.
        """
        return self._loop.call(self._wrapped.result)

    def handled(self) -> None:
        """Tells the broker that this outcome has been dealt with; it is not pushed again.

        Can be repeated. Raises `ConnectionLost` if the client closes before the broker answers.
        """
        self._loop.run(self._wrapped.handled())

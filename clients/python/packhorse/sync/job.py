"""`packhorse.job` without `await`. Made by `generate_sync.py`."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from packhorse import job as asynchronous_job
from packhorse.durations import Duration
from packhorse.loopthread import LoopThread
from packhorse.sync.outcome import Outcome
from packhorse_protocol.messages import AttemptList, Event, JobView, LogEntry, Progress, State, Why


class Job:
    """A job, by its id: made by `client.create` and `client.job`, valid while the client is open.

    `outcome()` or `result()` to wait for it, `progress()`, `logs()` and `events()` to look on,
    `get()`, `attempts()` and `why()` to read it, `cancel()`, `retry()`, `run_now()` and
    `remove()` to steer it.
    """

    def __init__(self, loop: LoopThread, wrapped: asynchronous_job.Job) -> None:
        self._loop = loop
        self._wrapped = wrapped

    @property
    def id(self) -> str:
        return self._wrapped.id

    @property
    def type(self) -> str | None:
        """None where only the id is known."""
        return self._wrapped.type

    @property
    def duplicate(self) -> Literal["joined", "replaced"] | None:
        """Set where it held the unique key of the job to be created, and was taken instead."""
        return self._wrapped.duplicate

    @property
    def durable(self) -> bool:
        """Whether what was waited for after its creation, a disk or replicas, came in time."""
        return self._wrapped.durable

    def __repr__(self) -> str:
        return self._loop.call(self._wrapped.__repr__)

    def outcome(self, *, timeout: Duration | None = None, handled: bool = True) -> Outcome:
        """Waits for the job to end, and returns how it did, COMPLETE or FAILED.

        With `handled` the broker is told that the outcome has been dealt with as soon as it is
        returned: **a job that nobody else handles is gone then**, also a FAILED one that was being
        kept, unless it is persistent. Without, call `outcome.handled()` when you are done;
        until then it comes again after a reconnect.

        This client has to be a handler of the job: create it with `handle=True`. For a job that
        was created elsewhere it becomes one first, which comes too late for a job that is gone.

        Raises `OutcomeTimeout` (the job goes on), `NotFound` if the job is not there or was
        removed, `NotHandler` if it was created here without `handle=True`.
        """
        return Outcome(
            self._loop, self._loop.run(self._wrapped.outcome(timeout=timeout, handled=handled))
        )

    def result(self, *, timeout: Duration | None = None) -> Any:
        """Waits for the job to end, and returns the value that its function returned.

        Raises `JobFailed` if it did not complete, `PayloadError` for a result that can't be
        unpacked, and what `outcome` raises.
        """
        return self._loop.run(self._wrapped.result(timeout=timeout))

    def handle(self, *, group: str | None = None) -> None:
        """Becomes a handler: the outcome is kept until this client has handled it.

        With `group` that group of handlers does instead. Raises `NotFound` if the job is not
        there (any more).
        """
        self._loop.run(self._wrapped.handle(group=group))

    def get(self) -> JobView:
        """The job as it is now. Raises `NotFound`."""
        return self._loop.run(self._wrapped.get())

    def attempts(self) -> AttemptList:
        """How each attempt of the job ended, oldest first. Raises `NotFound`."""
        return self._loop.run(self._wrapped.attempts())

    def why(self) -> Why:
        """Why the job does not run. Raises `NotFound`."""
        return self._loop.run(self._wrapped.why())

    def cancel(self, *, grace: Duration | None = None, why: str = "") -> State:
        """Ends the job as CANCELLED: at once if it waits, else its runner has the grace time.

        Returns the state that the job is in now. Raises `NotFound`, `WrongState` if it ended
        otherwise.
        """
        return self._loop.run(self._wrapped.cancel(grace=grace, why=why))

    def retry(self, *, attempts: int = 1, why: str = "") -> State:
        """Queues the FAILED job again, with so many more attempts.

        Raises `NotFound`, `WrongState`, `Duplicate` if another job holds its unique key now.
        """
        return self._loop.run(self._wrapped.retry(attempts=attempts, why=why))

    def run_now(self, *, why: str = "") -> State:
        """Queues the PENDING job at once. Raises `NotFound`, `WrongState`."""
        return self._loop.run(self._wrapped.run_now(why=why))

    def remove(self, *, states: State | Iterable[State] = (), why: str = "") -> None:
        """Removes the job in whatever state, or only in these; a runner that holds it is told.

        Raises `NotFound`, `WrongState`.
        """
        self._loop.run(self._wrapped.remove(states=states, why=why))

    def events(self) -> Iterator[Event]:
        """What happens to the job: first how it stands, then every change until its end.

        Each event has what changed: `state`, `progress`, `log` entries, `removed`. To a slow
        reader several come as one. Raises `NotFound`.
        """
        return self._loop.iterate(self._wrapped.events())

    def progress(self) -> Iterator[Progress]:
        """The newest progress and each one after it, until the job ends.

        A reader who is slower than the runner gets the newest, not each. Raises `NotFound`.
        """
        return self._loop.iterate(self._wrapped.progress())

    def logs(self, *, offset: int = 0, follow: bool = False) -> Iterator[LogEntry]:
        """The log from an offset on, each entry once and in order.

        With `follow` it goes on until the job ends, across reconnects. Offsets that are missing
        were dropped by the broker's bound on a job's log. Progress has entries too (`type`).
        Raises `NotFound`.
        """
        return self._loop.iterate(self._wrapped.logs(offset=offset, follow=follow))

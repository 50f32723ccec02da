"""Packhorse for programs without an event loop: the same, without `await`.

    with packhorse.sync.connect() as client:
        print(client.run("thumb", {"url": "cat.png"}))

Each client has an event loop in a thread of its own, and may be used from several threads.
Made by `generate_sync.py` from the asynchronous classes: change those.
"""

from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from packhorse import client as asynchronous
from packhorse import job as asynchronous_job
from packhorse import outcome as asynchronous_outcome
from packhorse.dialing import Dial
from packhorse.durations import Duration
from packhorse.errors import SomeRefused
from packhorse.loopthread import LoopThread
from packhorse.newjob import NewJob
from packhorse.payload import NOTHING
from packhorse_protocol.messages import (
    BrokerInfo,
    Counts,
    Error,
    Event,
    JobView,
    LogEntry,
    Progress,
    Reason,
    Role,
)

__all__ = ["Client", "Job", "Outcome", "connect"]


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
        """Why it is FAILED: the runner said so, or went away."""
        return self._wrapped.reason

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

        Raises `JobFailed` for a FAILED job, `PayloadError` for a result that no Python client
        packed: read `data` then.
        """
        return self._loop.call(self._wrapped.result)

    def handled(self) -> None:
        """Tells the broker that this outcome has been dealt with; it is not pushed again.

        Can be repeated. Raises `ConnectionLost` if the client closes before the broker answers.
        """
        self._loop.run(self._wrapped.handled())


class Job:
    """A job, by its id: made by `client.create` and `client.job`, valid while the client is open.

    `outcome()` or `result()` to wait for it, `progress()` and `logs()` to look on, `get()` to
    read it.
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

    def __repr__(self) -> str:
        return self._loop.call(self._wrapped.__repr__)

    def outcome(self, *, timeout: Duration | None = None, handled: bool = True) -> Outcome:
        """Waits for the job to end, and returns how it did, COMPLETE or FAILED.

        With `handled` the broker is told that the outcome has been dealt with as soon as it is
        returned. Without, call `outcome.handled()` when you are done; until then it comes
        again after a reconnect.

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

    def handle(self) -> None:
        """Becomes a handler: the outcome is kept until this client has handled it.

        Raises `NotFound` if the job is not there (any more).
        """
        self._loop.run(self._wrapped.handle())

    def get(self) -> JobView:
        """The job as it is now. Raises `NotFound`."""
        return self._loop.run(self._wrapped.get())

    def remove(self) -> None:
        """Removes the job in whatever state; a runner that holds it is told. Raises `NotFound`."""
        self._loop.run(self._wrapped.remove())

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


def _jobs(loop: LoopThread, creating: Coroutine[Any, Any, list[asynchronous_job.Job]]) -> list[Job]:
    try:
        return [Job(loop, job) for job in loop.run(creating)]
    except SomeRefused as error:
        wrapped = asynchronous_job.Job
        raise SomeRefused(
            [Job(loop, item) if isinstance(item, wrapped) else item for item in error.results]
        ) from None


class Client:
    """Made by `connect`. All methods may be called concurrently.

    What is asked for in one turn of the event loop leaves in one frame, so a thousand
    concurrent `create` calls cost about as much as one `create_many`.
    """

    def __init__(self, wrapped: asynchronous.Client) -> None:
        self._wrapped = wrapped
        self._loop = LoopThread()

    def __enter__(self) -> Self:
        """Connects. Raises `BrokerUnavailable`, or `Refused` if it wants no such client."""
        self._loop.start()
        try:
            self._loop.run(self._wrapped.__aenter__())
        except BaseException:
            self._loop.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._loop.run(self._wrapped.__aexit__(exc_type, exc, traceback))
        finally:
            self._loop.close()

    @property
    def id(self) -> str:
        """The client's id; with `secret` it outlives this connection and this process."""
        return self._wrapped.id

    @property
    def secret(self) -> bytes:
        """What resumes this client: keep it like a password."""
        return self._wrapped.secret

    @property
    def connected(self) -> bool:
        """Whether there is a connection at the moment; requests wait for one."""
        return self._wrapped.connected

    def create(
        self,
        job_type: str,
        arguments: object = NOTHING,
        *,
        payload: bytes | None = None,
        job_id: str | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        attempts: int = 1,
        persistent: bool = False,
        handle: bool = False,
    ) -> Job:
        """Creates a job and returns its handle once it is in the store.

        `arguments` are packed with msgpack: a map is passed to the job function as keyword
        arguments, any other value as its one positional argument. `payload` is sent as it is,
        instead. With `handle` this client becomes a handler: `outcome()` and `result()` of the
        job can be awaited, and it is kept until then. The other arguments are those of `NewJob`.

        Raises `Conflict` if a job with this `job_id` and other content exists, `TooLarge`,
        `InvalidValue`, `Unavailable` (no store), `ConnectionLost`.
        """
        return Job(
            self._loop,
            self._loop.run(
                self._wrapped.create(
                    job_type,
                    arguments,
                    payload=payload,
                    job_id=job_id,
                    key=key,
                    headers=headers,
                    attempts=attempts,
                    persistent=persistent,
                    handle=handle,
                )
            ),
        )

    def create_many(self, jobs: Iterable[NewJob], *, handle: bool = False) -> list[Job]:
        """Creates many jobs in few frames; each succeeds or fails by itself.

        Raises `SomeRefused`, whose `results` has a `Job` or an exception for each, in order.
        """
        return _jobs(self._loop, self._wrapped.create_many(jobs, handle=handle))

    def run(
        self,
        job_type: str,
        arguments: object = NOTHING,
        *,
        timeout: Duration | None = None,
        payload: bytes | None = None,
        job_id: str | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        attempts: int = 1,
    ) -> Any:
        """Creates a job, waits for it and returns its result: `create` and `result` in one.

        Raises what they raise: above all `JobFailed`, and `OutcomeTimeout` after `timeout`.
        """
        return self._loop.run(
            self._wrapped.run(
                job_type,
                arguments,
                timeout=timeout,
                payload=payload,
                job_id=job_id,
                key=key,
                headers=headers,
                attempts=attempts,
            )
        )

    def job(self, job_id: str) -> Job:
        """A handle on a job that exists, created by whomever. Asks nothing of the broker."""
        return Job(self._loop, self._loop.call(self._wrapped.job, job_id))

    def get(self, job_id: str) -> JobView:
        """The job as it is now: state, payload, progress, counters, result. Raises `NotFound`."""
        return self._loop.run(self._wrapped.get(job_id))

    def remove(self, *job_ids: str) -> None:
        """Removes jobs in whatever state; a runner that holds one is told.

        Raises `NotFound`, or `SomeRefused` where several were named.
        """
        self._loop.run(self._wrapped.remove(*job_ids))

    def outcomes(self, *, auto: bool = True) -> Iterator[Outcome]:
        """Every outcome for this client that nobody awaits by `job.outcome()`, as it comes.

        With `auto` an outcome is handled when the loop asks for the next one, so not if its body
        raised. Without, call `outcome.handled()` yourself, in any order. What was not
        handled comes again when the client resumes. Ends only by an exception or a `break`.
        """
        return (
            Outcome(self._loop, item)
            for item in self._loop.iterate(self._wrapped.outcomes(auto=auto))
        )

    def watch(self, *job_ids: str) -> Iterator[Event]:
        """What happens to these jobs: first how each stands, then every change.

        Ends when all have ended or are removed. To a slow reader several events of one job come
        as one, with the newest state and progress. Raises `NotFound` if one is not there.
        """
        return self._loop.iterate(self._wrapped.watch(*job_ids))

    def counts(self, *job_types: str) -> Counts:
        """Exact numbers of jobs by type and state, of the types named or of all."""
        return self._loop.run(self._wrapped.counts(*job_types))

    def info(self) -> BrokerInfo:
        """The broker's version, store, start and clock, and how many clients it has."""
        return self._loop.run(self._wrapped.info())


def connect(
    url: str | None = None,
    *,
    client_id: str | None = None,
    secret: bytes | None = None,
    roles: Sequence[Role] | None = None,
    timeout: Duration = "30s",
    wait_for_broker: Duration | None = "0s",
    outage_timeout: Duration = "30s",
    stay: bool | None = None,
    dial: Dial | None = None,
) -> Client:
    """A client of the broker at `url`, to be used with `with`. As `packhorse.connect`."""
    return Client(
        asynchronous.connect(
            url,
            client_id=client_id,
            secret=secret,
            roles=roles,
            timeout=timeout,
            wait_for_broker=wait_for_broker,
            outage_timeout=outage_timeout,
            stay=stay,
            dial=dial,
        )
    )

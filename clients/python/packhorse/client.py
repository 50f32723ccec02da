"""The client: creates jobs, waits for outcomes, looks at what there is."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from packhorse import address, dialing
from packhorse.dialing import Dial
from packhorse.durations import Duration, milliseconds, seconds
from packhorse.errors import ClientClosed, PackhorseError, SomeRefused, TooLarge
from packhorse.job import Job
from packhorse.link import Identity, Patience
from packhorse.newjob import NewJob
from packhorse.outcome import Outcome
from packhorse.payload import NOTHING
from packhorse.requests import quietly
from packhorse.session import Session
from packhorse.version import library
from packhorse.watching import over
from packhorse_protocol.messages import BrokerInfo, Counts, Event, JobView, Role
from packhorse_protocol.messages import NewJob as NewJobMessage

CREATE_CHUNK_JOBS: Final = 10_000
"""Jobs that `create_many` has on their way at once, so that memory does not grow with its input."""


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
) -> "Client":
    """A client of the broker at `url`, to be used with `async with`.

    `url`: `tcp://host:port` or `unix:///path`, several with commas between them; else the
    environment's PACKHORSE_URL, else 127.0.0.1:7225.

    `client_id` and `secret` (`client.secret` of an earlier connection) resume a client, with the
    outcomes that it is still owed. `roles`: what this client may do, else all. `timeout`: how
    long the broker waits for a sign of life before it forgets the client.

    `wait_for_broker`: how long to try the first connection, None for ever. `outage_timeout`: how
    long a request waits for a lost connection to come back before it raises `ConnectionLost`.

    `stay`: leave without `bye`, so that the client can come back; by default so where a
    `client_id` was given. `dial`: returns a connected socket, instead of an address.

    Raises `InvalidValue` for what can't be.
    """
    if dial is not None:
        endpoints = dialing.dialled(dial)
    else:
        endpoints = dialing.endpoints(address.resolve(url))
    identity = Identity(
        id=client_id,
        secret=secret,
        roles=tuple(roles) if roles is not None else None,
        timeout_ms=milliseconds(timeout, "timeout"),
        library=library(),
    )
    patience = Patience(
        first_s=None if wait_for_broker is None else seconds(wait_for_broker, "wait_for_broker"),
        outage_s=seconds(outage_timeout, "outage_timeout"),
    )
    session = Session(endpoints, identity, patience)
    return Client(session, stay=client_id is not None if stay is None else stay)


class Client:
    """Made by `connect`. All methods may be called concurrently.

    What is asked for in one turn of the event loop leaves in one frame, so a thousand
    concurrent `create` calls cost about as much as one `create_many`.
    """

    def __init__(self, session: Session, *, stay: bool) -> None:
        self._session = session
        self._stay = stay
        self._opened = False

    async def __aenter__(self) -> Self:
        """Connects. Raises `BrokerUnavailable`, or `Refused` by a broker that wants no such client.

        `Refused` has a subclass for each reason, as `ClientExists` or `SecretWrong`.
        """
        if self._opened:
            raise ClientClosed("a client is opened once: make another one with connect()")
        self._opened = True
        await self._session.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close(bye=not self._stay)

    @property
    def id(self) -> str:
        """The client's id; with `secret` it outlives this connection and this process."""
        return self._session.welcome.client

    @property
    def secret(self) -> bytes:
        """What resumes this client: keep it like a password."""
        return self._session.welcome.secret

    @property
    def connected(self) -> bool:
        """Whether there is a connection at the moment; requests wait for one."""
        return self._session.connected

    # -- creating ----------------------------------------------------------------------------

    async def create(
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
        new = NewJob(
            job_type,
            arguments,
            payload=payload,
            job_id=job_id,
            key=key,
            headers=headers,
            attempts=attempts,
            persistent=persistent,
        )
        return await self._create(new, handle)

    async def create_many(self, jobs: Iterable[NewJob], *, handle: bool = False) -> list[Job]:
        """Creates many jobs in few frames; each succeeds or fails by itself.

        Raises `SomeRefused`, whose `results` has a `Job` or an exception for each, in order.
        """
        results: list[Job | BaseException] = []
        chunk: list[NewJob] = []
        for new in jobs:
            chunk.append(new)
            if len(chunk) >= CREATE_CHUNK_JOBS:
                results += await self._create_chunk(chunk, handle)
                chunk = []
        results += await self._create_chunk(chunk, handle)
        return _all_or_raise(results)

    async def run(
        self,
        job_type: str,
        arguments: object = NOTHING,
        *,
        timeout: Duration | None = None,  # noqa: ASYNC109 - as in `Job.outcome`
        payload: bytes | None = None,
        job_id: str | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        attempts: int = 1,
    ) -> Any:
        """Creates a job, waits for it and returns its result: `create` and `result` in one.

        Raises what they raise: above all `JobFailed`, and `OutcomeTimeout` after `timeout`.
        """
        job = await self.create(
            job_type,
            arguments,
            payload=payload,
            job_id=job_id,
            key=key,
            headers=headers,
            attempts=attempts,
            handle=True,
        )
        return await job.result(timeout=timeout)

    async def _create_chunk(self, jobs: list[NewJob], handle: bool) -> list[Job | BaseException]:
        await self._session.requests.room()
        creating = (self._create(new, handle) for new in jobs)
        return await asyncio.gather(*creating, return_exceptions=True)

    async def _create(self, new: NewJob, handle: bool) -> Job:
        message = new.message()
        self._check_size(message)
        requests, outcomes = self._session.requests, self._session.outcomes
        former = outcomes.known(new.job_id)
        created = await (requests.create_and_handle if handle else requests.create).submit(message)
        if not created.existed:
            outcomes.forget(former)
        return Job(
            self._session,
            created.job,
            job_type=new.type,
            handling=handle,
            fleeting=not new.persistent,
        )

    def _check_size(self, message: NewJobMessage) -> None:
        size, limit = len(message.payload), self._session.limits.payload_bytes
        if size > limit:
            raise TooLarge(
                f"a payload of {size} bytes; this broker takes {limit}",
                details={"limit": str(limit)},
                subject=message.id,
            )

    # -- jobs and outcomes -------------------------------------------------------------------

    def job(self, job_id: str) -> Job:
        """A handle on a job that exists, created by whomever. Asks nothing of the broker."""
        return Job(self._session, job_id)

    async def get(self, job_id: str) -> JobView:
        """The job as it is now: state, payload, progress, counters, result. Raises `NotFound`."""
        return await self._session.requests.get.submit(job_id)

    async def remove(self, *job_ids: str) -> None:
        """Removes jobs in whatever state; a runner that holds one is told.

        Raises `NotFound`, or `SomeRefused` where several were named.
        """
        removing = [self._session.requests.remove.submit(job_id) for job_id in job_ids]
        if len(removing) == 1:
            await removing[0]
        elif removing:
            _all_or_raise(await asyncio.gather(*removing, return_exceptions=True))

    async def outcomes(self, *, auto: bool = True) -> AsyncGenerator[Outcome, None]:
        """Every outcome for this client that nobody awaits by `job.outcome()`, as it comes.

        With `auto` an outcome is handled when the loop asks for the next one, so not if its body
        raised. Without, call `await outcome.handled()` yourself, in any order. What was not
        handled comes again when the client resumes. Ends only by an exception or a `break`.
        """
        self._session.check_open()
        while not auto:
            # Not kept here: an outcome that the program drops unhandled is to come again.
            yield await self._session.outcomes.next()
        while True:
            outcome = await self._session.outcomes.next()
            yield outcome
            quietly(outcome.acknowledge())

    async def watch(self, *job_ids: str) -> AsyncGenerator[Event, None]:
        """What happens to these jobs: first how each stands, then every change.

        Ends when all have ended or are removed. To a slow reader several events of one job come
        as one, with the newest state and progress. Raises `NotFound` if one is not there.
        """
        left = set(job_ids)
        async with self._session.watches.subscribed(job_ids) as events:
            while left:
                event = await events.next()
                if over(event):
                    left.discard(event.job)
                yield event

    # -- the broker --------------------------------------------------------------------------

    async def counts(self, *job_types: str) -> Counts:
        """Exact numbers of jobs by type and state, of the types named or of all."""
        return await self._session.requests.counts.submit(job_types)

    async def info(self) -> BrokerInfo:
        """The broker's version, store, start and clock, and how many clients it has."""
        return await self._session.requests.info.submit(None)


def _all_or_raise(results: "Sequence[Any]") -> list[Any]:
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, PackhorseError):
            raise result
    if any(isinstance(result, PackhorseError) for result in results):
        raise SomeRefused(results)
    return list(results)

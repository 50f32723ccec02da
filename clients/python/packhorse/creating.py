"""What a client does to create jobs."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final, Unpack

from msgspec import Struct

from packhorse.durations import Duration
from packhorse.errors import TooLarge
from packhorse.gathering import all_or_raise
from packhorse.job import Job
from packhorse.kinds import NewForGroup, NotMet
from packhorse.newjob import JobOptions, NewJob, message_of
from packhorse.outcome import Outcome
from packhorse.payload import NOTHING
from packhorse.requests import quietly
from packhorse.session import OnSession
from packhorse_protocol.messages import Created
from packhorse_protocol.messages import NewJob as NewJobMessage

CREATE_CHUNK_JOBS: Final = 10_000
"""Jobs that `create_many` has on their way at once, so that memory does not grow with its input."""


class _Creation(Struct, eq=False):
    """A job on its way to the broker."""

    message: NewJobMessage
    former: Outcome | None
    answer: "asyncio.Future[Created | NotMet]"


class Creating(OnSession):
    """`create` one job, `create_many`, or `run` one and wait for its result."""

    async def create(
        self,
        job_type: str,
        arguments: object = NOTHING,
        *,
        handle: bool = False,
        group: str | None = None,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Creates a job and returns its handle once it is in the store.

        `arguments` are packed with msgpack: a map is passed to the job function as keyword
        arguments, any other value as its one positional argument. `payload` is sent as it is,
        instead. The other options are those of `NewJob`: delay and priority, attempts, backoff
        and timeouts, labels, a unique key, retention.

        With `handle` this client becomes a handler: `outcome()` and `result()` of the job can be
        awaited, and it is kept until then. With `group` so does that group of handlers: one
        member gets the outcome by `outcomes(group=...)`.

        Where another job holds the `unique` key, and `on_duplicate` says to join or to replace
        it, that other job is returned, with `job.duplicate` set. `job.durable` is false where the
        job is in the store, but what its `durability` or the broker's asks for did not come in
        time.

        Raises `Duplicate` (the key is held), `Conflict` if a job with this `job_id` and other
        content exists, `QuotaExceeded` and `TypeDraining` if the type takes no more, `StoreFull`,
        `NotDurable`, `TooLarge`, `InvalidValue`, `Unavailable` (no store), `ConnectionLost`.
        """
        message = message_of(job_type, arguments, options)
        job_id = options.get("job_id")
        former = None if job_id is None else self._session.outcomes.known(job_id)
        answer = await self._ask(message, handle, group)
        return self._created(message, former, answer, handle, group)

    async def create_many(
        self, jobs: Iterable[NewJob], *, handle: bool = False, group: str | None = None
    ) -> list[Job]:
        """Creates many jobs in few frames; each succeeds or fails by itself.

        Raises `SomeRefused`, whose `results` has a `Job` or an exception for each, in order.
        """
        results: list[Job | BaseException] = []
        chunk: list[NewJob] = []
        for new in jobs:
            chunk.append(new)
            if len(chunk) >= CREATE_CHUNK_JOBS:
                results += await self._create_chunk(chunk, handle, group)
                chunk = []
        results += await self._create_chunk(chunk, handle, group)
        return all_or_raise(results)

    async def run(
        self,
        job_type: str,
        arguments: object = NOTHING,
        *,
        timeout: Duration | None = None,  # noqa: ASYNC109 - as in `Job.outcome`
        **options: Unpack[JobOptions],
    ) -> Any:
        """Creates a job, waits for it and returns its result: `create` and `result` in one.

        Raises what they raise: above all `JobFailed`, and `OutcomeTimeout` after `timeout`.
        """
        job = await self.create(job_type, arguments, handle=True, **options)
        return await job.result(timeout=timeout)

    async def _create_chunk(
        self, jobs: list[NewJob], handle: bool, group: str | None
    ) -> list[Job | BaseException]:
        await self._session.requests.room()
        creations = [self._begun_or_error(new, handle, group) for new in jobs]
        results: list[Job | BaseException] = []
        for creation in creations:
            if isinstance(creation, BaseException):
                results.append(creation)
                continue
            try:
                answer = await creation.answer
                results.append(
                    self._created(creation.message, creation.former, answer, handle, group)
                )
            except asyncio.CancelledError:
                _take_back(creations)
                raise
            except Exception as error:  # noqa: BLE001 - it is told in its place, others go on
                results.append(error)
        return results

    def _begun_or_error(
        self, new: NewJob, handle: bool, group: str | None
    ) -> _Creation | BaseException:
        try:
            return self._begin(new, handle, group)
        except Exception as error:  # noqa: BLE001 - it is told in its place, others go on
            return error

    def _begin(self, new: NewJob, handle: bool, group: str | None) -> _Creation:
        message = new.message()
        former = None if new.job_id is None else self._session.outcomes.known(new.job_id)
        return _Creation(message, former, self._ask(message, handle, group))

    def _created(
        self,
        message: NewJobMessage,
        former: Outcome | None,
        answer: Created | NotMet,
        handle: bool,
        group: str | None,
    ) -> Job:
        """The handle; `former`: of an earlier job that had its id."""
        durable = True
        if isinstance(answer, NotMet):
            answer, durable = answer.created, False
        duplicate = answer.duplicate
        if former is not None and not answer.existed and duplicate is None:
            self._session.outcomes.forget(former)
        return Job(
            self._session,
            answer.job,
            job_type=message.type,
            duplicate=duplicate,
            handling=handle or duplicate == "joined",
            # Whether it goes with its end, as this client does not handle it.
            fleeting=duplicate is None
            and group is None
            and not (message.persistent or message.keep_ms),
            durable=durable,
        )

    def _ask(
        self, message: NewJobMessage, handle: bool, group: str | None
    ) -> "asyncio.Future[Created | NotMet]":
        limit = self._session.limits.payload_bytes
        if len(message.payload) > limit:
            raise _too_large(message, limit)
        requests = self._session.requests
        if group is None and not handle:
            return requests.create.submit(message)
        if group is not None:
            answer = requests.create_for_group.submit(NewForGroup(message, group, handle))
        else:
            answer = requests.create_and_handle.submit(message)
        if message.id is not None:
            self._session.overtaking.creating(message.id, answer)
        return answer


def _take_back(creations: Sequence[_Creation | BaseException]) -> None:
    """Those that have not left; of the others nobody is told."""
    for creation in creations:
        if isinstance(creation, _Creation):
            creation.answer.cancel()
            quietly(creation.answer)


def _too_large(message: NewJobMessage, limit: int) -> TooLarge:
    return TooLarge(
        f"a payload of {len(message.payload)} bytes; this broker takes {limit}",
        details={"limit": str(limit)},
        subject=message.id,
    )

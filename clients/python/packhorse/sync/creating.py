"""`packhorse.creating` without `await`. Made by `generate_sync.py`."""

from collections.abc import Iterable
from typing import Any, Unpack

from packhorse import client as asynchronous
from packhorse.durations import Duration
from packhorse.loopthread import LoopThread
from packhorse.newjob import JobOptions, NewJob
from packhorse.payload import NOTHING
from packhorse.sync.job import Job
from packhorse.sync.jobs import wrapped_jobs


class Creating:
    """`create` one job, `create_many`, or `run` one and wait for its result."""

    _loop: LoopThread
    _wrapped: asynchronous.Client

    def create(
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
        return Job(
            self._loop,
            self._loop.run(
                self._wrapped.create(job_type, arguments, handle=handle, group=group, **options)
            ),
        )

    def create_many(
        self, jobs: Iterable[NewJob], *, handle: bool = False, group: str | None = None
    ) -> list[Job]:
        """Creates many jobs in few frames; each succeeds or fails by itself.

        Raises `SomeRefused`, whose `results` has a `Job` or an exception for each, in order.
        """
        return wrapped_jobs(self._loop, self._wrapped.create_many(jobs, handle=handle, group=group))

    def run(
        self,
        job_type: str,
        arguments: object = NOTHING,
        *,
        timeout: Duration | None = None,
        **options: Unpack[JobOptions],
    ) -> Any:
        """Creates a job, waits for it and returns its result: `create` and `result` in one.

        Raises what they raise: above all `JobFailed`, and `OutcomeTimeout` after `timeout`.
        """
        return self._loop.run(self._wrapped.run(job_type, arguments, timeout=timeout, **options))

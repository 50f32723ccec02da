"""`packhorse.looking` without `await`. Made by `generate_sync.py`."""

from collections.abc import Iterator
from typing import Unpack

from packhorse import client as asynchronous
from packhorse.filters import PAGE_JOBS, Which
from packhorse.loopthread import LoopThread
from packhorse.moments import Moment
from packhorse.sync.job import Job
from packhorse_protocol.messages import (
    Action,
    AttemptList,
    BrokerInfo,
    Cursor,
    Event,
    JobPage,
    JobSummary,
    JobView,
    Why,
)


class Looking:
    """`get` and `list` jobs, ask `why` one does not run, `watch` what happens."""

    _loop: LoopThread
    _wrapped: asynchronous.Client

    def job(self, job_id: str) -> Job:
        """A handle on a job that exists, created by whomever. Asks nothing of the broker."""
        return Job(self._loop, self._loop.call(self._wrapped.job, job_id))

    def get(self, job_id: str) -> JobView:
        """The job as it is now: state, payload, progress, counters, result. Raises `NotFound`."""
        return self._loop.run(self._wrapped.get(job_id))

    def list(
        self,
        job_type: str | None = None,
        *,
        newest_first: bool = False,
        limit: int | None = None,
        **which: Unpack[Which],
    ) -> Iterator[JobSummary]:
        """The jobs that match all that is given, however many there are.

        `states`: one or several; `label` and `unique_key` as they were given at creation. `since`
        and `until` (exclusive) bound the time that belongs to a job's state: when a PENDING one
        is due, a QUEUED one was queued, a STARTED one started, a finished one finished. Jobs that
        change while the list is read may be missed, or come twice.

        Raises `InvalidValue`.
        """
        return self._loop.iterate(
            self._wrapped.list(job_type, newest_first=newest_first, limit=limit, **which)
        )

    def page(
        self,
        job_type: str | None = None,
        *,
        newest_first: bool = False,
        cursor: Cursor | None = None,
        limit: int = PAGE_JOBS,
        **which: Unpack[Which],
    ) -> JobPage:
        """One page of that list: at most `limit` (1 to 1000) jobs, maybe none.

        The `cursor` in it asks for the next page; None: there is none. Raises `InvalidValue`.
        """
        return self._loop.run(
            self._wrapped.page(
                job_type, newest_first=newest_first, cursor=cursor, limit=limit, **which
            )
        )

    def why(self, job_id: str) -> Why:
        """Why the job does not run: each cause for programs and for people. Raises `NotFound`."""
        return self._loop.run(self._wrapped.why(job_id))

    def attempts(self, job_id: str) -> AttemptList:
        """How each attempt of the job ended, oldest first. Raises `NotFound`."""
        return self._loop.run(self._wrapped.attempts(job_id))

    def watch(self, *job_ids: str) -> Iterator[Event]:
        """What happens to these jobs: first how each stands, then every change.

        Ends when all have ended or are removed. To a slow reader several events of one job come
        as one, with the newest state and progress. Raises `NotFound` if one is not there.
        """
        return self._loop.iterate(self._wrapped.watch(*job_ids))

    def actions(
        self, *, before: Moment | None = None, limit: int | None = None
    ) -> Iterator[Action]:
        """What was done by hand to jobs and types, by whom and why, newest first.

        Of those before a time, where it is given; as far back as the broker keeps them.
        """
        return self._loop.iterate(self._wrapped.actions(before=before, limit=limit))

    def info(self) -> BrokerInfo:
        """The broker's version, store, start and clock, and how many clients it has."""
        return self._loop.run(self._wrapped.info())

"""What a client does to look at jobs; `jobtypes.py` has types."""

import sys
from collections.abc import AsyncGenerator
from typing import Final, Unpack

from packhorse.filters import PAGE_JOBS, Which, pages, wanted
from packhorse.job import Job
from packhorse.kinds_to_read import ActionsWanted
from packhorse.moments import Moment, epoch_ms
from packhorse.session import OnSession
from packhorse.watching import over
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

PAGE_ACTIONS: Final = 500
"""Actions asked for at once: half of what the protocol allows."""

ALL: Final = sys.maxsize


class Looking(OnSession):
    """`get` and `list` jobs, ask `why` one does not run, `watch` what happens."""

    def job(self, job_id: str) -> Job:
        """A handle on a job that exists, created by whomever. Asks nothing of the broker."""
        return Job(self._session, job_id)

    async def get(self, job_id: str) -> JobView:
        """The job as it is now: state, payload, progress, counters, result. Raises `NotFound`."""
        return await self._session.requests.get.submit(job_id)

    async def list(
        self,
        job_type: str | None = None,
        *,
        newest_first: bool = False,
        limit: int | None = None,
        **which: Unpack[Which],
    ) -> AsyncGenerator[JobSummary, None]:
        """The jobs that match all that is given, however many there are.

        `states`: one or several; `label` and `unique_key` as they were given at creation. `since`
        and `until` (exclusive) bound the time that belongs to a job's state: when a PENDING one
        is due, a QUEUED one was queued, a STARTED one started, a finished one finished. Jobs that
        change while the list is read may be missed, or come twice.

        Raises `InvalidValue`.
        """
        first = wanted(job_type, which, newest_first=newest_first)
        async for page in pages(self._session.requests.list, first, limit):
            for job in page:
                yield job

    async def page(
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
        asked = wanted(job_type, which, newest_first=newest_first, cursor=cursor, limit=limit)
        return await self._session.requests.list.submit(asked)

    async def why(self, job_id: str) -> Why:
        """Why the job does not run: each cause for programs and for people. Raises `NotFound`."""
        return await self._session.requests.why.submit(job_id)

    async def attempts(self, job_id: str) -> AttemptList:
        """How each attempt of the job ended, oldest first. Raises `NotFound`."""
        return await self._session.requests.attempts.submit(job_id)

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

    async def actions(
        self, *, before: Moment | None = None, limit: int | None = None
    ) -> AsyncGenerator[Action, None]:
        """What was done by hand to jobs and types, by whom and why, newest first.

        Of those before a time, where it is given; as far back as the broker keeps them.
        """
        before_ms = None if before is None else epoch_ms(before, "before")
        left = ALL if limit is None else limit
        cursor: bytes | None = None
        while left > 0:
            asked = ActionsWanted(before_ms, min(left, PAGE_ACTIONS), cursor)
            page = await self._session.requests.actions.submit(asked)
            for action in page.actions[:left]:
                yield action
            left -= len(page.actions)
            cursor = page.cursor
            if cursor is None:
                return

    async def info(self) -> BrokerInfo:
        """The broker's version, store, start and clock, and how many clients it has."""
        return await self._session.requests.info.submit(None)

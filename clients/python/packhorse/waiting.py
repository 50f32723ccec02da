"""What a client does to learn how jobs ended."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import Literal

from packhorse.durations import Duration, seconds
from packhorse.errors import OutcomeTimeout
from packhorse.job import Job
from packhorse.outcome import Outcome
from packhorse.requests import quietly
from packhorse.session import OnSession
from packhorse.terms import one_of


class Waiting(OnSession):
    """`wait` for some jobs, or take all `outcomes` as they come."""

    async def wait(
        self,
        jobs: Iterable[Job | str],
        until: Literal["all", "any"] = "all",
        *,
        timeout: Duration | None = None,  # noqa: ASYNC109 - as in `Job.outcome`
        handled: bool = True,
    ) -> list[Outcome]:
        """Waits until all of these jobs have ended, or any; the outcomes there are, in order.

        `jobs`: handles or ids. This client becomes a handler of those that it does not handle
        yet. The outcomes that are returned count as handled, unless `handled` is false: **a job
        that nobody else handles is gone then**, also a FAILED one that was being kept, unless it
        is persistent. Those that come later can be waited for again.

        Raises `OutcomeTimeout` if not all, or none, have ended in time (the jobs go on, and what
        has come is returned by the next `wait`), and what `Job.outcome` raises.
        """
        one_of(until, ("all", "any"), "until")
        awaited = [Job(self._session, job) if isinstance(job, str) else job for job in jobs]
        limit_s = None if timeout is None else seconds(timeout, "timeout")
        waiting = [asyncio.create_task(job.outcome(handled=False)) for job in awaited]
        try:
            done = await _ended(waiting, until, limit_s)
        finally:
            for task in waiting:
                task.cancel()
            if waiting:
                await asyncio.wait(waiting)
        if waiting and len(done) < (len(waiting) if until == "all" else 1):
            raise OutcomeTimeout(
                f"{len(done)} of {len(waiting)} jobs have ended within {timeout}, not {until}"
            )
        outcomes = [task.result() for task in waiting if task in done]
        if handled:
            for outcome in outcomes:
                quietly(outcome.acknowledge())
        return outcomes

    def outcomes(
        self, *, group: str | None = None, auto: bool = True
    ) -> AsyncGenerator[Outcome, None]:
        """Every outcome for this client that nobody awaits by `job.outcome()`, as it comes.

        With `group` this client is a member of that group of handlers as long as the loop lasts,
        and gets outcomes that the group is to handle, each member some of them. What a member
        left unhandled goes to another one.

        With `auto` an outcome is handled when the loop asks for the next one, so not if its body
        raised. Without, call `await outcome.handled()` yourself, in any order. What was not
        handled comes again when the client resumes. Ends only by an exception or a `break`.
        """
        self._session.check_open()
        # Returned, not yielded from: a frame in between would hold each outcome a while longer.
        return self._own_outcomes(auto) if group is None else self._group_outcomes(group, auto)

    async def _own_outcomes(self, auto: bool) -> AsyncGenerator[Outcome, None]:
        while not auto:
            # Not kept here: an outcome that the program drops unhandled is to come again.
            yield await self._session.outcomes.next()
        while True:
            outcome = await self._session.outcomes.next()
            yield outcome
            quietly(outcome.acknowledge())

    async def _group_outcomes(self, group: str, auto: bool) -> AsyncGenerator[Outcome, None]:
        async with self._session.groups.member(group) as membership:
            while not auto:
                yield await membership.next()
            while True:
                outcome = await membership.next()
                yield outcome
                quietly(outcome.acknowledge())


async def _ended(
    waiting: "list[asyncio.Task[Outcome]]", until: Literal["all", "any"], limit_s: float | None
) -> "set[asyncio.Task[Outcome]]":
    """Those that ended; also after the first that can't, as it is gone."""
    if not waiting:
        return set()
    first = asyncio.FIRST_COMPLETED if until == "any" else asyncio.FIRST_EXCEPTION
    done, _ = await asyncio.wait(waiting, timeout=limit_s, return_when=first)
    for task in done:
        task.result()
    return done

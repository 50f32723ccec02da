"""What a client does to jobs by hand: the broker keeps who did it, and why, in the job's log."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Unpack

from packhorse.durations import Duration, milliseconds
from packhorse.errors import Duplicate, InvalidValue, NotFound, WrongState
from packhorse.filters import RETRIED_REASONS, Matched, Which, pages, reasons_of, states_of, wanted
from packhorse.gathering import each
from packhorse.kinds_by_hand import Cancelled, Hurried, Removed, Retried
from packhorse.session import OnSession
from packhorse_protocol.messages import Done, Ended, JobSummary, Reason, State

UNFINISHED: Final[tuple[State, ...]] = ("PENDING", "QUEUED", "STARTED")


def _any(_: JobSummary) -> bool:
    """All that the broker found."""
    return True


class Changing(OnSession):
    """`cancel`, `retry`, `run_now` and `remove` jobs: by id, or all that match.

    All take several ids, go to the broker in few frames and return the state each job is in
    then. One id raises its own error, several `SomeRefused`, whose `results` has a state (None
    for a removed job) or an exception for each. `why` is for whoever looks later.
    """

    async def cancel(
        self, *job_ids: str, grace: Duration | None = None, why: str = ""
    ) -> list[State]:
        """Ends jobs as FAILED with reason CANCELLED: waiting ones at once.

        The runner of a STARTED one is told, and loses its claim after the `grace` time (else the
        broker's own): what completes until then is COMPLETE. Raises `NotFound`, `WrongState` for
        a job that ended otherwise.
        """
        grace_ms = None if grace is None else milliseconds(grace, "grace")
        lane = self._session.requests.cancel
        return await each([lane.submit(Cancelled(j, grace_ms, why)) for j in job_ids], _state)

    async def retry(self, *job_ids: str, attempts: int = 1, why: str = "") -> list[State]:
        """Queues FAILED jobs again, with so many more attempts.

        Raises `NotFound`, `WrongState`, `Duplicate` if another job holds the unique key now.
        """
        lane = self._session.requests.retry
        return await each([lane.submit(Retried(j, attempts, why)) for j in job_ids], _state)

    async def run_now(self, *job_ids: str, why: str = "") -> list[State]:
        """Queues PENDING jobs at once. Raises `NotFound`, `WrongState`."""
        lane = self._session.requests.run_now
        return await each([lane.submit(Hurried(j, why)) for j in job_ids], _state)

    async def remove(
        self, *job_ids: str, states: State | Iterable[State] = (), why: str = ""
    ) -> None:
        """Removes jobs in whatever state, or only in these; a runner that holds one is told.

        Raises `NotFound`, `WrongState`.
        """
        allowed, lane = states_of(states), self._session.requests.remove
        await each([lane.submit(Removed(j, allowed, why)) for j in job_ids], _nothing)

    async def cancel_matching(
        self,
        job_type: str | None = None,
        *,
        grace: Duration | None = None,
        why: str = "",
        limit: int | None = None,
        dry_run: bool = False,
        everything: bool = False,
        **which: Unpack[Which],
    ) -> Matched:
        """Cancels all jobs that `list` would find, of those that have not ended.

        Every one of them needs `everything`: without it, and without anything that they have in
        common, `InvalidValue` is raised.
        """
        _check_chosen(job_type, which, everything)
        grace_ms = None if grace is None else milliseconds(grace, "grace")
        lane = self._session.requests.cancel
        return await self._matching(
            job_type,
            _only(which, UNFINISHED, "cancelled"),
            limit,
            None if dry_run else lambda job: lane.submit(Cancelled(job, grace_ms, why)),
        )

    async def retry_matching(
        self,
        job_type: str | None = None,
        *,
        attempts: int = 1,
        reasons: Reason | Iterable[Reason] = RETRIED_REASONS,
        why: str = "",
        limit: int | None = None,
        dry_run: bool = False,
        everything: bool = False,
        **which: Unpack[Which],
    ) -> Matched:
        """Retries all FAILED jobs that `list` would find, each once if it fails again.

        `reasons`: those that are FAILED for one of these; by default all but the CANCELLED ones.
        One whose unique key another job holds now stays as it is: see `Matched.duplicates`.
        """
        _check_chosen(job_type, which, everything)
        retried = reasons_of(reasons)
        chosen = _only(which, ("FAILED",), "retried")
        if chosen.get("until") is None:
            # Those that fail again come back at the end of the list, which would never end.
            chosen["until"] = (await self._session.requests.info.submit(None)).now_ms + 1
        lane = self._session.requests.retry
        return await self._matching(
            job_type,
            chosen,
            limit,
            None if dry_run else lambda job: lane.submit(Retried(job, attempts, why)),
            picked=lambda job: (job.reason or "FAILED") in retried,
        )

    async def run_now_matching(
        self,
        job_type: str | None = None,
        *,
        why: str = "",
        limit: int | None = None,
        dry_run: bool = False,
        everything: bool = False,
        **which: Unpack[Which],
    ) -> Matched:
        """Queues all PENDING jobs that `list` would find. `everything` as in `cancel_matching`."""
        _check_chosen(job_type, which, everything)
        lane = self._session.requests.run_now
        return await self._matching(
            job_type,
            _only(which, ("PENDING",), "run now"),
            limit,
            None if dry_run else lambda job: lane.submit(Hurried(job, why)),
        )

    async def remove_matching(
        self,
        job_type: str | None = None,
        *,
        why: str = "",
        limit: int | None = None,
        dry_run: bool = False,
        everything: bool = False,
        **which: Unpack[Which],
    ) -> Matched:
        """Removes all jobs that `list` would find, each only in a state that was asked for.

        `everything` as in `cancel_matching`.
        """
        _check_chosen(job_type, which, everything)
        allowed = states_of(which.get("states", ()))
        lane = self._session.requests.remove
        return await self._matching(
            job_type,
            which,
            limit,
            None if dry_run else lambda job: lane.submit(Removed(job, allowed, why)),
        )

    async def purge(
        self,
        job_type: str,
        *,
        states: State | Iterable[State] = ("COMPLETE", "FAILED"),
        why: str = "",
        dry_run: bool = False,
    ) -> Matched:
        """Removes the jobs of a type in these states, by default all that have ended."""
        return await self.remove_matching(job_type, states=states, why=why, dry_run=dry_run)

    async def _matching(
        self,
        job_type: str | None,
        which: Which,
        limit: int | None,
        change: "Callable[[str], asyncio.Future[Ended] | asyncio.Future[Done]] | None",
        *,
        picked: Callable[[JobSummary], bool] = _any,
    ) -> Matched:
        found = changed = duplicates = 0
        first = wanted(job_type, which)
        async for page in pages(self._session.requests.list, first, limit):
            jobs = [job for job in page if picked(job)]
            found += len(jobs)
            if change is not None:
                asked = [change(job.id) for job in jobs]
                results = await asyncio.gather(*asked, return_exceptions=True)
                changed += sum(map(_succeeded, results))
                duplicates += sum(isinstance(result, Duplicate) for result in results)
        return Matched(found=found, changed=changed, duplicates=duplicates)


def _check_chosen(job_type: str | None, which: Which, everything: bool) -> None:
    if not everything and job_type is None and not any(which.values()):
        raise InvalidValue("say what the jobs have in common, or everything=True")


def _state(ended: Ended) -> State:
    return ended.state


def _nothing(_: Done) -> None:
    """A job that was removed has no state."""


def _only(which: Which, allowed: tuple[State, ...], what: str) -> Which:
    """The same, restricted to states in which it can be done."""
    asked = states_of(which.get("states", ())) or allowed
    for state in asked:
        if state not in allowed:
            raise InvalidValue(f"states: {state} jobs can't be {what}, only {', '.join(allowed)}")
    return {**which, "states": asked}


def _succeeded(result: object) -> bool:
    """False for a job that has gone on since it was listed, or whose unique key another one
    holds by now. Raises every other error."""
    if isinstance(result, NotFound | WrongState | Duplicate):
        return False
    if isinstance(result, BaseException):
        raise result
    return True

"""`packhorse.changing` without `await`. Made by `generate_sync.py`."""

from collections.abc import Iterable
from typing import Unpack

from packhorse import client as asynchronous
from packhorse.durations import Duration
from packhorse.filters import RETRIED_REASONS, Matched, Which
from packhorse.loopthread import LoopThread
from packhorse_protocol.messages import Reason, State


class Changing:
    """`cancel`, `retry`, `run_now` and `remove` jobs: by id, or all that match.

    All take several ids, go to the broker in few frames and return the state each job is in
    then. One id raises its own error, several `SomeRefused`, whose `results` has a state (None
    for a removed job) or an exception for each. `why` is for whoever looks later.
    """

    _loop: LoopThread
    _wrapped: asynchronous.Client

    def cancel(self, *job_ids: str, grace: Duration | None = None, why: str = "") -> list[State]:
        """Ends jobs as FAILED with reason CANCELLED: waiting ones at once.

        The runner of a STARTED one is told, and loses its claim after the `grace` time (else the
        broker's own): what completes until then is COMPLETE. Raises `NotFound`, `WrongState` for
        a job that ended otherwise.
        """
        return self._loop.run(self._wrapped.cancel(*job_ids, grace=grace, why=why))

    def retry(self, *job_ids: str, attempts: int = 1, why: str = "") -> list[State]:
        """Queues FAILED jobs again, with so many more attempts.

        Raises `NotFound`, `WrongState`, `Duplicate` if another job holds the unique key now.
        """
        return self._loop.run(self._wrapped.retry(*job_ids, attempts=attempts, why=why))

    def run_now(self, *job_ids: str, why: str = "") -> list[State]:
        """Queues PENDING jobs at once. Raises `NotFound`, `WrongState`."""
        return self._loop.run(self._wrapped.run_now(*job_ids, why=why))

    def remove(self, *job_ids: str, states: State | Iterable[State] = (), why: str = "") -> None:
        """Removes jobs in whatever state, or only in these; a runner that holds one is told.

        Raises `NotFound`, `WrongState`.
        """
        self._loop.run(self._wrapped.remove(*job_ids, states=states, why=why))

    def cancel_matching(
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
        return self._loop.run(
            self._wrapped.cancel_matching(
                job_type,
                grace=grace,
                why=why,
                limit=limit,
                dry_run=dry_run,
                everything=everything,
                **which,
            )
        )

    def retry_matching(
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
        return self._loop.run(
            self._wrapped.retry_matching(
                job_type,
                attempts=attempts,
                reasons=reasons,
                why=why,
                limit=limit,
                dry_run=dry_run,
                everything=everything,
                **which,
            )
        )

    def run_now_matching(
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
        return self._loop.run(
            self._wrapped.run_now_matching(
                job_type, why=why, limit=limit, dry_run=dry_run, everything=everything, **which
            )
        )

    def remove_matching(
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
        return self._loop.run(
            self._wrapped.remove_matching(
                job_type, why=why, limit=limit, dry_run=dry_run, everything=everything, **which
            )
        )

    def purge(
        self,
        job_type: str,
        *,
        states: State | Iterable[State] = ("COMPLETE", "FAILED"),
        why: str = "",
        dry_run: bool = False,
    ) -> Matched:
        """Removes the jobs of a type in these states, by default all that have ended."""
        return self._loop.run(
            self._wrapped.purge(job_type, states=states, why=why, dry_run=dry_run)
        )

"""`packhorse.waiting` without `await`. Made by `generate_sync.py`."""

from collections.abc import Iterable, Iterator
from typing import Literal

from packhorse import client as asynchronous
from packhorse.durations import Duration
from packhorse.loopthread import LoopThread
from packhorse.sync.job import Job
from packhorse.sync.jobs import ids_of
from packhorse.sync.outcome import Outcome


class Waiting:
    """`wait` for some jobs, or take all `outcomes` as they come."""

    _loop: LoopThread
    _wrapped: asynchronous.Client

    def wait(
        self,
        jobs: Iterable[Job | str],
        until: Literal["all", "any"] = "all",
        *,
        timeout: Duration | None = None,
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
        return [
            Outcome(self._loop, item)
            for item in self._loop.run(
                self._wrapped.wait(ids_of(jobs), until, timeout=timeout, handled=handled)
            )
        ]

    def outcomes(self, *, group: str | None = None, auto: bool = True) -> Iterator[Outcome]:
        """Every outcome for this client that nobody awaits by `job.outcome()`, as it comes.

        With `group` this client is a member of that group of handlers as long as the loop lasts,
        and gets outcomes that the group is to handle, each member some of them. What a member
        left unhandled goes to another one.

        With `auto` an outcome is handled when the loop asks for the next one, so not if its body
        raised. Without, call `outcome.handled()` yourself, in any order. What was not
        handled comes again when the client resumes. Ends only by an exception or a `break`.
        """
        return (
            Outcome(self._loop, item)
            for item in self._loop.iterate(self._wrapped.outcomes(group=group, auto=auto))
        )

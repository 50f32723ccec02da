"""What a job function is given besides its arguments: what it runs, and how to report on it."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Final, TypeVar

from packhorse.cancelling import Halt
from packhorse.client import Client
from packhorse.deadlines import Deadline
from packhorse.durations import Duration, milliseconds
from packhorse.errors import StaleClaim
from packhorse.reports import Reporter
from packhorse_protocol.messages import Claim

CONTEXT_PARAMETER: Final = "ctx"
"""A function whose first parameter has this name is given the context as its first argument."""

Answer = TypeVar("Answer")


class RunningJob:
    """The claim that is being run: what all contexts know of it. Made by the worker."""

    def __init__(self, claim: Claim, deadline: Deadline) -> None:
        self._deadline = deadline
        self.job: Final = claim.job
        """The job's id."""
        self.type: Final = claim.type
        self.attempt: Final = claim.attempt
        """Which attempt this is, from 1."""
        self.attempts: Final = claim.attempts
        """How often the job may be tried in all."""
        self.token: Final = claim.token
        """Proves the claim; the worker presents it with every report."""
        self.fence: Final = claim.fence
        """Grows with each claim of the job: write it beside what you change elsewhere, and
        refuse a smaller one there, and no runner that was given up can overwrite its successor."""
        self.key: Final = claim.key
        self.headers: Final[Mapping[str, str]] = claim.headers or {}
        self.payload: Final = claim.payload
        """The payload as it was sent, before it was unpacked into arguments."""

    @property
    def remaining(self) -> float | None:
        """Seconds until this attempt times out, 0 if it has; None: it may run for ever.

        Counted on this process's own clock from what the broker said remains.
        """
        return self._deadline.remaining_s


class Context(RunningJob):
    """For a job function that is a coroutine: `async def thumb(ctx: Context, url: str)`.

    A job that is to stop is cancelled: `asyncio.CancelledError` is raised where it awaits.
    """

    def __init__(
        self, claim: Claim, deadline: Deadline, halt: Halt, reporter: Reporter, client: Client
    ) -> None:
        super().__init__(claim, deadline)
        self._halt = halt
        self._reporter = reporter
        self.client: Final = client
        """The worker's own client, for instance to create further jobs."""

    @property
    def cancelled(self) -> asyncio.Event:
        """Set when the job is to stop, because it was cancelled or its claim is over."""
        return self._halt.cancelled

    @property
    def revoked(self) -> asyncio.Event:
        """Set when the claim is no longer ours: nothing that the function does counts any more."""
        return self._halt.revoked

    def check_cancelled(self) -> None:
        """Raises `Cancelled` if the job is to stop: for a function that has caught it before."""
        if self._halt.is_cancelled:
            raise self._halt.error()

    async def progress(self, percent: int, text: str = "") -> None:
        """Tells how far the job is, 0 to 100. Does not wait for the broker; the newest wins.

        Raises `InvalidValue` for another number.
        """
        self._reporter.progress(percent, text)

    async def log(self, message: str) -> None:
        """Adds a line to the job's log. Waits only when hundreds of lines have not left yet."""
        await self._reporter.log(message)

    async def extend(self, run: Duration) -> float | None:
        """Lets this attempt run so long from now on, but never past the job's total timeout.

        Returns what `remaining` is then; a job without a run timeout has none afterwards either.
        Raises `StaleClaim` if the claim is over, `InvalidValue` for what is no duration.
        """
        return await self._reporter.extend(milliseconds(run, "extend"))


class ThreadContext(RunningJob):
    """For a plain function, which runs in a thread: `def thumb(ctx: ThreadContext, url: str)`.

    A thread can't be cancelled: call `check_cancelled` in long loops. `progress`, `log` and
    `extend` raise `StaleClaim` once the claim is no longer ours, which ends a function that
    reports.
    """

    def __init__(
        self,
        claim: Claim,
        deadline: Deadline,
        halt: Halt,
        reporter: Reporter,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(claim, deadline)
        self._halt = halt
        self._reporter = reporter
        self._loop = loop
        cancelled, revoked = halt.in_threads
        self.cancelled: Final = cancelled
        """Set when the job is to stop, because it was cancelled or its claim is over."""
        self.revoked: Final = revoked
        """Set when the claim is no longer ours: nothing that the function does counts any more."""

    def check_cancelled(self) -> None:
        """Raises `Cancelled` if the job is to stop; let it pass after cleaning up."""
        if self.cancelled.is_set():
            raise self._halt.error()

    def progress(self, percent: int, text: str = "") -> None:
        """Tells how far the job is, 0 to 100. Does not wait for the broker; the newest wins.

        Raises `InvalidValue` for another number, `StaleClaim` if the claim is over.
        """
        self._in_loop(_later(self._reporter, percent, text))

    def log(self, message: str) -> None:
        """Adds a line to the job's log. Waits only when hundreds of lines have not left yet.

        Raises `StaleClaim` if the claim is over.
        """
        self._in_loop(self._reporter.log(message))

    def extend(self, run: Duration) -> float | None:
        """Lets this attempt run so long from now on, but never past the job's total timeout.

        Returns what `remaining` is then; a job without a run timeout has none afterwards either.
        Raises `StaleClaim` if the claim is over, `InvalidValue` for what is no duration.
        """
        return self._in_loop(self._reporter.extend(milliseconds(run, "extend")))

    def _in_loop(self, report: Coroutine[Any, Any, Answer]) -> Answer:
        if self.revoked.is_set() or self._loop.is_closed():
            report.close()
            raise StaleClaim("the claim was revoked", subject=self.job)
        return asyncio.run_coroutine_threadsafe(report, self._loop).result()


async def _later(reporter: Reporter, percent: int, text: str) -> None:
    reporter.progress(percent, text)

"""What a job function is given besides its arguments: what it runs, and how to report on it."""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, Final

from packhorse.client import Client
from packhorse.errors import StaleClaim
from packhorse.reports import Reporter
from packhorse_protocol.messages import Claim


class _RunningJob:
    """The claim that is being run. Made by the worker."""

    def __init__(self, claim: Claim, reporter: Reporter) -> None:
        self._reporter = reporter
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


class Context(_RunningJob):
    """For a job function that is a coroutine: `async def thumb(ctx: Context, url: str)`."""

    def __init__(self, claim: Claim, reporter: Reporter, client: Client) -> None:
        super().__init__(claim, reporter)
        self.client: Final = client
        """The worker's own client, for instance to create further jobs."""
        self.revoked: Final = asyncio.Event()
        """Set when the claim is no longer ours; the coroutine is cancelled then."""

    async def progress(self, percent: int, text: str = "") -> None:
        """Tells how far the job is, 0 to 100. Does not wait for the broker; the newest wins.

        Raises `InvalidValue` for another number.
        """
        self._reporter.progress(percent, text)

    async def log(self, message: str) -> None:
        """Adds a line to the job's log. Waits only when hundreds of lines have not left yet."""
        await self._reporter.log(message)


class ThreadContext(_RunningJob):
    """For a plain function, which runs in a thread: `def thumb(ctx: ThreadContext, url: str)`.

    A thread can't be cancelled: look at `revoked` in long loops. `progress` and `log` raise
    `StaleClaim` once the claim is no longer ours, which ends a function that reports.
    """

    def __init__(self, claim: Claim, reporter: Reporter, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(claim, reporter)
        self._loop = loop
        self.revoked: Final = threading.Event()
        """Set when the claim is no longer ours: nothing that the function does counts any more."""

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

    def _in_loop(self, report: Coroutine[Any, Any, None]) -> None:
        if self.revoked.is_set() or self._loop.is_closed():
            report.close()
            raise StaleClaim("the claim was revoked", subject=self.job)
        asyncio.run_coroutine_threadsafe(report, self._loop).result()


async def _later(reporter: Reporter, percent: int, text: str) -> None:
    reporter.progress(percent, text)

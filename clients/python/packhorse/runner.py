"""Runs claims: one task for each, from the push to the broker's word that its end was recorded."""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal

from packhorse.client import Client
from packhorse.context import Context, ThreadContext
from packhorse.errors import NotFound, PackhorseError, PayloadError, StaleClaim, TooLarge
from packhorse.failures import raised, unfit
from packhorse.functions import JobFunction
from packhorse.link import MakeError
from packhorse.payload import pack_result
from packhorse.reports import Reporter
from packhorse.requests import quietly
from packhorse.session import RunnerHooks, Session
from packhorse.threads import DaemonThreads
from packhorse_protocol.messages import (
    Claim,
    ClaimRef,
    Completion,
    Ended,
    Failure,
    Revocation,
)

CANCEL_S: Final = 1.0
"""Seconds that a cancelled coroutine has to clean up before its claim is given back regardless."""

RELEASE_S: Final = 5.0
"""Seconds to wait for the broker to take claims back; those it did not are lost by timeout."""

_log = logging.getLogger("packhorse")


class _Run:
    """A claim being run."""

    def __init__(self, claim: Claim, function: JobFunction) -> None:
        self.claim = claim
        self.function = function
        self.phase: Literal["running", "reporting"] = "running"
        self.given_up = False
        """Revoked or released: whatever the function does, nobody is told."""
        self.context: Context | ThreadContext
        self.reporter: Reporter
        self.task: asyncio.Task[None]


class Runner:
    """`start`, then jobs run as they are pushed; `drain` and `release` to end.

    How many run at once is bounded by the credit given to the broker.
    """

    def __init__(
        self,
        session: Session,
        client: Client,
        functions: Mapping[str, JobFunction],
        *,
        concurrency: int,
    ) -> None:
        self._session = session
        self._client = client
        self._functions = functions
        self._concurrency = concurrency
        self._threads = DaemonThreads("packhorse-job")
        self._runs: dict[bytes, _Run] = {}
        self._taking = False
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.ended: asyncio.Future[MakeError] = asyncio.get_running_loop().create_future()
        """Set when the session is over and no job will come any more."""
        session.attach(
            RunnerHooks(
                connected=self._connected,
                claimed=self._claimed,
                revoked=self._revoked,
                ended=self._ended,
            )
        )

    async def start(self) -> None:
        """Asks for jobs. Raises `Forbidden` if the client may not run any."""
        self._taking = True
        await self._take()

    async def claim(self, job_id: str) -> None:
        """Claims exactly this job and runs it. Raises `NotFound`, `WrongState`."""
        try:
            claim = await self._session.requests.claim.submit(job_id)
        except PackhorseError:
            # The answer to a first try may have been lost with its connection, not the claim.
            if not any(run.claim.job == job_id for run in self._runs.values()):
                raise
        else:
            self._claimed([claim])

    async def drain(self) -> None:
        """Takes nothing more, and returns when no job runs."""
        await self._take_no_more()
        await self._idle.wait()

    async def release(self) -> None:
        """Ends what runs and gives its claims back, which costs no attempt."""
        # First, so that the broker does not push again what it gets back.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_S):
                await self._take_no_more()
        runs = [run for run in self._runs.values() if run.phase == "running"]
        for run in runs:
            self._give_up(run)
        if runs:
            await asyncio.wait([run.task for run in runs], timeout=CANCEL_S)
        ending: list[asyncio.Future[Any]] = [self._release(run.claim) for run in runs]
        ending += [run.task for run in self._runs.values() if run.phase == "reporting"]
        if ending:
            await asyncio.wait(ending, timeout=RELEASE_S)
        self._threads.close()

    async def _take_no_more(self) -> None:
        self._draining = True
        if self._taking:
            self._taking = False
            await asyncio.wait([self._take()])

    # -- what the session tells --------------------------------------------------------------

    def _connected(self, lost: bool) -> None:
        if lost:
            for run in list(self._runs.values()):
                self._give_up(run)
        if self._taking:
            quietly(self._take())

    def _claimed(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            if claim.token in self._runs:
                continue  # pushed again after a resume
            function = self._functions.get(claim.type)
            if function is None or self._draining:
                quietly(self._release(claim))
                continue
            run = _Run(claim, function)
            self._runs[claim.token] = run
            self._idle.clear()
            run.reporter = Reporter(
                claim, self._session.requests, self._session.limits, partial(self._give_up, run)
            )
            run.context = self._context(run)
            run.task = asyncio.create_task(self._run(run), name=f"packhorse-job-{claim.job}")
            run.task.add_done_callback(partial(self._over, run))

    def _revoked(self, revocations: Sequence[Revocation]) -> None:
        for revocation in revocations:
            run = self._runs.get(revocation.token)
            if run is not None:
                _log.warning("job %s was taken from us: %s", run.claim.job, revocation.reason)
                self._give_up(run)

    def _ended(self, error: MakeError) -> None:
        for run in list(self._runs.values()):
            self._give_up(run)
        if not self.ended.done():
            self.ended.set_result(error)

    # -- one job -----------------------------------------------------------------------------

    async def _run(self, run: _Run) -> None:
        end = await self._end(run)
        if not run.given_up:
            run.phase = "reporting"
            await run.reporter.flushed()
            await self._report(run.claim, end)

    def _over(self, run: _Run, _: "asyncio.Task[None]") -> None:
        del self._runs[run.claim.token]
        if not self._runs:
            self._idle.set()

    async def _end(self, run: _Run) -> Completion | Failure:
        """Calls the function; whatever comes of it ends the attempt."""
        claim = run.claim
        try:
            positional, keywords = run.function.arguments(claim.payload)
        except PayloadError as error:
            return unfit(claim, error)
        try:
            value = await self._call(run, positional, keywords)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return raised(claim, error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the job's failure, not ours
            return raised(claim, error)
        try:
            return Completion(job=claim.job, token=claim.token, result=self._packed(value))
        except PayloadError as error:
            return unfit(claim, error)

    async def _call(
        self, run: _Run, positional: tuple[Any, ...], keywords: Mapping[str, Any]
    ) -> Any:
        function = run.function
        if function.wants_context:
            positional = (run.context, *positional)
        if function.is_coroutine:
            return await function.function(*positional, **keywords)
        call = partial(function.function, *positional, **keywords)
        return await self._threads.run(partial(contextvars.copy_context().run, call))

    def _packed(self, value: object) -> bytes:
        result = pack_result(value)
        limit = self._session.limits.result_bytes
        if len(result) > limit:
            raise PayloadError(f"result: {len(result)} bytes; this broker takes {limit}")
        return result

    async def _report(self, claim: Claim, end: Completion | Failure) -> None:
        requests = self._session.requests
        try:
            if isinstance(end, Completion):
                await requests.complete.submit(end)
            else:
                await requests.fail.submit(end)
        except (StaleClaim, NotFound):
            _log.warning("job %s ended too late: its claim was over", claim.job)
        except TooLarge as error:
            _log.error("job %s: the broker takes no such result: %s", claim.job, error)
            quietly(requests.fail.submit(unfit(claim, error)))
        except PackhorseError as error:
            _log.error("the end of job %s was not taken: %s", claim.job, error)

    def _context(self, run: _Run) -> Context | ThreadContext:
        if run.function.is_coroutine:
            return Context(run.claim, run.reporter, self._client)
        return ThreadContext(run.claim, run.reporter, asyncio.get_running_loop())

    def _give_up(self, run: _Run) -> None:
        """The claim is over; what ran under it counts no more."""
        run.given_up = True
        run.context.revoked.set()
        if run.phase == "running":
            run.task.cancel()

    def _release(self, claim: Claim) -> "asyncio.Future[Ended]":
        return self._session.requests.release.submit(ClaimRef(job=claim.job, token=claim.token))

    def _take(self) -> "asyncio.Future[Any]":
        types = {
            function.type: function.concurrency or self._concurrency
            for function in self._functions.values()
        }
        wanted = (types, self._concurrency) if self._taking else ({}, 0)
        return self._session.requests.take.submit(wanted)

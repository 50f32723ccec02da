"""One job, from its claim to how its attempt ended: the function and all that runs around it."""

import asyncio
import contextvars
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final, Literal

from packhorse.cancelling import Halt
from packhorse.client import Client
from packhorse.context import Context, ThreadContext
from packhorse.deadlines import Deadline
from packhorse.errors import PayloadError
from packhorse.failures import CANCELLED, cancelled, raised, unfit
from packhorse.functions import JobFunction
from packhorse.injection import Providers
from packhorse.middleware import Middleware
from packhorse.payload import pack_result
from packhorse.processes import FailedInProcess, ProcessPool
from packhorse.reports import Reporter
from packhorse.session import Session
from packhorse.threads import DaemonThreads
from packhorse_protocol.messages import Cancellation, Claim, Completion, Failure

REVOKED_GRACE_S: Final = 0.5
"""Seconds that a process has to end its job after the claim was lost, before it is killed."""


class Run:
    """A claim being run. What most runs never need is made when it is asked for."""

    __slots__ = (
        "_ended",
        "_halt",
        "_session",
        "cancelling",
        "claim",
        "deadline",
        "function",
        "given_up",
        "grace_s",
        "phase",
        "reports",
        "task",
    )

    def __init__(self, claim: Claim, function: JobFunction, session: Session) -> None:
        self.claim = claim
        self.function = function
        self.deadline = Deadline(claim.remaining_ms)
        self.phase: Literal["waiting", "running", "reporting", "over"] = "waiting"
        self.grace_s = REVOKED_GRACE_S
        """How long a process that is told to stop may take."""
        self.cancelling = False
        """Somebody cancelled the job."""
        self.given_up = False
        """Revoked or released: whatever the function does, nobody is told."""
        self.task: asyncio.Task[None]
        self.reports: Reporter | None = None
        """What the function said of itself, if it did."""
        self._session = session
        self._halt: Halt | None = None
        self._ended: asyncio.Future[None] | None = None

    @property
    def halt(self) -> Halt:
        if self._halt is None:
            self._halt = Halt(threads=self.function.kind != "coroutine")
        return self._halt

    @property
    def reporter(self) -> Reporter:
        if self.reports is None:
            self.reports = Reporter(
                self.claim,
                self._session.requests,
                self._session.limits,
                self.deadline,
                self.give_up,
            )
            if self.given_up:
                self.reports.stop()
        return self.reports

    @property
    def ended(self) -> "asyncio.Future[None]":
        """Done when nothing more will be said of it."""
        if self._ended is None:
            self._ended = asyncio.get_running_loop().create_future()
        return self._ended

    def end(self) -> None:
        """Nothing more will be said of it."""
        self.phase = "over"
        if self._ended is not None:
            self._ended.set_result(None)

    def cancel(self, cancellation: Cancellation) -> None:
        """The job is to be cancelled; a repeated request changes nothing."""
        if self.cancelling or self.given_up:
            return
        self.cancelling = True
        self.grace_s = cancellation.grace_ms / 1_000
        self.halt.cancel(cancellation.why)
        self._interrupt()

    def give_up(self) -> None:
        """The claim is over; what ran under it counts no more."""
        if self.given_up:
            return
        self.given_up = True
        self.grace_s = REVOKED_GRACE_S
        if self.reports is not None:
            self.reports.stop()
        self.halt.revoke()
        self._interrupt()

    def _interrupt(self) -> None:
        # What has not begun sees it then. A thread is waited for: it needs its place until it ends.
        if self.phase == "running" and self.function.kind != "thread":
            self.task.cancel()


class Executor:
    """`execute` runs, each in a task of its own; `close` at last."""

    def __init__(
        self,
        session: Session,
        client: Client,
        middleware: tuple[Middleware, ...],
        providers: Providers,
    ) -> None:
        self._session = session
        self._client = client
        self._middleware = middleware
        self._providers = providers
        self._threads = DaemonThreads("packhorse-job")
        self._processes = ProcessPool()

    async def close(self) -> None:
        """Ends idle threads and all processes; threads that work end after that."""
        await self._processes.close()
        self._threads.close()

    async def execute(self, run: Run) -> Completion | Failure:
        """Calls the function; whatever comes of it ends the attempt.

        Raises `CancelledError` if the claim is over, or the whole worker is to end.
        """
        claim = run.claim
        try:
            value = await self._value(run)
        except _Unfit as error:
            return unfit(claim, error.cause)
        except asyncio.CancelledError as error:
            if run.cancelling and not run.given_up:
                return cancelled(claim, run.halt.error())
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return raised(claim, error, run.function.terms.retry)
        except FailedInProcess as error:
            return error.failure
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the job's failure, not ours
            return raised(claim, error, run.function.terms.retry)
        except BaseException as error:
            # A signal interrupts the main thread only: in another one the function raised it.
            if run.function.kind != "thread":
                raise
            return raised(claim, error, run.function.terms.retry)
        try:
            return Completion(job=claim.job, token=claim.token, result=self._packed(value))
        except PayloadError as error:
            return unfit(claim, error)

    def _value(self, run: Run) -> Awaitable[Any]:
        """What the function returns, within the middleware and with what it is provided with."""
        if run.cancelling:  # before it began
            raise run.halt.error()
        run.phase = "running"
        function = run.function
        positional: tuple[Any, ...]
        keywords: dict[str, Any]
        if function.kind == "process":  # it is unpacked there
            positional, keywords = (), {}
        else:
            try:
                positional, keywords = function.arguments(run.claim.payload)
            except PayloadError as error:
                raise _Unfit(error) from None
        middleware = self._middleware + function.terms.middleware
        if not middleware and not function.provided:
            return self._call(run, None, positional, keywords)
        return self._value_within(run, middleware, positional, keywords)

    async def _value_within(
        self,
        run: Run,
        middleware: tuple[Middleware, ...],
        positional: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> Any:
        ctx = self._context(run)
        async with AsyncExitStack() as around:  # which ends as None if a middleware hides an error
            for enter in middleware:
                await around.enter_async_context(enter(ctx))
            for name, kind in run.function.provided.items():
                keywords[name] = await self._providers.value(kind, ctx, around)
            return await self._call(run, ctx, positional, keywords)

    def _call(
        self,
        run: Run,
        ctx: Context | None,
        positional: tuple[Any, ...],
        keywords: Mapping[str, Any],
    ) -> Awaitable[Any]:
        function = run.function
        if function.kind == "coroutine":
            if function.wants_context:
                positional = (ctx or self._context(run), *positional)
            called: Awaitable[Any] = function.function(*positional, **keywords)
            return called
        if run.halt.is_cancelled:  # while the middleware began
            raise run.halt.error()
        thread_ctx = ThreadContext(
            run.claim, run.deadline, run.halt, run.reporter, asyncio.get_running_loop()
        )
        if function.kind == "process":
            return self._call_in_process(run, thread_ctx)
        if function.wants_context:
            positional = (thread_ctx, *positional)
        call = partial(function.function, *positional, **keywords)
        return self._threads.run(partial(contextvars.copy_context().run, call))

    async def _call_in_process(self, run: Run, ctx: ThreadContext) -> Completion:
        end = await self._processes.run(run.claim, run.function, ctx, lambda: run.grace_s)
        if isinstance(end, Completion):
            return end
        if run.cancelling and end.error.type == CANCELLED:
            raise run.halt.error()
        raise FailedInProcess(end)

    def _context(self, run: Run) -> Context:
        return Context(run.claim, run.deadline, run.halt, run.reporter, self._client)

    def _packed(self, value: object) -> bytes:
        # Of a process comes the whole end, packed there.
        result = value.result if isinstance(value, Completion) else pack_result(value)
        limit = self._session.limits.result_bytes
        if len(result) > limit:
            raise PayloadError(f"result: {len(result)} bytes; this broker takes {limit}")
        return result


class _Unfit(Exception):
    """The payload can't be used, which is not the function's fault."""

    def __init__(self, cause: PayloadError) -> None:
        super().__init__(str(cause))
        self.cause = cause

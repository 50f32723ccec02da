"""The worker: job functions by type, and the process that runs them."""

import asyncio
import logging
import multiprocessing
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    nullcontext,
)
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

from packhorse import address, dialing
from packhorse.client import Client
from packhorse.dialing import Dial
from packhorse.durations import Duration, milliseconds, seconds
from packhorse.errors import ClientClosed, InvalidValue, PackhorseError
from packhorse.execution import Executor
from packhorse.functions import JobFunction, Terms, job_function
from packhorse.injection import Lifetime, Providers
from packhorse.link import Identity, Patience
from packhorse.middleware import Middleware
from packhorse.processes import available_cpus, function_bytes
from packhorse.retries import RetryRules, retry_policy
from packhorse.runner import CANCEL_S, Runner
from packhorse.session import Session
from packhorse.signals import stop_signals
from packhorse.version import library
from packhorse.workshop import PROCESS_NAME
from packhorse_protocol.messages import TypeSchema

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
Provided = TypeVar("Provided")

MAX_CONCURRENCY: Final = 100_000
"""The most credit that the protocol can give."""

MAX_WEIGHT: Final = 1_000
"""The largest weight that the protocol knows."""

_log = logging.getLogger("packhorse")


class Worker:
    """Runs jobs.

        worker = Worker(concurrency=20)

        @worker.job("thumb")
        async def thumb(ctx: Context, url: str) -> str: ...

        asyncio.run(worker.run())

    A coroutine runs on the event loop, and must not block it: that would also hold up the
    heartbeats by which the broker knows that the worker lives. A plain function runs in a thread,
    or with `process=True` in a process. A first parameter called `ctx` gets the context:
    `Context`, `ThreadContext` or `ProcessContext`. What a function returns is the job's result;
    what it raises fails the attempt, `Fail` on purpose.

    A job that is cancelled, times out or is removed is stopped: a coroutine by
    `asyncio.CancelledError`, a thread by what `ctx.check_cancelled()` raises, a process by
    `Cancelled` in the midst of the function and SIGKILL after the grace time.

    A parameter annotated with a msgspec struct, a pydantic model or a dataclass gets its argument
    checked and made into one; a single such parameter takes the whole payload. A payload that
    does not fit fails its job for good. A function that takes nothing but `ctx` gets every job,
    with the bytes in `ctx.payload`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        concurrency: int = 10,
        prefetch: int = 0,
        client_id: str | None = None,
        secret: bytes | None = None,
        timeout: Duration = "30s",
        shutdown_timeout: Duration = "30s",
        wait_for_broker: Duration | None = None,
        retry: RetryRules | None = None,
        middleware: Sequence[Middleware] = (),
        publish_schemas: bool = False,
        tls: ssl.SSLContext | None = None,
        dial: Dial | None = None,
    ) -> None:
        """`concurrency`: how many jobs run at once. `prefetch`: how many more are held here, so
        that they begin without a word to the broker: for many short jobs. Those run nowhere else
        in the meantime, and their run timeout has begun. `shutdown_timeout`: how long stopping may
        take: running jobs have that long to end, less the last second, in which they are stopped
        and given back.

        `retry`: what follows an error of a class, for all types: `{ValueError: "never",
        TimeoutError: "30s"}`; see `job`. `middleware` runs around all jobs, the first outermost.
        `publish_schemas`: at the start the broker is given the JSON Schema of each type whose
        function has checked parameters, for creators to look up.

        The other arguments are those of `connect`; a worker waits for its broker for ever, unless
        told otherwise. Raises `InvalidValue` for what can't be.
        """
        if not 1 <= concurrency <= MAX_CONCURRENCY:
            raise InvalidValue(f"concurrency: {concurrency} must be 1 to {MAX_CONCURRENCY}")
        if not 0 <= prefetch <= MAX_CONCURRENCY - concurrency:
            most = MAX_CONCURRENCY - concurrency
            raise InvalidValue(f"prefetch: {prefetch} must be 0 to {most}")
        if dial is not None:
            self._endpoints = dialing.dialled(dial)
        else:
            self._endpoints = dialing.endpoints(address.resolve(url), tls)
        self._identity = Identity(
            id=client_id,
            secret=secret,
            roles=None,
            timeout_ms=milliseconds(timeout, "timeout"),
            library=library(),
        )
        self._patience = Patience(
            first_s=(
                None if wait_for_broker is None else seconds(wait_for_broker, "wait_for_broker")
            ),
            outage_s=milliseconds(timeout, "timeout") / 1_000,
        )
        self._shutdown_s = seconds(shutdown_timeout, "shutdown_timeout")
        self._concurrency = concurrency
        self._prefetch = prefetch
        self._retry = retry_policy(retry, "retry")
        self._middleware = list(middleware)
        self._providers = Providers()
        self._publish_schemas = publish_schemas
        self._functions: dict[str, JobFunction] = {}
        self._lifetime = AsyncExitStack()
        self._session: Session | None = None
        self._client: Client | None = None
        self._runner: Runner | None = None
        self._drained = False
        self._stop_asked = asyncio.Event()
        self._hurry_asked = asyncio.Event()

    def job(
        self,
        job_type: str,
        *,
        concurrency: int | None = None,
        weight: int = 1,
        process: bool = False,
        retry: RetryRules | None = None,
        middleware: Sequence[Middleware] = (),
    ) -> Callable[[Callable[Parameters, Returned]], Callable[Parameters, Returned]]:
        """Decorates the function that runs jobs of this type; the function itself is unchanged.

        `concurrency` bounds how many of this type run at once, below the worker's own bound; of
        functions in processes it is the number of CPUs if nothing is said. `weight`: how the
        worker's places are shared among its types that have jobs waiting, 1 to 1000.

        `process`: the function runs in a process, for work that keeps a CPU busy or has to be
        killed. It has to stand in a module by its name, and a script that runs the worker has to
        do so under `if __name__ == "__main__"`: the process imports it again.

        `retry`: what follows an error of a class or its subclasses: the wait until the next
        attempt, `"never"` another one, or `"default"`, the job's own backoff. It goes before the
        worker's rules, class by class; the nearest class decides. `Fail` speaks for itself.
        `middleware` runs within the worker's.

        Raises `InvalidValue` for what can't be, such as a second function for a type.
        """
        terms = Terms(
            concurrency=concurrency,
            weight=weight,
            retry=retry_policy(retry, f"{job_type}: retry").over(self._retry),
            middleware=tuple(middleware),
        )
        if not 1 <= weight <= MAX_WEIGHT:
            raise InvalidValue(f"{job_type}: weight {weight} must be 1 to {MAX_WEIGHT}")
        if process and concurrency is None:
            terms = replace(terms, concurrency=min(self._concurrency, available_cpus()))

        def register(
            function: Callable[Parameters, Returned],
        ) -> Callable[Parameters, Returned]:
            if job_type in self._functions:
                raise InvalidValue(f"{job_type}: this worker has a function for that type already")
            self._functions[job_type] = job_function(job_type, function, terms, process=process)
            return function

        return register

    def middleware(self, enter: Middleware) -> Middleware:
        """Decorates what runs around all jobs, within what was added before; see `Middleware`."""
        self._middleware.append(enter)
        return enter

    def provide(
        self,
        kind: type[Provided],
        make: Callable[
            ...,
            AbstractAsyncContextManager[Provided]
            | AbstractContextManager[Provided]
            | Awaitable[Provided]
            | Provided,
        ],
        *,
        per: Lifetime = "worker",
    ) -> None:
        """Gives every parameter of job functions that is annotated with `kind` a value.

            worker.provide(Database, open_database)             # an async context manager

            @worker.job("thumb")
            async def thumb(db: Database, url: str) -> None: ...

        `make` returns a context manager of either kind, which is left at the end of the lifetime,
        or a coroutine, or the value. `per="worker"`: it is called once, before the first job.
        `per="job"`: for each job, with the job's `Context` if it has a parameter `ctx`. Functions
        in processes are given none.

        Raises `InvalidValue` for a type that is provided already.
        """
        self._providers.add(kind, make, per)

    @property
    def client(self) -> Client:
        """The worker's own client, while it runs: to create jobs, for instance."""
        if self._client is None:
            raise ClientClosed("the worker does not run")
        return self._client

    async def __aenter__(self) -> Self:
        """Connects and begins to take jobs.

        Raises what `connect` raises, `Forbidden`, `InvalidValue` for functions that can't be run,
        and what the factories of `provide` raise.
        """
        functions = self._checked_functions()
        self._session = session = Session(self._endpoints, self._identity, self._patience)
        self._client = Client(session, stay=False)
        executor = Executor(session, self._client, tuple(self._middleware), self._providers)
        self._runner = Runner(
            session,
            executor,
            functions,
            concurrency=self._concurrency,
            prefetch=self._prefetch,
        )
        try:
            await self._unless_stopped(session.open())
            await self._providers.open(self._lifetime)
            if self._publish_schemas:
                await self._unless_stopped(self._publish(session, functions))
            await self._unless_stopped(self._runner.start())
        except BaseException:
            await self._close()
            raise
        _log.info(
            "worker %s: %s, %d at once",
            self._client.id,
            ", ".join(functions),
            self._concurrency,
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Takes nothing more, waits for running jobs, gives back what is left, and leaves."""
        try:
            if exc_type is None and not self._drained:
                await self._drain()
        finally:
            await self._close()

    async def _close(self) -> None:
        """Gives back what runs, and leaves."""
        assert self._runner is not None
        assert self._session is not None
        try:
            await self._runner.release()
            await self._lifetime.aclose()
        finally:
            await self._session.close(bye=True)
            self._client = None

    async def run(self, *, install_signals: bool = True) -> None:
        """Runs jobs until `stop()` or, with `install_signals`, SIGTERM or SIGINT.

        The first one drains: no new jobs, running ones have `shutdown_timeout` to end. The second
        one gives running jobs back at once; that costs them no attempt.

        Raises what `connect` raises, and `Superseded` if another program took this client over.
        """
        with stop_signals(self.stop) if install_signals else nullcontext():
            try:
                await self.__aenter__()
            except _StoppedEarly:
                _log.info("stopped before jobs were taken")
                return
            try:
                await self._until_stopped()
            finally:
                await self._close()

    async def _until_stopped(self) -> None:
        assert self._runner is not None
        stopped = asyncio.create_task(self._stop_asked.wait())
        either: list[asyncio.Future[Any]] = [stopped, self._runner.ended]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if self._runner.ended.done():
            make_error = self._runner.ended.result()
            raise make_error()
        _log.info("stopping: waiting for running jobs")
        await self._drain()

    def stop(self) -> None:
        """Ends `run`: once to drain, twice to give running jobs back at once.

        To be called in the event loop's thread.
        """
        if self._stop_asked.is_set():
            self._hurry_asked.set()
        self._stop_asked.set()

    async def claim(self, job_id: str) -> None:
        """Claims exactly this job and runs it, whatever the concurrency.

        Nothing happens if this worker runs it already. Raises `NotFound`, `WrongState` if it is
        not QUEUED, `InvalidValue` for a type that this worker has no function for, `ClientClosed`
        if the worker does not run, or is stopping.
        """
        if self._runner is None:
            raise ClientClosed("the worker does not run")
        await self._runner.claim(job_id)

    async def _drain(self) -> None:
        assert self._runner is not None
        either: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._runner.drain()),
            asyncio.create_task(self._hurry_asked.wait()),
        ]
        # What is left of the time is for stopping and giving back what did not end.
        patience_s = self._shutdown_s - min(CANCEL_S, self._shutdown_s / 4)
        try:
            await asyncio.wait(either, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._drained = True
            for task in either:
                task.cancel()
            await asyncio.wait(either)

    def _checked_functions(self) -> dict[str, JobFunction]:
        """The functions as they are run: with what the worker provides."""
        if multiprocessing.current_process().name == PROCESS_NAME:
            raise InvalidValue(
                "a process of a worker imports the script again: run the worker under "
                'if __name__ == "__main__"'
            )
        if self._session is not None:
            raise ClientClosed("a worker runs once: make another one")
        if not self._functions:
            raise InvalidValue('the worker has no job function: decorate one with @worker.job("…")')
        types = self._providers.types
        functions = {
            job_type: function.with_provided(types)
            for job_type, function in self._functions.items()
        }
        for function in functions.values():
            if function.kind == "process":
                function_bytes(function)
        return functions

    async def _unless_stopped(self, step: Coroutine[Any, Any, None]) -> None:
        """Takes a step towards working; raises `_StoppedEarly` if the worker is to stop first."""
        either: list[asyncio.Task[Any]] = [
            asyncio.create_task(step),
            asyncio.create_task(self._stop_asked.wait()),
        ]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in either:
                task.cancel()
            await asyncio.wait(either)
        if either[0].cancelled():
            raise _StoppedEarly("the worker was stopped before it took jobs")
        either[0].result()

    async def _publish(self, session: Session, functions: dict[str, JobFunction]) -> None:
        """Jobs run without it as well, so what can't be published is only logged."""
        for job_type, function in functions.items():
            try:
                schema = function.schema()
                if schema is not None:
                    published = TypeSchema(type=job_type, schema=schema)
                    await session.requests.publish.submit(published)
            except PackhorseError as error:
                _log.warning("the schema of %s was not published: %s", job_type, error)


class _StoppedEarly(ClientClosed):
    """`stop` was called while the worker still looked for its broker."""

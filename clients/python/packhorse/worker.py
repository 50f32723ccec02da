"""The worker: job functions by type, and the process that runs them."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import nullcontext
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

from packhorse import address, dialing
from packhorse.client import Client
from packhorse.dialing import Dial
from packhorse.durations import Duration, milliseconds, seconds
from packhorse.errors import ClientClosed, InvalidValue
from packhorse.functions import JobFunction, job_function
from packhorse.link import Identity, Patience
from packhorse.runner import Runner
from packhorse.session import Session
from packhorse.signals import stop_signals
from packhorse.version import library

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

MAX_CONCURRENCY: Final = 100_000
"""The most credit that the protocol can give."""

_log = logging.getLogger("packhorse")


class Worker:
    """Runs jobs.

        worker = Worker(concurrency=20)

        @worker.job("thumb")
        async def thumb(ctx: Context, url: str) -> str: ...

        asyncio.run(worker.run())

    A coroutine runs on the event loop, and must not block it: that would also hold up the
    heartbeats by which the broker knows that the worker lives. A plain function runs in a thread.
    A first parameter called `ctx` gets the context: `Context` or `ThreadContext`. What a function
    returns is the job's result; what it raises fails the attempt, `Fail` on purpose.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        concurrency: int = 10,
        client_id: str | None = None,
        secret: bytes | None = None,
        timeout: Duration = "30s",
        shutdown_timeout: Duration = "30s",
        wait_for_broker: Duration | None = None,
        dial: Dial | None = None,
    ) -> None:
        """`concurrency`: how many jobs run at once. `shutdown_timeout`: how long a worker that
        stops waits for running jobs before it gives them back.

        The other arguments are those of `connect`; a worker waits for its broker for ever, unless
        told otherwise. Raises `InvalidValue` for what can't be.
        """
        if not 1 <= concurrency <= MAX_CONCURRENCY:
            raise InvalidValue(f"concurrency: {concurrency} must be 1 to {MAX_CONCURRENCY}")
        if dial is not None:
            self._endpoints = dialing.dialled(dial)
        else:
            self._endpoints = dialing.endpoints(address.resolve(url))
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
        self._functions: dict[str, JobFunction] = {}
        self._session: Session | None = None
        self._client: Client | None = None
        self._runner: Runner | None = None
        self._drained = False
        self._stop_asked = asyncio.Event()
        self._hurry_asked = asyncio.Event()

    def job(
        self, job_type: str, *, concurrency: int | None = None
    ) -> Callable[[Callable[Parameters, Returned]], Callable[Parameters, Returned]]:
        """Decorates the function that runs jobs of this type; the function itself is unchanged.

        `concurrency` bounds how many of this type run at once, below the worker's own bound.
        Raises `InvalidValue` for a type that has a function already.
        """

        def register(
            function: Callable[Parameters, Returned],
        ) -> Callable[Parameters, Returned]:
            if job_type in self._functions:
                raise InvalidValue(f"{job_type}: this worker has a function for that type already")
            self._functions[job_type] = job_function(job_type, function, concurrency)
            return function

        return register

    @property
    def client(self) -> Client:
        """The worker's own client, while it runs: to create jobs, for instance."""
        if self._client is None:
            raise ClientClosed("the worker does not run")
        return self._client

    async def __aenter__(self) -> Self:
        """Connects and begins to take jobs. Raises what `connect` raises, and `Forbidden`."""
        if self._session is not None:
            raise ClientClosed("a worker runs once: make another one")
        if not self._functions:
            raise InvalidValue('the worker has no job function: decorate one with @worker.job("…")')
        self._session = Session(self._endpoints, self._identity, self._patience)
        self._client = Client(self._session, stay=False)
        self._runner = Runner(
            self._session, self._client, self._functions, concurrency=self._concurrency
        )
        await self._session.open()
        try:
            await self._runner.start()
        except BaseException:
            await self._session.close(bye=True)
            raise
        _log.info(
            "worker %s: %s, %d at once",
            self._client.id,
            ", ".join(self._functions),
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
        assert self._session is not None
        try:
            if exc_type is None and not self._drained:
                await self._drain()
        finally:
            assert self._runner is not None
            await self._runner.release()
            await self._session.close(bye=True)
            self._client = None

    async def run(self, *, install_signals: bool = True) -> None:
        """Runs jobs until `stop()` or, with `install_signals`, SIGTERM or SIGINT.

        The first one drains: no new jobs, running ones have `shutdown_timeout` to end. The second
        one gives running jobs back at once; that costs them no attempt.

        Raises what `connect` raises, and `Superseded` if another program took this client over.
        """
        async with self:
            with stop_signals(self.stop) if install_signals else nullcontext():
                assert self._runner is not None
                stopped = asyncio.create_task(self._stop_asked.wait())
                either: list[asyncio.Future[Any]] = [stopped, self._runner.ended]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
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

        Raises `NotFound`, or `WrongState` if it is not QUEUED.
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
        try:
            await asyncio.wait(
                either, timeout=self._shutdown_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            self._drained = True
            for task in either:
                task.cancel()
            await asyncio.wait(either)

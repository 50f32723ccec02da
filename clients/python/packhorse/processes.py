"""Processes for CPU-bound job functions: each runs one job at a time, and can be killed.

The worker's side. A thread of the worker converses with the process: it sends the claim, passes
on what the job reports, and waits for how it ended. Nothing is shared between processes, so that
one that is killed takes only its own job with it: a pool with common queues, as those of the
standard library, loky or pebble have, neither tells what a job reports nor lets one process be
told to stop, be listened to for a while, and then be killed. `workshop.py` has the other side.
"""

import asyncio
import atexit
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from ctypes import c_bool
from functools import partial
from multiprocessing.connection import Connection
from typing import Final

from packhorse.context import ThreadContext
from packhorse.errors import InvalidValue, PackhorseError, StaleClaim
from packhorse.functions import JobFunction
from packhorse.requests import quietly
from packhorse.threads import DaemonThreads
from packhorse.workshop import PROCESS_NAME, Ended, Extend, Job, Log, Progress, serve
from packhorse_protocol.messages import Claim, Completion, Failure

EXIT_S: Final = 2.0
"""Seconds that a process without a job has to exit by itself, before it is killed."""

_CONTEXT: Final = multiprocessing.get_context("spawn")
"""A fork of a process with threads and an event loop would inherit locks that nobody frees."""


class ProcessDied(PackhorseError):
    """The process that ran the job ended: killed from outside, out of memory, or by `os._exit`."""


class FailedInProcess(PackhorseError):
    """A job function failed in its process; `failure` is what is reported of it.

    For middleware: the error itself stays in the process, as it may hold what can't leave it.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.error.type}: {failure.error.message}")
        self.failure = failure


class ProcessPool:
    """As many processes as jobs ran at once; idle ones are used again.

    `run` jobs, `close` at last; used in the event loop's thread.
    """

    def __init__(self) -> None:
        self._threads = DaemonThreads("packhorse-process")
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()
        self._closed = False
        atexit.register(self._kill_all)

    async def run(
        self,
        claim: Claim,
        function: JobFunction,
        ctx: ThreadContext,
        grace_s: Callable[[], float],
    ) -> Completion | Failure:
        """Runs a job; returns how its attempt ended. Raises `ProcessDied` if the process did.

        Cancelling stops the job: SIGTERM, upon which `Cancelled` is raised in the function, then
        SIGKILL when `grace_s` seconds are over. What the function made of it is returned, if it
        came to an end; otherwise the `CancelledError` passes. Cancelling twice kills at once.
        """
        job = Job(claim=claim, function=function_bytes(function), remaining_s=ctx.remaining)
        lease = _Lease(self, job, ctx)
        ending: asyncio.Future[Completion | Failure] = self._threads.run(lease.converse)
        quietly(ending)  # nobody waits for it any more who was cancelled twice
        try:
            return await asyncio.shield(ending)
        except asyncio.CancelledError:
            lease.stop()
            try:
                await asyncio.wait([ending], timeout=grace_s())
            finally:
                lease.kill()
            await asyncio.wait([ending])
            if isinstance(ending.exception(), ProcessDied):
                raise
            return ending.result()

    async def close(self) -> None:
        """Ends idle processes, and kills the others. Returns when they have ended."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        if self._all:
            await self._threads.run(partial(self._end_all, idle))
        self._threads.close()
        atexit.unregister(self._kill_all)

    def _end_all(self, idle: "list[_Process]") -> None:
        for process in idle:
            process.connection.close()
        for process in idle:
            self._end(process)
        self._kill_all()

    def _kill_all(self) -> None:
        with self._lock:
            left = list(self._all)
        for process in left:
            process.kill()
            self._forget(process)

    # -- in the conversations' threads -------------------------------------------------------

    def lend(self) -> "_Process":
        """An idle process, else a new one."""
        with self._lock:
            if self._closed:
                raise ProcessDied("the worker has ended its processes")
            while self._idle:
                process = self._idle.pop()
                if process.is_alive():
                    return process
                self._all.discard(process)  # somebody killed it while it had nothing to do
                process.leave()
            process = _Process()
            self._all.add(process)
            return process

    def take_back(self, process: "_Process", *, usable: bool) -> None:
        """From who borrowed it; `usable`: it waits for its next job."""
        with self._lock:
            if usable and not self._closed:
                self._idle.append(process)
                return
        # How the job ended is to be told at once, however long its process takes to exit.
        threading.Thread(target=self._end, args=(process,), daemon=True).start()

    def _end(self, process: "_Process") -> None:
        process.leave()
        self._forget(process)

    def _forget(self, process: "_Process") -> None:
        with self._lock:
            self._all.discard(process)


class _Lease:
    """One job in one process."""

    def __init__(self, pool: ProcessPool, job: Job, ctx: ThreadContext) -> None:
        self._pool = pool
        self._job = job
        self._ctx = ctx
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._stopped = False

    def converse(self) -> Completion | Failure:
        """Runs in a thread: the whole job, from the claim to its end."""
        process = self._pool.lend()
        usable = False
        try:
            with self._lock:
                if self._stopped:
                    usable = True
                    raise ProcessDied("the job was stopped before it began")
                self._process = process
            end = self._talk(process)
            with self._lock:
                self._process = None
                usable = not self._stopped
            return end
        finally:
            with self._lock:
                self._process = None
            self._pool.take_back(process, usable=usable)

    def _talk(self, process: "_Process") -> Completion | Failure:
        try:
            process.connection.send(self._job)
            while True:
                said = process.connection.recv()
                if isinstance(said, Ended):
                    return said.end
                self._pass_on(process.connection, said)
        except (EOFError, OSError):
            raise ProcessDied(process.last_words()) from None

    def _pass_on(self, connection: Connection, said: Progress | Log | Extend) -> None:
        # A claim that is over is no news to the function: it is being stopped for that.
        with suppress(StaleClaim):
            match said:
                case Progress():
                    self._ctx.progress(said.percent, said.text)
                case Log():
                    self._ctx.log(said.message)
        if isinstance(said, Extend):
            try:
                connection.send(self._ctx.extend(said.run_ms / 1_000))
            except PackhorseError as error:
                connection.send(error)

    def stop(self) -> None:
        """Asks the function to end."""
        self._signal(_Process.stop)

    def kill(self) -> None:
        """Ends it, if it has not ended."""
        self._signal(_Process.kill)

    def _signal(self, how: "Callable[[_Process], None]") -> None:
        with self._lock:
            self._stopped = True
            if self._process is not None:
                how(self._process)


class _Process:
    """A process that waits for jobs, and the worker's end of the pipe to it."""

    def __init__(self) -> None:
        self.connection, theirs = _CONTEXT.Pipe()
        self._told_to_stop = _CONTEXT.RawValue(c_bool, False)
        self._process = _CONTEXT.Process(
            target=serve, args=(theirs, self._told_to_stop), name=PROCESS_NAME
        )
        self._process.start()
        theirs.close()  # so that the pipe ends with the process

    def stop(self) -> None:
        # The flag tells our signal from one to the whole process group, which is the worker's
        # to judge.
        self._told_to_stop.value = True
        with suppress(ValueError):  # it has ended, and was closed
            self._process.terminate()

    def kill(self) -> None:
        """Ends it at once; returns when it has ended."""
        with suppress(ValueError):
            self._process.kill()
            self._process.join()

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def last_words(self) -> str:
        """How it ended."""
        self._process.join(EXIT_S)
        code = self._process.exitcode
        if code is None:
            return "the process no longer answers"
        if code < 0:
            with suppress(ValueError):
                return f"the process was killed by {signal.Signals(-code).name}"
        return f"the process ended with exit code {code}"

    def leave(self) -> None:
        """Nothing more comes: it exits."""
        self.connection.close()
        with suppress(ValueError):
            self._process.join(EXIT_S)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
            self._process.close()


def available_cpus() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def function_bytes(function: JobFunction) -> bytes:
    """What a process needs to find the function again.

    Raises `InvalidValue` if it could not: only functions of modules have names to import.
    """
    try:
        return pickle.dumps((function.type, function.function, function.terms.retry))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InvalidValue(
            f"{function.type}: a function in a process has to stand in a module, by its name: "
            f"{error}"
        ) from None

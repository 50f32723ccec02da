"""The process in which job functions run one after the other: the other side of `processes.py`."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

from packhorse.cancelling import Cancelled
from packhorse.context import RunningJob
from packhorse.deadlines import Deadline
from packhorse.durations import Duration, milliseconds
from packhorse.errors import PackhorseError, PayloadError
from packhorse.failures import cancelled, raised, unfit
from packhorse.functions import JobFunction, Terms, job_function
from packhorse.payload import pack_result
from packhorse.reports import check_percent
from packhorse_protocol.messages import Claim, Completion, Failure

PROCESS_NAME: Final = "packhorse-job"

STOPPED: Final = "the job is to stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the process is given: a claim, and the function's name, pickled."""

    claim: Claim
    function: bytes
    remaining_s: float | None


@dataclass(frozen=True, slots=True)
class Progress:
    percent: int
    text: str


@dataclass(frozen=True, slots=True)
class Log:
    message: str


@dataclass(frozen=True, slots=True)
class Extend:
    """Is answered with the seconds that remain, None or an error."""

    run_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The last word on a job."""

    end: Completion | Failure


class ProcessContext(RunningJob):
    """For a function in a process: `def render(ctx: ProcessContext, scene: bytes)`.

    A job that is to stop has `Cancelled` raised wherever the function is, as by a Ctrl-C; when
    the grace time is over its process is killed.
    """

    def __init__(self, claim: Claim, deadline: Deadline, bench: "_Bench") -> None:
        super().__init__(claim, deadline)
        self._bench = bench

    def check_cancelled(self) -> None:
        """Raises `Cancelled` if the job is to stop: for a function that has caught it before."""
        if self._bench.stopped:
            raise Cancelled(STOPPED)

    def progress(self, percent: int, text: str = "") -> None:
        """Tells how far the job is, 0 to 100. Does not wait for the broker; the newest wins.

        Raises `InvalidValue` for another number.
        """
        check_percent(percent)
        self._bench.say(Progress(int(percent), text))

    def log(self, message: str) -> None:
        """Adds a line to the job's log. Waits only when hundreds of lines have not left yet."""
        self._bench.say(Log(message))

    def extend(self, run: Duration) -> float | None:
        """Lets this attempt run so long from now on, but never past the job's total timeout.

        Returns what `remaining` is then; a job without a run timeout has none afterwards either.
        Raises `StaleClaim` if the claim is over, `InvalidValue` for what is no duration.
        """
        remaining_s = self._bench.ask(Extend(milliseconds(run, "extend")))
        self._deadline.move(None if remaining_s is None else round(remaining_s * 1_000))
        return self.remaining


class _Bench:
    """The pipe to the worker, and the signal by which it stops the job that runs."""

    def __init__(self, connection: Connection, told_to_stop: Any) -> None:
        self._connection = connection
        self._told_to_stop = told_to_stop
        self._speaking = threading.Lock()
        """Threads of one function may speak at once: each message leaves whole."""
        self._running = False
        """Whether a job's function runs: a thread that outlives it says nothing of the next."""
        self._interruptible = False
        self.stopped = False
        """A plain value: what the signal interrupts might hold the lock of an event."""

    def listen(self) -> None:
        """SIGTERM counts if the worker sent it; what a terminal or a service manager sends to
        all processes of a worker is for the worker alone."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        if self._told_to_stop.value and not self.stopped:
            self.stopped = True
            self._interrupt()

    def _interrupt(self) -> None:
        if self.stopped and self._interruptible:
            raise Cancelled(STOPPED)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Within, the signal raises `Cancelled`; at once if it came before."""
        self._running = self._interruptible = True
        try:
            self._interrupt()
            yield
        finally:
            self._running = self._interruptible = False

    @contextmanager
    def _uninterrupted(self) -> Iterator[None]:
        """An exception in the midst of a message would spoil all later ones. Only the main
        thread is interrupted."""
        if threading.current_thread() is not threading.main_thread():
            with self._speaking:
                if not self._running:
                    raise RuntimeError("the job has ended")
                yield
            return
        self._interruptible = False
        try:
            with self._speaking:
                yield
        finally:
            self._interruptible = self._running
        self._interrupt()

    def next_job(self) -> Job | None:
        """Waits for it; None: there will be none."""
        try:
            job: Job = self._connection.recv()
        except (EOFError, OSError):
            return None
        return job

    def end_job(self, end: Completion | Failure) -> None:
        """The last that is said of a job."""
        self._interruptible = False
        with self._speaking:
            self._connection.send(Ended(end))

    def say(self, said: Progress | Log) -> None:
        """From within the job's function."""
        with self._uninterrupted():
            self._connection.send(said)

    def ask(self, said: Extend) -> float | None:
        """From within the job's function. Raises what the worker answers, if it is an error."""
        with self._uninterrupted():
            self._connection.send(said)
            answer: float | PackhorseError | None = self._connection.recv()
        if isinstance(answer, PackhorseError):
            raise answer
        return answer


def serve(connection: Connection, told_to_stop: Any) -> None:
    """Runs jobs until the worker closes the pipe or ends."""
    bench = _Bench(connection, told_to_stop)
    bench.listen()
    threading.Thread(target=_end_with_the_worker, daemon=True).start()
    functions: dict[bytes, JobFunction] = {}
    while (job := bench.next_job()) is not None:
        try:
            bench.end_job(_run(job, bench, functions))
        except OSError:
            return  # the worker has gone


def _end_with_the_worker() -> None:
    worker = multiprocessing.parent_process()
    assert worker is not None
    worker.join()
    os._exit(1)


def _run(job: Job, bench: _Bench, functions: dict[bytes, JobFunction]) -> Completion | Failure:
    claim = job.claim
    try:
        function = functions.get(job.function)
        if function is None:
            function = functions[job.function] = _found(job.function)
    except Exception as error:  # noqa: BLE001 - whatever its module raises when it is imported
        return raised(claim, error)
    try:
        positional, keywords = function.arguments(claim.payload)
    except PayloadError as error:
        return unfit(claim, error)
    if function.wants_context:
        remaining_ms = None if job.remaining_s is None else round(job.remaining_s * 1_000)
        positional = (ProcessContext(claim, Deadline(remaining_ms), bench), *positional)
    try:
        with bench.interruptible():
            value = function.function(*positional, **keywords)
    except Cancelled as error:
        if bench.stopped:
            return cancelled(claim, error)
        return raised(claim, error, function.terms.retry)
    except BaseException as error:  # noqa: BLE001 - the job's failure, not ours
        return raised(claim, error, function.terms.retry)
    try:
        return Completion(job=claim.job, token=claim.token, result=pack_result(value))
    except PayloadError as error:
        return unfit(claim, error)


def _found(pickled: bytes) -> JobFunction:
    """The function by its name, which imports its module."""
    job_type, function, retry = pickle.loads(pickled)  # noqa: S301 - our own worker's bytes
    return job_function(job_type, function, Terms(retry=retry), process=True)

"""Threads for plain job functions."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any


class DaemonThreads:
    """Runs functions in threads that don't keep the process from exiting.

    The standard library's pool joins its threads at exit, so that one job that hangs would hold
    a worker for ever which was told twice to stop. There are as many threads as functions that
    ran at once: the worker's concurrency bounds that.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = 0
        self._busy = 0

    def run(self, function: Callable[[], Any]) -> "asyncio.Future[Any]":
        """Calls the function in a thread. Cancelling the future only stops the waiting."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def work() -> None:
            settle: Callable[[], None]
            try:
                settle = partial(_set_result, future, function())
            except BaseException as error:  # noqa: BLE001 - belongs to whoever awaits the future
                settle = partial(_set_exception, future, error)
            with suppress(RuntimeError):  # the loop has closed: nobody awaits it any more
                loop.call_soon_threadsafe(self._done, settle)

        self._busy += 1
        if self._busy > self._threads:
            self._threads += 1
            name = f"{self._name}-{self._threads}"
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        self._work.put(work)
        return future

    def close(self) -> None:
        """Ends the threads that are idle; others end after what they run."""
        for _ in range(self._threads):
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def _done(self, settle: Callable[[], None]) -> None:
        self._busy -= 1
        settle()


def _set_result(future: "asyncio.Future[Any]", value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _set_exception(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if isinstance(error, StopIteration):
        # A future can't carry it: an awaiting coroutine would seem to end.
        replacement = RuntimeError("the function raised StopIteration")
        replacement.__cause__ = error
        error = replacement
    if not future.done():
        future.set_exception(error)

"""An event loop in a thread of its own, for programs that have none."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import closing
from enum import Enum
from typing import Any, ParamSpec, TypeVar

from packhorse.errors import ClientClosed

Returned = TypeVar("Returned")
Parameters = ParamSpec("Parameters")


class _End(Enum):
    END = "end"


class LoopThread:
    """`start`, then `run` coroutines and `call` functions in the loop's thread; `close` at last.

    May be used from several threads at once, never from the loop's own.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._serve, name="packhorse-loop", daemon=True)

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Returned]) -> Returned:
        """Waits for the coroutine's result; it is cancelled when the waiting is interrupted."""
        if self._loop is None or not self._thread.is_alive():
            work.close()
            raise ClientClosed("the client is closed or was never opened: use it inside `with`")
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result()
        finally:
            running.cancel()

    def call(
        self,
        function: Callable[Parameters, Returned],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Returned:
        """Calls a function in the loop's thread and waits for what it returns."""

        async def work() -> Returned:
            return function(*args, **kwargs)

        return self.run(work())

    def iterate(self, items: AsyncGenerator[Returned, None]) -> Iterator[Returned]:
        """The items of an asynchronous generator, which is closed when the loop over them ends."""

        async def step() -> Returned | _End:
            return await anext(items, _End.END)

        try:
            while not isinstance(item := self.run(step()), _End):
                yield item
        finally:
            if self._thread.is_alive():
                self.run(items.aclose())

    def close(self) -> None:
        """Ends the loop and its thread."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _serve(self) -> None:
        assert self._loop is not None
        with closing(self._loop) as loop:
            asyncio.set_event_loop(loop)
            loop.run_forever()
            loop.run_until_complete(loop.shutdown_asyncgens())

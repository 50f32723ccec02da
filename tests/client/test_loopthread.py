import asyncio
import threading
from collections.abc import AsyncGenerator

import pytest

from packhorse import ClientClosed
from packhorse.loopthread import LoopThread


@pytest.fixture
def loop() -> LoopThread:
    return LoopThread()


async def here() -> int:
    return threading.get_ident()


def test_coroutines_run_in_its_thread(loop: LoopThread) -> None:
    loop.start()
    assert loop.run(here()) == loop.call(threading.get_ident) != threading.get_ident()
    loop.close()


def test_what_is_raised_arrives(loop: LoopThread) -> None:
    async def fail() -> None:
        raise KeyError("x")

    loop.start()
    with pytest.raises(KeyError, match="x"):
        loop.run(fail())
    with pytest.raises(ZeroDivisionError):
        loop.call(divmod, 1, 0)
    loop.close()


def test_items_come_one_by_one(loop: LoopThread) -> None:
    closed = threading.Event()

    async def items() -> AsyncGenerator[int, None]:
        try:
            for n in range(10):
                await asyncio.sleep(0)
                yield n
        finally:
            closed.set()

    loop.start()
    assert list(loop.iterate(items())) == list(range(10))
    assert closed.is_set()
    closed.clear()
    some = loop.iterate(items())
    assert [next(some), next(some)] == [0, 1]
    some.close()  # type: ignore[attr-defined]
    assert closed.is_set()
    loop.close()


def test_a_closed_one_says_so(loop: LoopThread) -> None:
    with pytest.raises(ClientClosed):
        loop.run(here())
    loop.start()
    loop.close()
    with pytest.raises(ClientClosed):
        loop.call(threading.get_ident)


def test_an_interrupted_wait_cancels(loop: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled = threading.Event()
    begun = threading.Event()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    class Interrupted:
        """A future whose waiting ends as Ctrl-C ends it."""

        def __init__(self, future: "asyncio.Future[None]") -> None:
            self._future = future
            self.cancel = future.cancel

        def result(self) -> None:
            assert begun.wait(20)
            raise KeyboardInterrupt

    submit = asyncio.run_coroutine_threadsafe
    monkeypatch.setattr(
        asyncio,
        "run_coroutine_threadsafe",
        lambda *args: Interrupted(submit(*args)),  # type: ignore[arg-type]
    )
    loop.start()
    with pytest.raises(KeyboardInterrupt):
        loop.run(wait())
    assert cancelled.wait(20)
    loop.close()

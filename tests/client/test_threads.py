import asyncio
import threading

import pytest

from packhorse.threads import DaemonThreads


async def test_a_function_runs_in_a_thread() -> None:
    threads = DaemonThreads("test")
    assert await threads.run(threading.current_thread) is not threading.current_thread()
    threads.close()


async def test_threads_are_used_again() -> None:
    threads = DaemonThreads("test")
    names = {(await threads.run(threading.current_thread)).name for _ in range(10)}
    assert names == {"test-1"}
    threads.close()


async def test_functions_run_at_once() -> None:
    threads = DaemonThreads("test")
    together = threading.Barrier(3)
    await asyncio.gather(*(threads.run(lambda: together.wait(20)) for _ in range(3)))
    threads.close()


async def test_threads_do_not_hold_up_the_process() -> None:
    threads = DaemonThreads("test")
    assert (await threads.run(threading.current_thread)).daemon
    threads.close()


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), asyncio.CancelledError()])
async def test_what_is_raised_arrives(error: BaseException) -> None:
    threads = DaemonThreads("test")

    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        await threads.run(fail)
    threads.close()


async def test_stop_iteration_arrives_as_something_that_can() -> None:
    threads = DaemonThreads("test")

    def fail() -> None:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration") as raised:
        await threads.run(fail)
    assert isinstance(raised.value.__cause__, StopIteration)
    threads.close()


async def test_a_cancelled_wait_leaves_the_thread_alone() -> None:
    threads = DaemonThreads("test")
    go_on = threading.Event()
    ended = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    def work() -> None:
        go_on.wait(20)
        loop.call_soon_threadsafe(ended.set_result, True)

    waiting = threads.run(work)
    waiting.cancel()
    go_on.set()
    assert await ended
    assert await threads.run(lambda: 5) == 5
    threads.close()


def test_a_function_may_outlive_its_loop() -> None:
    go_on, begun = threading.Event(), threading.Event()
    found: list[threading.Thread] = []

    def work() -> None:
        found.append(threading.current_thread())
        begun.set()
        go_on.wait(20)

    async def leave_it() -> None:
        threads = DaemonThreads("test")
        threads.run(work).cancel()
        threads.close()

    asyncio.run(leave_it())
    assert begun.wait(20)
    go_on.set()
    found[0].join(20)
    assert not found[0].is_alive()

import asyncio
import os
import signal

import pytest

from packhorse.signals import stop_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_each_signal_stops(number: signal.Signals) -> None:
    came: asyncio.Queue[None] = asyncio.Queue()
    with stop_signals(lambda: came.put_nowait(None)):
        for _ in range(2):
            os.kill(os.getpid(), number)
            async with asyncio.timeout(20):
                await came.get()


async def test_afterwards_nothing_is_installed() -> None:
    with stop_signals(lambda: None):
        pass
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_in_another_thread_nothing_is_installed() -> None:
    async def elsewhere() -> None:
        before = signal.getsignal(signal.SIGTERM)
        with stop_signals(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is before

    await asyncio.to_thread(asyncio.run, elsewhere())

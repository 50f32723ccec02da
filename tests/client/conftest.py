"""A scripted broker for a client's words, and a real one for what comes of them."""

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

from packhorse import Fail, ThreadContext, Worker
from packhorse_broker.local import LocalBroker
from tests.client.scripted import ScriptedBroker
from tests.client.terminal import Terminal

MakeWorker: TypeAlias = Callable[..., Worker]


@pytest_asyncio.fixture
async def scripted() -> AsyncIterator[ScriptedBroker]:
    """A broker that says what the test says."""
    broker = ScriptedBroker()
    yield broker
    await broker.close()


@pytest_asyncio.fixture
async def broker(store_url: str, prefix: str) -> AsyncIterator[LocalBroker]:
    """A whole broker in this process."""
    async with LocalBroker(store_url=store_url, prefix=prefix) as broker:
        yield broker


@pytest.fixture
def make_worker(broker: LocalBroker) -> MakeWorker:
    """A worker of that broker."""

    def make(**options: Any) -> Worker:
        return Worker(dial=broker.dial, **options)

    return make


@pytest_asyncio.fixture
async def terminal(
    store_url: str, prefix: str, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Terminal]:
    """A command line, and a broker with a worker for types thumb, fail and bytes."""
    listen = ("tcp://127.0.0.1:0",)
    async with LocalBroker(store_url=store_url, prefix=prefix, listen=listen) as broker:
        worker = Worker(dial=broker.dial)

        @worker.job("thumb")
        def thumb(ctx: ThreadContext, url: str, sizes: list[int] | None = None) -> list[str]:
            ctx.progress(50, "half of it")
            ctx.log(f"reading {url}")
            return [f"{url}?w={size}" for size in sizes or [64]]

        @worker.job("fail")
        def fail() -> None:
            raise Fail("not today")

        @worker.job("bytes")
        def as_bytes() -> bytes:
            return b"\x00\xff"

        async with worker:
            yield Terminal(broker, capsys)

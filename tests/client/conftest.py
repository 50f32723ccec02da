"""A scripted broker for a client's words, and a real one for what comes of them."""

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

from packhorse import Worker
from packhorse_broker.local import LocalBroker
from tests.client.scripted import ScriptedBroker

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

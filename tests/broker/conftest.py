"""Brokers in this process and raw clients of them."""

from collections.abc import AsyncIterator

import pytest_asyncio

from packhorse_broker.broker import Broker
from tests.support.brokers import Brokers


@pytest_asyncio.fixture
async def brokers(store_url: str, prefix: str) -> AsyncIterator[Brokers]:
    """Brokers and clients of one test; what they left in the store is checked at its end."""
    brokers = Brokers(store_url, prefix)
    yield brokers
    await brokers.close()


@pytest_asyncio.fixture
async def broker(brokers: Brokers) -> Broker:
    """One with the default settings."""
    return await brokers.start()

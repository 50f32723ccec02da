"""Brokers in this process and raw clients of them."""

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from packhorse_broker.broker import Broker
from tests.support.brokers import Brokers


@pytest.fixture
def never_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker looks everywhere again because it has heard nothing for long: that would find
    late what has to be told at once."""
    monkeypatch.setattr("packhorse_broker.store.subscription.SILENCE_S", 600)


@pytest.fixture
def partitions() -> int:
    """Of the store. All that holds for one holds for several: PACKHORSE_TEST_PARTITIONS=4 has the
    tests run on so many."""
    return int(os.environ.get("PACKHORSE_TEST_PARTITIONS", "1"))


@pytest_asyncio.fixture
async def brokers(store_url: str, prefix: str, partitions: int) -> AsyncIterator[Brokers]:
    """Brokers and clients of one test; what they left in the store is checked at its end."""
    brokers = Brokers(store_url, prefix, partitions)
    yield brokers
    await brokers.close()


@pytest_asyncio.fixture
async def broker(brokers: Brokers) -> Broker:
    """One with the default settings."""
    return await brokers.start()

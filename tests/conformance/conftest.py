"""A whole broker for the kit to test, and ways to play some of its scenarios."""

from collections.abc import AsyncIterator

import pytest_asyncio

from packhorse_broker.broker import Broker
from packhorse_conformance.address import TcpAddress, parse
from tests.support.brokers import Brokers

SWEEP_MS = 50
"""So that silent clients are removed soon."""


@pytest_asyncio.fixture
async def broker(store_url: str, prefix: str) -> AsyncIterator[Broker]:
    """A broker that looks for what is due as often as it can."""
    brokers = Brokers(store_url, prefix)
    yield await brokers.start(
        sweep_ms=SWEEP_MS, last_response_flush_ms=SWEEP_MS, handshake_timeout_ms=500
    )
    await brokers.close()


@pytest_asyncio.fixture
async def address(broker: Broker) -> TcpAddress:
    """Where it listens."""
    found = parse(broker.addresses[0])
    assert isinstance(found, TcpAddress)
    return found

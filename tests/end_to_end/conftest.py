"""Real processes for tests of the whole."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.daemon import Daemons
from tests.support.store_server import StoreServer


@pytest_asyncio.fixture
async def daemons() -> AsyncIterator[Daemons]:
    async with Daemons() as daemons:
        yield daemons


@pytest_asyncio.fixture
async def store_server() -> AsyncIterator[StoreServer]:
    """Not started yet."""
    async with StoreServer() as server:
        yield server

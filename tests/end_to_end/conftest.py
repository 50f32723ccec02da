"""Real processes for tests of the whole, and raw clients of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest_asyncio

from tests.support.daemon import Daemons
from tests.support.store_server import StoreServer
from tests.support.wire import Wire


@pytest_asyncio.fixture
async def daemons() -> AsyncIterator[Daemons]:
    async with Daemons() as daemons:
        yield daemons


@pytest_asyncio.fixture
async def store_server() -> AsyncIterator[StoreServer]:
    """Not started yet."""
    async with StoreServer() as server:
        yield server


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Callable[..., Awaitable[Wire]]]:
    """Opens raw clients, which are closed at the end."""
    wires: list[Wire] = []

    async def open_wire(url: str, **hello: Any) -> Wire:
        wires.append(await Wire.open(url, **hello))
        return wires[-1]

    yield open_wire
    for wire in wires:
        await wire.close()

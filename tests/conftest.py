"""What tests of every part share."""

from collections.abc import AsyncIterator
from itertools import count
from typing import Final

import pytest
import pytest_asyncio

from packhorse_broker.store.embedded import EmbeddedStore

_PREFIXES: Final = count(1)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def store_url() -> AsyncIterator[str]:
    """One Valkey for all tests; each keeps to a prefix of its own."""
    store = EmbeddedStore(None, ephemeral=True)
    await store.start()
    yield store.url
    await store.stop()


@pytest.fixture
def prefix() -> str:
    """A key prefix that no other test has."""
    return f"test-{next(_PREFIXES)}"

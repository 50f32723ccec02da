"""What tests of every part share."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Final

import pytest
import uvloop

from packhorse_broker.logs import set_up
from packhorse_broker.store.embedded import EmbeddedStore

_PREFIXES: Final = count(1)

ON_BOTH_LOOPS: Final = ("broker", "client")
"""Folders whose tests run on each event loop that programs use; the others run on asyncio's."""


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    folder, *_ = item.path.relative_to(Path(__file__).parent).parts
    if folder in ON_BOTH_LOOPS:
        loops["uvloop"] = uvloop.new_event_loop
    return loops


@pytest.fixture(autouse=True)
def quiet_log() -> None:
    """What a broker in a test's process has to say goes to stderr; standard output is data."""
    set_up(level="warning")


@pytest.fixture(scope="session")
def store_url() -> Iterator[str]:
    """One Valkey for all tests; each keeps to a prefix of its own."""
    # Its loop is nobody else's: tests have one each, and of several kinds.
    with asyncio.Runner() as runner:
        store = EmbeddedStore(None, ephemeral=True)
        runner.run(store.start())
        yield store.url
        runner.run(store.stop())


@pytest.fixture
def prefix() -> str:
    """A key prefix that no other test has."""
    return f"test-{next(_PREFIXES)}"

"""What tests of the store share: their keys, connections of every kind, committers."""

from collections.abc import AsyncIterator

import pytest

from packhorse_broker.store.embedded import EmbeddedStore
from packhorse_broker.store.keys import ClientKeys, PartitionKeys
from packhorse_broker.store.registry import Registry
from tests.support.clients import Registries
from tests.support.inspection import Raw
from tests.support.opening import Opener
from tests.support.partitioned import PartitionedStores
from tests.support.proxy import FaultProxy


@pytest.fixture
def keys(prefix: str) -> PartitionKeys:
    return PartitionKeys(prefix, 0)


@pytest.fixture
async def raw(store_url: str) -> AsyncIterator[Raw]:
    """Single commands for the store that all tests share."""
    opened = await Raw.open(store_url)
    yield opened
    await opened.close()


@pytest.fixture
async def proxy(store_url: str) -> AsyncIterator[FaultProxy]:
    """The way to the store that all tests share, with faults."""
    async with FaultProxy(store_url) as opened:
        yield opened


@pytest.fixture
async def own_store() -> AsyncIterator[EmbeddedStore]:
    """A store for one test, which may set it up as it likes."""
    store = EmbeddedStore(None, ephemeral=True)
    await store.start()
    yield store
    await store.stop()


@pytest.fixture
async def own_raw(own_store: EmbeddedStore) -> AsyncIterator[Raw]:
    opened = await Raw.open(own_store.url)
    yield opened
    await opened.close()


@pytest.fixture
async def own_proxy(own_store: EmbeddedStore) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(own_store.url) as opened:
        yield opened


@pytest.fixture
async def opener(store_url: str, keys: PartitionKeys, raw: Raw) -> AsyncIterator[Opener]:
    """Makes lanes, readers and committers, and clears up after the test."""
    made = Opener(store_url, keys)
    yield made
    await raw.clear(keys.base)
    await made.close()


@pytest.fixture
async def stores(store_url: str, prefix: str, raw: Raw) -> AsyncIterator[PartitionedStores]:
    """Makes stores with several partitions, and clears up after the test."""
    made = PartitionedStores(store_url, prefix)
    yield made
    await made.close()
    for base in {keys.base for store in made.opened for keys in store.keys}:
        await raw.clear(base)


@pytest.fixture
def key(keys: PartitionKeys) -> bytes:
    return keys.base + b"watched"


@pytest.fixture
def counter(keys: PartitionKeys) -> bytes:
    """Grows by one with each transaction: tells how often one was applied."""
    return keys.base + b"counter"


@pytest.fixture
def client_keys(prefix: str) -> ClientKeys:
    return ClientKeys(prefix)


@pytest.fixture
def registries(opener: Opener, client_keys: ClientKeys) -> Registries:
    return Registries(opener, client_keys)


@pytest.fixture
def registry(registries: Registries) -> Registry:
    return registries.make()

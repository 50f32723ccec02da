"""Clients and registries of several brokers."""

from dataclasses import replace
from typing import Final

from packhorse_broker.store.keys import ClientKeys
from packhorse_broker.store.records import ClientRecord
from packhorse_broker.store.registry import REMOVAL_LEASE_MS, Registry
from tests.support.inspection import Raw
from tests.support.opening import Opener

NOW: Final = 1_000_000
ANN: Final = ClientRecord(
    id="ann",
    secret_hash=b"hash of ann's",
    timeout_ms=30_000,
    roles=("runner", "handler"),
    library="test 1",
    registered_at=NOW,
    connection="c-1",
    broker="b-1",
)
BACK: Final = replace(
    ANN,
    timeout_ms=5_000,
    roles=("creator",),
    library="test 2",
    registered_at=NOW + 1,
    connection="c-2",
    broker="b-2",
)
"""Ann again, on another connection, and with other wishes."""


class Registries:
    """Registries of several brokers."""

    def __init__(self, opener: Opener, keys: ClientKeys) -> None:
        self._opener = opener
        self._keys = keys

    def make(self, url: str | None = None) -> Registry:
        return Registry(self._opener.lane(url), self._keys)


async def all_of(raw: Raw, client_keys: ClientKeys, client_id: str) -> list[object]:
    """All that the store has of a client."""
    return [
        await raw("EXISTS", client_keys.client(client_id)),
        await raw("ZSCORE", client_keys.alive, client_id),
        await raw("HGET", client_keys.at, client_id),
        await raw("ZSCORE", client_keys.leaving, client_id),
    ]


def given_up(broker: str, now_ms: int) -> ClientRecord:
    """Ann, whose removal this broker has begun at that moment."""
    return replace(ANN, broker=broker, leaving_until=now_ms + REMOVAL_LEASE_MS)

"""Whose store it is."""

import asyncio

import msgpack
import pytest

from packhorse_broker.store.errors import SchemaRefused
from packhorse_broker.store.keys import ClientKeys
from packhorse_broker.store.schema import SCHEMA_VERSION, StoreIdentity, check_schema, open_schema
from tests.support.inspection import Raw
from tests.support.opening import Opener
from tests.support.proxy import Fault, FaultProxy


async def test_first_use_names_the_store_for_good(opener: Opener, client_keys: ClientKeys) -> None:
    first = await open_schema(opener.lane(), client_keys, 1_000)
    assert (first.schema, first.partitions, first.created_at) == (SCHEMA_VERSION, 1, 1_000)
    assert len(first.id) == 16
    assert await open_schema(opener.lane(), client_keys, 2_000) == first


async def test_stores_have_different_names(opener: Opener, prefix: str) -> None:
    one, other = [
        await open_schema(opener.lane(), ClientKeys(f"{prefix}-{number}"), 1_000)
        for number in range(2)
    ]
    assert one.id != other.id


async def test_looking_names_no_store(
    opener: Opener, raw: Raw, client_keys: ClientKeys, prefix: str
) -> None:
    assert await check_schema(opener.lane(), client_keys) is None
    assert await raw.keys(prefix.encode()) == set()
    opened = await open_schema(opener.lane(), client_keys, 1_000)
    assert await check_schema(opener.lane(), client_keys) == opened


@pytest.mark.parametrize("fault", [Fault.SWALLOW_ANSWER, Fault.CUT_BEFORE])
async def test_name_is_told_though_the_answer_was_lost(
    opener: Opener, proxy: FaultProxy, client_keys: ClientKeys, fault: Fault
) -> None:
    proxy.fail(fault)
    first = await open_schema(opener.lane(proxy.url), client_keys, 1_000)
    assert await open_schema(opener.lane(), client_keys, 2_000) == first


async def test_two_brokers_that_come_first_agree(
    opener: Opener, proxy: FaultProxy, client_keys: ClientKeys
) -> None:
    proxy.fail(Fault.PAUSE)
    slow = asyncio.create_task(open_schema(opener.lane(proxy.url), client_keys, 1_000))
    await proxy.met()
    quick = await open_schema(opener.lane(), client_keys, 2_000)
    proxy.resume()
    assert await slow == quick


async def test_store_of_this_version_is_read(
    opener: Opener, raw: Raw, client_keys: ClientKeys
) -> None:
    await raw("SET", client_keys.store, msgpack.packb([SCHEMA_VERSION, "name", 4, 5]))
    assert await open_schema(opener.lane(), client_keys, 0) == StoreIdentity(
        id="name", schema=SCHEMA_VERSION, partitions=4, created_at=5
    )


async def _refused_and_untouched(
    opener: Opener, raw: Raw, client_keys: ClientKeys, prefix: str, data: bytes
) -> str:
    await raw("SET", client_keys.store, data)
    before = await raw.keys(prefix.encode())
    with pytest.raises(SchemaRefused):
        await check_schema(opener.lane(), client_keys)
    with pytest.raises(SchemaRefused) as refused:
        await open_schema(opener.lane(), client_keys, 1_000)
    assert await raw("GET", client_keys.store) == data
    assert await raw.keys(prefix.encode()) == before == {client_keys.store}
    await raw("DEL", client_keys.store)
    return str(refused.value)


@pytest.mark.parametrize("fields", [[2, "name", 1, 5], [7], [7, {"of": "the future"}], [99, 1, 2]])
async def test_newer_store_is_refused_and_not_touched(
    opener: Opener, raw: Raw, client_keys: ClientKeys, prefix: str, fields: list[object]
) -> None:
    said = await _refused_and_untouched(opener, raw, client_keys, prefix, msgpack.packb(fields))
    assert f"schema version {fields[0]}" in said
    assert "run a newer packhorse" in said


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"a text",
        msgpack.packb("a text"),
        msgpack.packb(7),
        msgpack.packb(None),
        msgpack.packb([]),
        msgpack.packb(["1", "name", 1, 5]),
        msgpack.packb([None]),
        msgpack.packb([1]),
        msgpack.packb([1, "name", 1]),
        msgpack.packb([1, "name", 1, 5, 6]),
        msgpack.packb({"schema": 1}),
        msgpack.packb([1, "name", 1, 5]) + b"\0",
    ],
)
async def test_what_is_not_ours_is_refused_and_not_touched(
    opener: Opener, raw: Raw, client_keys: ClientKeys, prefix: str, data: bytes
) -> None:
    said = await _refused_and_untouched(opener, raw, client_keys, prefix, data)
    assert "none of Packhorse's" in said
    assert "--prefix" in said

"""One connection to the store."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as StoreTimeout

from packhorse_broker.store.embedded import EmbeddedStore
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.link import Link, StoreAddress, _info_field, describe
from packhorse_broker.store.packing import pack
from tests.support.inspection import Raw
from tests.support.opening import Opener
from tests.support.proxy import FaultProxy


def address(url: str, timeout_ms: int = 20_000) -> StoreAddress:
    return StoreAddress(url=url, timeout_ms=timeout_ms, client_name="test:link")


@pytest.fixture
async def link(proxy: FaultProxy) -> AsyncIterator[Link]:
    opened = await Link.open(address(proxy.url))
    yield opened
    opened.drop()


async def test_link_knows_who_it_is(link: Link, raw: Raw) -> None:
    listed: bytes = await raw("CLIENT", "LIST", "ID", link.connection_id)
    assert b" name=test:link " in listed
    assert link.run_id == (await raw.info("server"))["run_id"]
    assert len(link.run_id) == 40


async def test_answers_come_in_the_order_of_the_questions(link: Link) -> None:
    assert await link.ask(*(pack(("ECHO", number)) for number in range(3))) == [b"0", b"1", b"2"]


async def test_what_is_packed_is_what_the_store_reads(link: Link, keys: PartitionKeys) -> None:
    key = keys.base + b"bytes"
    await link.ask(pack(("SET", key, bytes(range(256)))))
    assert await link.ask(pack(("GET", key))) == [bytes(range(256))]
    assert await link.ask(pack(("ECHO", "ä")), pack(("ECHO", 1.5))) == ["ä".encode(), b"1.5"]
    await link.ask(pack(("DEL", key)))


async def test_error_reply_is_raised(link: Link) -> None:
    with pytest.raises(ResponseError, match="unknown command"):
        await link.ask(pack(("NONSENSE",)))


async def test_a_dropped_link_is_not_opened_again(link: Link, proxy: FaultProxy) -> None:
    link.drop()
    link.drop()
    with pytest.raises(LostConnection):
        await link.ask(pack(("PING",)))
    assert proxy.commands[b"PING"] == 0


async def test_a_cut_link_is_not_opened_again(link: Link, proxy: FaultProxy) -> None:
    await proxy.arrived()
    proxy.cut()
    for _ in range(2):
        with pytest.raises(LostConnection):
            await link.ask(pack(("PING",)))
    assert proxy.commands[b"PING"] == 0


async def test_silence_of_the_store_has_an_end(proxy: FaultProxy) -> None:
    link = await Link.open(address(proxy.url, timeout_ms=50))
    proxy.pause_at(b"PING")
    with pytest.raises(StoreTimeout, match="did not answer in time"):
        await link.ask(pack(("PING",)))
    link.drop()


async def test_store_that_does_not_read_has_an_end(proxy: FaultProxy) -> None:
    link = await Link.open(address(proxy.url, timeout_ms=50))
    proxy.pause_at(b"PING")
    with pytest.raises(StoreTimeout, match="in time"):
        await link.ask(pack(("PING",)), pack(("ECHO", bytes(16 * 1024 * 1024))))
    link.drop()


async def test_a_question_that_is_cancelled_leaves_no_answer_to_the_next(
    link: Link, proxy: FaultProxy
) -> None:
    proxy.pause_at(b"ECHO")
    asking = asyncio.create_task(link.ask(pack(("ECHO", "old"))))
    await proxy.met()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    proxy.resume()
    with pytest.raises(LostConnection):
        await link.ask(pack(("ECHO", "new")))


@pytest.mark.parametrize("command", [b"CLIENT", b"INFO"])
async def test_opening_that_is_cut_is_unavailable(proxy: FaultProxy, command: bytes) -> None:
    proxy.cut_at(command)
    with pytest.raises(StoreUnavailable):
        await Link.open(address(proxy.url))


async def test_opening_that_hears_nothing_is_unavailable(proxy: FaultProxy) -> None:
    proxy.pause_at(b"CLIENT")
    with pytest.raises(StoreUnavailable, match=r"."):
        await Link.open(address(proxy.url, timeout_ms=50))


async def test_opening_is_tried_once(proxy: FaultProxy) -> None:
    """When to try again is decided elsewhere, where it is known what a new connection means."""
    proxy.refusing = True
    with pytest.raises(StoreUnavailable):
        await Link.open(address(proxy.url))
    assert proxy.refusals == 1


@pytest.mark.parametrize(
    "url", ["unix:///nonexistent/store.sock", "redis://127.0.0.1:1/0", "redis://127.0.0.1:1/9"]
)
async def test_store_that_is_not_there_is_unavailable(url: str) -> None:
    with pytest.raises(StoreUnavailable, match=r"."):
        await Link.open(address(url))


async def test_database_that_is_not_there_is_unavailable(opener: Opener) -> None:
    with pytest.raises(StoreUnavailable, match="DB index"):
        await Link.open(address(f"{opener.url}?db=1000"))


def test_field_of_the_info_text() -> None:
    info = b"# Server\r\nredis_version:7.2.4\r\nrun_id:abc\r\n"
    assert _info_field(info, "run_id") == "abc"
    with pytest.raises(ResponseError, match="lacks id"):
        _info_field(info, "id")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("one line"), "one line"),
        (ValueError("first\nsecond"), "first"),
        (TimeoutError(), "the store did not answer in time"),
        (ValueError("x" * 1_000), "x" * 300),
    ],
)
def test_description_is_a_line(error: Exception, text: str) -> None:
    assert describe(error) == text


async def test_a_replica_is_refused(own_store: EmbeddedStore, own_raw: Raw) -> None:
    """Whoever is connected when a primary is demoted is told READONLY; who comes later, this."""
    await own_raw("REPLICAOF", "127.0.0.1", 1)
    with pytest.raises(StoreUnavailable, match="replica"):
        await Link.open(address(own_store.url))
    await own_raw("REPLICAOF", "NO", "ONE")
    (await Link.open(address(own_store.url))).drop()

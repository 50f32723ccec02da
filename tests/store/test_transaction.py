"""One transaction: committed or in conflict, and a store that refuses it."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from packhorse_broker.store.embedded import EmbeddedStore
from packhorse_broker.store.errors import StoreInconsistent, StoreUnavailable
from packhorse_broker.store.packing import Argument, pack
from packhorse_broker.store.transaction import MARK_TTL_S
from tests.support.inspection import Raw
from tests.support.opening import Opener
from tests.support.proxy import Fault, FaultProxy


def writes(counter: bytes) -> list[Argument]:
    return [("INCR", counter)]


# -- committed and conflict


async def test_commit_writes_all_and_answers_all(
    opener: Opener, raw: Raw, key: bytes, counter: bytes
) -> None:
    lane = opener.lane()
    await raw("SET", key, "before")
    assert await lane.watch([key, counter]) == [b"before", None]
    assert await lane.commit([("SET", key, "after"), ("INCR", counter)]) == [b"OK", 1]
    assert await raw("MGET", key, counter) == [b"after", b"1"]


async def test_change_of_a_watched_key_is_a_conflict(
    opener: Opener, raw: Raw, key: bytes, counter: bytes
) -> None:
    lane = opener.lane()
    await lane.watch([key])
    await raw("SET", key, "somebody else's")
    assert await lane.commit([("SET", key, "mine"), ("INCR", counter)]) is None
    assert await raw("MGET", key, counter) == [b"somebody else's", None]
    assert await lane.watch([key]) == [b"somebody else's"]
    assert await lane.commit([("SET", key, "mine")]) == [b"OK"]


async def test_change_of_another_key_is_none(
    opener: Opener, raw: Raw, key: bytes, counter: bytes
) -> None:
    lane = opener.lane()
    await lane.watch([key])
    await raw("INCR", counter)
    assert await lane.commit(writes(counter)) == [2]


async def test_forgotten_watch_disturbs_no_later_transaction(
    opener: Opener, raw: Raw, key: bytes, counter: bytes
) -> None:
    lane = opener.lane()
    await lane.watch([key])
    await lane.forget()
    await raw("SET", key, "changed")
    await lane.watch([counter])
    assert await lane.commit(writes(counter)) == [1]


async def test_a_command_that_fails_inside_is_told(
    opener: Opener, raw: Raw, key: bytes, counter: bytes
) -> None:
    lane = opener.lane()
    await raw("SET", key, "no sorted set")
    await lane.watch([counter])
    with pytest.raises(StoreInconsistent, match="WRONGTYPE"):
        await lane.commit([("ZADD", key, 1, "member"), ("INCR", counter)])
    await lane.watch([counter])
    assert await lane.commit(writes(counter)) == [2]


async def test_mark_is_this_writers_and_goes_with_it(
    opener: Opener, raw: Raw, counter: bytes
) -> None:
    lane, other = opener.lane(), opener.lane()
    for number in (b"1", b"2"):
        await lane.watch([counter])
        await lane.commit(writes(counter))
        assert await raw("GET", opener.mark(1)) == number
    assert await raw("GET", opener.mark(2)) is None
    assert 0 < await raw("TTL", opener.mark(1)) <= MARK_TTL_S
    await lane.close()
    await other.close()
    assert await raw("GET", opener.mark(1)) is None


async def test_mark_can_be_left_on_closing(opener: Opener, raw: Raw, counter: bytes) -> None:
    lane = opener.lane()
    await lane.watch([counter])
    await lane.commit(writes(counter))
    await lane.close(forget_mark=False)
    assert await raw("GET", opener.mark()) == b"1"


# -- connections that are lost outside of a transaction


async def test_lost_connection_is_unavailable_once_and_made_anew(
    opener: Opener, proxy: FaultProxy, key: bytes
) -> None:
    lane = opener.lane(proxy.url)
    await lane.watch([key])
    proxy.cut()
    with pytest.raises(StoreUnavailable):
        await lane.watch([key])
    assert await lane.watch([key]) == [None]


async def test_store_that_is_away_is_unavailable(
    opener: Opener, proxy: FaultProxy, key: bytes
) -> None:
    proxy.refusing = True
    lane = opener.lane(proxy.url)
    with pytest.raises(StoreUnavailable):
        await lane.watch([key])


async def test_nothing_is_sent_when_the_watch_is_gone(
    opener: Opener, proxy: FaultProxy, raw: Raw, key: bytes, counter: bytes
) -> None:
    lane = opener.lane(proxy.url)
    await lane.watch([key])
    proxy.cut()
    with pytest.raises(StoreUnavailable):
        await lane.ask(pack(("PING",)))
    assert await lane.commit(writes(counter)) is None
    assert await raw("GET", counter) is None
    assert not proxy.transactions


async def test_connection_lost_after_the_watch_never_overwrites(
    opener: Opener, proxy: FaultProxy, raw: Raw, key: bytes
) -> None:
    lane = opener.lane(proxy.url)
    await lane.watch([key])
    proxy.cut()
    await raw("SET", key, "somebody else's")
    assert await lane.commit([("SET", key, "mine")]) is None
    assert await raw("GET", key) == b"somebody else's"


async def test_closing_without_a_connection_is_quiet(
    opener: Opener, proxy: FaultProxy, raw: Raw, counter: bytes
) -> None:
    lane = opener.lane(proxy.url)
    await lane.watch([counter])
    await lane.commit(writes(counter))
    proxy.refusing = True
    proxy.cut()
    await lane.close()
    assert await raw("GET", opener.mark()) == b"1"


# -- refusals of the store


async def no_memory(raw: Raw) -> None:
    await raw("CONFIG", "SET", "maxmemory", 1)


async def no_replicas(raw: Raw) -> None:
    await raw("CONFIG", "SET", "min-replicas-to-write", 1)


async def read_only(raw: Raw) -> None:
    await raw("REPLICAOF", "127.0.0.1", 1)


async def no_snapshot(raw: Raw) -> None:
    """A folder in the place of the snapshot's file: it can't be written."""
    _, folder = await raw("CONFIG", "GET", "dir")
    _, file = await raw("CONFIG", "GET", "dbfilename")
    (Path(folder.decode()) / file.decode()).mkdir()
    await raw("CONFIG", "SET", "save", "3600 1")
    await raw("BGSAVE")
    while (await raw.info("persistence"))["rdb_bgsave_in_progress"] != "0":
        continue


async def healthy(raw: Raw) -> None:
    await raw("CONFIG", "SET", "maxmemory", 0, "min-replicas-to-write", 0, "save", "")
    await raw("REPLICAOF", "NO", "ONE")


REFUSALS: Final = {
    "OOM": (no_memory, "maxmemory"),
    "NOREPLICAS": (no_replicas, "NOREPLICAS"),
    "READONLY": (read_only, "read only"),
    "MISCONF": (no_snapshot, "MISCONF"),
}
"""How the store comes to refuse writes, and what it says of it."""


@pytest.mark.parametrize("name", REFUSALS)
async def test_refused_write_is_unavailable_and_surely_not_applied(
    own_store: EmbeddedStore, own_raw: Raw, opener: Opener, key: bytes, counter: bytes, name: str
) -> None:
    make_refuse, said = REFUSALS[name]
    lane = opener.lane(own_store.url)
    await lane.watch([key])
    await make_refuse(own_raw)
    with pytest.raises(StoreUnavailable, match=said):
        await lane.commit([("INCR", counter), ("SET", key, "value")], grows=True)
    await healthy(own_raw)
    assert await own_raw("MGET", key, counter) == [None, None]
    await lane.watch([key])
    assert await lane.commit(writes(counter)) == [1]


@pytest.mark.parametrize("name", REFUSALS)
async def test_store_that_comes_to_refuse_between_queueing_and_exec(
    own_proxy: FaultProxy, own_raw: Raw, opener: Opener, key: bytes, counter: bytes, name: str
) -> None:
    make_refuse, _ = REFUSALS[name]
    lane = opener.lane(own_proxy.url)
    await lane.watch([key])
    own_proxy.fail(Fault.PAUSE)
    committing = asyncio.create_task(lane.commit(writes(counter), grows=True))
    await own_proxy.met()
    await make_refuse(own_raw)
    own_proxy.resume()
    with pytest.raises(StoreUnavailable):
        await committing
    await healthy(own_raw)
    assert await own_raw("GET", counter) is None
    await lane.watch([key])
    assert await lane.commit(writes(counter)) == [1]

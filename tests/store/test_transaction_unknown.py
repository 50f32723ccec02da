"""Transactions whose answer was lost: what became of them is found out, for good."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from packhorse_broker.store.embedded import EmbeddedStore
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.link import Link
from packhorse_broker.store.packing import Argument, pack
from packhorse_broker.store.transaction import Lane
from tests.support.inspection import Raw
from tests.support.opening import Opener
from tests.support.proxy import Fault, FaultProxy


@pytest.fixture
def folder() -> Iterator[Path]:
    """For a store's data; short enough to hold its socket."""
    with tempfile.TemporaryDirectory(prefix="ph-") as path:
        yield Path(path)


def writes(counter: bytes) -> list[Argument]:
    return [("INCR", counter)]


@pytest.mark.parametrize("fault", [Fault.SWALLOW_ANSWER, Fault.CUT_IN_ANSWER])
async def test_applied_though_the_answer_was_lost(
    opener: Opener, proxy: FaultProxy, raw: Raw, key: bytes, counter: bytes, fault: Fault
) -> None:
    lane = opener.lane(proxy.url)
    await lane.watch([key])
    proxy.fail(fault)
    assert await lane.commit(writes(counter)) == []
    assert await proxy.met() is fault
    assert await raw("GET", counter) == b"1"
    await lane.watch([key])
    assert await lane.commit(writes(counter)) == [2]


async def test_conflict_though_the_answer_was_lost(
    opener: Opener, proxy: FaultProxy, raw: Raw, key: bytes, counter: bytes
) -> None:
    lane = opener.lane(proxy.url)
    await lane.watch([key])
    await raw("SET", key, "changed")
    proxy.fail(Fault.SWALLOW_ANSWER)
    assert await lane.commit(writes(counter)) is None
    assert await raw("GET", counter) is None


async def test_the_mark_of_the_transaction_before_is_not_taken_for_this_one(
    opener: Opener, proxy: FaultProxy, raw: Raw, key: bytes, counter: bytes
) -> None:
    lane = opener.lane(proxy.url)
    for _ in range(2):
        await lane.watch([key])
        await lane.commit(writes(counter))
    await lane.watch([key])
    proxy.fail(Fault.CUT_BEFORE)
    assert await lane.commit(writes(counter)) is None
    assert await raw("GET", counter) == b"2"


@pytest.mark.parametrize("fault", [Fault.HOLD, Fault.SILENCE])
async def test_an_exec_that_arrives_late_is_not_applied(
    opener: Opener, proxy: FaultProxy, raw: Raw, key: bytes, counter: bytes, fault: Fault
) -> None:
    lane = opener.lane(proxy.url, timeout_ms=500)
    await lane.watch([key])
    proxy.fail(fault)
    assert await lane.commit(writes(counter)) is None
    assert await proxy.met() is fault

    assert await proxy.deliver() is None, "the store has hung up on the old connection"

    assert await raw("GET", counter) is None
    await lane.watch([key])
    assert await lane.commit(writes(counter)) == [1]


async def test_without_the_kill_the_late_exec_would_be_applied_after_the_read(
    opener: Opener, proxy: FaultProxy, raw: Raw, key: bytes, counter: bytes
) -> None:
    """Why the lane kills before it reads: the test above, with the same steps but that one."""
    link = await Link.open(opener.address(proxy.url))
    await link.ask(pack(("WATCH", key)))
    proxy.fail(Fault.HOLD)
    await link.exchange(pack(("MULTI",)) + pack(("INCR", counter)) + pack(("EXEC",)), 0)
    await proxy.met()
    link.drop()

    assert await raw("GET", counter) is None
    assert await proxy.deliver() == b"*1\r\n:1\r\n"
    assert await raw("GET", counter) == b"1"


@pytest.mark.parametrize("applied", [True, False])
async def test_outcome_is_waited_for_while_the_store_is_away(
    opener: Opener, proxy: FaultProxy, key: bytes, counter: bytes, applied: bool
) -> None:
    lane = opener.lane(proxy.url)
    await lane.watch([key])
    proxy.fail(Fault.SWALLOW_ANSWER if applied else Fault.CUT_BEFORE)
    proxy.refusing = True
    committing = asyncio.create_task(lane.commit(writes(counter)))
    for _ in range(3):
        await proxy.refused()
    assert not committing.done()
    proxy.refusing = False
    assert await committing == ([] if applied else None)


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("lost_at", [b"CLIENT", b"GET"])
async def test_outcome_is_settled_though_the_settling_is_cut(
    opener: Opener, proxy: FaultProxy, key: bytes, counter: bytes, applied: bool, lost_at: bytes
) -> None:
    lane = opener.lane(proxy.url)
    await lane.watch([key])
    proxy.fail(Fault.SWALLOW_ANSWER if applied else Fault.CUT_BEFORE)
    proxy.cut_at(lost_at, lost_at)
    assert await lane.commit(writes(counter)) == ([] if applied else None)


async def test_exec_that_a_stopped_store_has_yet_to_read(
    own_store: EmbeddedStore, own_proxy: FaultProxy, opener: Opener, key: bytes, counter: bytes
) -> None:
    """The answer comes too late; the settling finds what became of it."""

    async def stop_store(_: object) -> None:
        os.kill(own_store.pid, signal.SIGSTOP)

    lane = opener.lane(own_proxy.url, timeout_ms=300)
    await lane.watch([key])
    await own_proxy.arrived()
    own_proxy.before_exec = stop_store
    committing = asyncio.create_task(lane.commit(writes(counter)))
    try:
        await own_proxy.arrived()
    finally:
        os.kill(own_store.pid, signal.SIGCONT)
    assert await committing == []
    own_proxy.before_exec = None
    await lane.watch([key])
    assert await lane.commit(writes(counter)) == [2]


@pytest.mark.parametrize("applied", [True, False])
async def test_outcome_survives_a_restart_of_the_store(
    folder: Path, opener: Opener, key: bytes, counter: bytes, applied: bool
) -> None:
    store = EmbeddedStore(folder)
    await store.start()
    for _ in range(20):
        await (await Raw.open(store.url)).close()
    async with FaultProxy(store.url) as proxy:
        lane = opener.lane(proxy.url)
        await lane.watch([key])
        lost = await lane.ask(pack(("CLIENT", "ID")))
        proxy.fail(Fault.SWALLOW_ANSWER if applied else Fault.CUT_BEFORE)
        proxy.refusing = True
        committing = asyncio.create_task(lane.commit(writes(counter)))
        await proxy.met()
        await proxy.refused()
        os.kill(store.pid, signal.SIGKILL)
        await store.wait_exit()
        await store.stop()

        store = EmbeddedStore(folder)
        await store.start()
        # the new process gives the same numbers to others, who must not be killed for it
        innocent = [await Raw.open(store.url) for _ in range(60)]
        assert lost[0] in [await connection("CLIENT", "ID") for connection in innocent]
        proxy.refusing = False
        assert await committing == ([] if applied else None)
        for connection in innocent:
            assert await connection("GET", counter) == (b"1" if applied else None)
            await connection.close()
    await store.stop()


async def test_lanes_do_not_disturb_each_other(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys, counter: bytes
) -> None:
    """Eight writers, each with a key of its own, while answers are lost at random places."""

    async def write(lane: Lane, own: bytes) -> None:
        for _ in range(10):
            while True:
                try:
                    await lane.watch([own])
                except StoreUnavailable:
                    continue
                if await lane.commit([("INCR", own), ("INCR", counter)]) is not None:
                    break

    owned = [keys.base + b"own-%d" % number for number in range(8)]
    proxy.fail(*[Fault.SWALLOW_ANSWER, Fault.CUT_BEFORE, Fault.CUT_IN_ANSWER] * 5)
    await asyncio.gather(*(write(opener.lane(proxy.url), own) for own in owned))
    assert await raw("MGET", counter, *owned) == [b"80", *[b"10"] * 8]

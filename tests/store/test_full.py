"""A store whose memory is full: what grows is refused, what has to be is written all the same."""

import asyncio

import pytest

from packhorse_broker.jobs.commands import Complete, Remove, WriteLog
from packhorse_broker.store.embedded import EmbeddedStore
from packhorse_broker.store.errors import StoreFull, StoreUnavailable
from packhorse_broker.store.full import MAX_ARGUMENTS, past_full
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.packing import Argument
from packhorse_broker.store.work import Failed
from tests.support.commands import claim, create, first_token
from tests.support.inspection import Raw, contents
from tests.support.opening import Opener
from tests.support.proxy import Fault, FaultProxy
from tests.support.telling import told


async def no_memory(raw: Raw) -> None:
    await raw("CONFIG", "SET", "maxmemory", 1)


async def has_memory(raw: Raw) -> None:
    await raw("CONFIG", "SET", "maxmemory", 0)


async def test_what_grows_is_refused_and_what_does_not_is_written(
    own_store: EmbeddedStore, own_raw: Raw, opener: Opener, key: bytes, counter: bytes
) -> None:
    lane = opener.lane(own_store.url)
    commands: list[Argument] = [("MSET", key, "a", counter, 1), ("DEL", counter), ("SET", key, "b")]
    await lane.watch([key])
    await no_memory(own_raw)
    with pytest.raises(StoreFull):
        await lane.commit(commands, grows=True)
    assert await own_raw("EXISTS", key, counter) == 0
    await lane.watch([key])
    assert await lane.commit(commands) == [b"OK", 1, b"OK"]
    assert await own_raw("MGET", key, counter) == [b"b", None]


async def test_it_is_found_out_by_a_first_transaction_that_is_to_be_repeated(
    own_proxy: FaultProxy, own_raw: Raw, opener: Opener, key: bytes, counter: bytes
) -> None:
    """Also if it becomes full between the commands and their EXEC."""
    lane = opener.lane(own_proxy.url)
    await lane.watch([key])
    own_proxy.fail(Fault.PAUSE)
    committing = asyncio.create_task(lane.commit([("INCR", counter)]))
    await own_proxy.met()
    await no_memory(own_raw)
    own_proxy.resume()
    assert await committing is None
    assert await own_raw("EXISTS", counter) == 0
    await lane.watch([key])
    assert await lane.commit([("INCR", counter)]) == [1]


@pytest.mark.parametrize("fault", [Fault.SWALLOW_ANSWER, Fault.CUT_BEFORE])
async def test_an_unknown_outcome_is_settled_in_a_full_store_too(
    own_proxy: FaultProxy, own_raw: Raw, opener: Opener, key: bytes, counter: bytes, fault: Fault
) -> None:
    lane = opener.lane(own_proxy.url)
    await no_memory(own_raw)
    await lane.watch([key])
    assert await lane.commit([("INCR", counter)]) is None
    await lane.watch([key])
    own_proxy.fail(fault)
    assert await lane.commit([("INCR", counter)]) == ([] if fault is Fault.SWALLOW_ANSWER else None)


async def test_a_conflict_stays_one(
    own_store: EmbeddedStore, own_raw: Raw, opener: Opener, key: bytes, counter: bytes
) -> None:
    lane, other = opener.lane(own_store.url), opener.lane(own_store.url)
    await no_memory(own_raw)
    for one in (lane, other):
        await one.watch([key])
        assert await one.commit([("INCR", key)]) is None
    await lane.watch([key])
    await other.watch([key])
    assert await other.commit([("INCR", key)]) == [1]
    assert await lane.commit([("INCR", counter)]) is None


async def test_writes_outside_of_transactions(
    own_store: EmbeddedStore, own_raw: Raw, opener: Opener, key: bytes, counter: bytes
) -> None:
    lane = opener.lane(own_store.url)
    await no_memory(own_raw)
    for _ in range(2):
        assert await lane.write(("ZADD", key, 1, "a"), ("ZREM", key, "a")) == [1, 1]
    await has_memory(own_raw)
    assert await lane.write(("INCR", counter)) == [1]


async def test_a_store_that_runs_no_scripts_refuses_all_of_it(
    own_store: EmbeddedStore, own_raw: Raw, opener: Opener, key: bytes, counter: bytes
) -> None:
    """And has done none of it: `DEL` would be let through, beside a script that fails."""
    lane = opener.lane(own_store.url)
    await own_raw("SET", key, "value")
    await own_raw("ACL", "SETUSER", "default", "-@scripting")
    await no_memory(own_raw)
    await lane.watch([key])
    assert await lane.commit([("DEL", key), ("INCR", counter)]) is None
    await lane.watch([key])
    with pytest.raises(StoreUnavailable, match="permission"):
        await lane.commit([("DEL", key), ("INCR", counter)])
    assert await own_raw("MGET", key, counter) == [b"value", None]


def test_a_command_has_so_many_arguments_at_most() -> None:
    long: Argument = ("RPUSH", *[b""] * MAX_ARGUMENTS)
    assert past_full(long)[0] == "EVAL"
    with pytest.raises(ValueError, match="at most 7000"):
        past_full([*long, b""])


async def test_in_one_batch_jobs_end_and_none_is_created(
    own_store: EmbeddedStore, own_raw: Raw, opener: Opener, keys: PartitionKeys
) -> None:
    caller = opener.committer(own_store.url)
    claims = [claim() for _ in "abc"]
    await caller.submit(*map(create, "abc"))
    await caller.submit(*zip("abc", claims, strict=True))
    await no_memory(own_raw)
    asked = [
        caller.submit(create("new")),
        caller.submit(("a", Complete("ann", first_token(claims[0]), b""))),
        caller.submit(("b", WriteLog("ann", first_token(claims[1]), ("said",)))),
        caller.submit(("b", Remove("me")), ("c", Remove("me"))),
    ]
    created, completed, logged, removed = await asyncio.gather(*asked)
    for [refused] in (created, logged):
        assert isinstance(refused, Failed)
        assert isinstance(refused.error, StoreFull)
    assert told(completed) == ["gone"]
    assert told(removed) == ["gone", "gone"]
    assert await contents(own_raw, keys) == {}


async def test_a_large_submission_is_done_in_parts(
    own_store: EmbeddedStore, own_raw: Raw, opener: Opener, keys: PartitionKeys
) -> None:
    """What a script can be given would not hold all of it."""
    caller = opener.committer(own_store.url)
    names = [f"job-{number}" for number in range(2_500)]
    await caller.submit(*(create(name, handler="h") for name in names))
    await no_memory(own_raw)
    claimed = await caller.submit(*((name, claim()) for name in names))
    assert set(told(claimed)) == {"STARTED"}
    assert len(await contents(own_raw, keys)) == len(names)

"""Which broker brings an outcome to a group: one at a time, and none that is not owed."""

from collections.abc import Sequence
from typing import Any

import pytest

from packhorse_broker.jobs.commands import Command, Complete, Fail, Handled, Remove, Retry
from packhorse_broker.store.assignments import Assignments
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.packing import Argument
from packhorse_broker.store.transaction import Lane
from tests.support.commands import claim, create, first_token
from tests.support.inspection import Raw
from tests.support.opening import Caller, Opener
from tests.support.proxy import Fault, FaultProxy

GROUP = "mailers"


@pytest.fixture
def one(opener: Opener, keys: PartitionKeys) -> Assignments:
    return Assignments(opener.lane(), keys, broker="b-1")


@pytest.fixture
def two(opener: Opener, keys: PartitionKeys) -> Assignments:
    return Assignments(opener.lane(), keys, broker="b-2")


@pytest.fixture
async def caller(opener: Opener) -> Caller:
    """Its store has two jobs whose outcomes the group is owed, and one that waits."""
    made = opener.committer()
    await made.submit(*(create(job, group=GROUP) for job in ("a", "b", "waiting")))
    await complete(made, "a", "b")
    return made


async def complete(caller: Caller, *jobs: str) -> None:
    claims = {job: claim() for job in jobs}
    await caller.submit(*claims.items())
    await caller.submit(
        *((job, Complete("ann", first_token(command), b"r")) for job, command in claims.items())
    )


async def taken(raw: Raw, keys: PartitionKeys) -> dict[bytes, bytes]:
    pairs = await raw("HGETALL", keys.taken(GROUP))
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


async def test_who_comes_first_has_it(caller: Caller, one: Assignments, two: Assignments) -> None:
    assert await one.take(GROUP, ["a"]) == {"a": "b-1"}
    assert await two.take(GROUP, ["a", "b"]) == {"a": "b-1", "b": "b-2"}
    assert await one.take(GROUP, ["a", "b"]) == {"a": "b-1", "b": "b-2"}


async def test_what_is_not_owed_is_not_taken(
    caller: Caller, one: Assignments, raw: Raw, keys: PartitionKeys
) -> None:
    assert await one.take(GROUP, ["waiting", "gone"]) == {}
    assert await taken(raw, keys) == {}


@pytest.mark.parametrize("cut_at", [b"WATCH", b"HMGET", b"ZMSCORE"])
async def test_a_connection_that_is_lost_leaves_nothing_taken_that_is_not_owed(
    caller: Caller, opener: Opener, keys: PartitionKeys, proxy: FaultProxy, raw: Raw, cut_at: bytes
) -> None:
    lane = opener.lane(proxy.url)
    broken = Assignments(lane, keys, broker="b-1")
    proxy.cut_at(cut_at)
    with pytest.raises(StoreUnavailable):
        await broken.take(GROUP, ["a", "waiting", "gone"])
    assert await taken(raw, keys) == {}


async def test_what_is_handled_while_it_is_taken_is_not(
    caller: Caller, opener: Opener, keys: PartitionKeys, proxy: FaultProxy, raw: Raw
) -> None:
    async def handle(_: list[list[bytes]]) -> None:
        proxy.before_exec = None
        await caller.submit(("a", Handled("ann", GROUP)))

    proxy.before_exec = handle
    assert await Assignments(opener.lane(proxy.url), keys, broker="b-1").take(
        GROUP, ["a", "b"]
    ) == {"b": "b-1"}
    assert await taken(raw, keys) == {b"b": b"b-1"}


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.SWALLOW_ANSWER, Fault.HOLD])
async def test_what_is_taken_is_known_though_the_answer_was_lost(
    caller: Caller, opener: Opener, keys: PartitionKeys, proxy: FaultProxy, fault: Fault
) -> None:
    proxy.fail(fault)
    one = Assignments(opener.lane(proxy.url), keys, broker="b-1")
    assert await one.take(GROUP, ["a", "b"]) == {"a": "b-1", "b": "b-1"}


async def test_what_is_given_back_is_there_for_all(
    caller: Caller, one: Assignments, two: Assignments
) -> None:
    await one.take(GROUP, ["a", "b"])
    await one.give_back(GROUP, ["a"])
    assert await two.take(GROUP, ["a", "b"]) == {"a": "b-2", "b": "b-1"}


async def test_only_what_lost_brokers_had_is_taken_over(
    caller: Caller, one: Assignments, two: Assignments
) -> None:
    await one.take(GROUP, ["a"])
    await two.take_over(GROUP, ["a", "b"], {"b-3"})
    assert await two.take(GROUP, ["a"]) == {"a": "b-1"}
    await two.take_over(GROUP, ["a", "b"], {"b-1", "b-3"})
    assert await two.take(GROUP, ["a"]) == {"a": "b-2"}


@pytest.mark.parametrize("how", ["handled", "removed", "another", "later"])
async def test_it_goes_with_what_is_owed(
    caller: Caller, one: Assignments, raw: Raw, keys: PartitionKeys, how: str
) -> None:
    """In the transaction that changes the job; a job that is looked at stays taken."""
    await caller.submit(create("kept", group=GROUP, persistent=True))
    await complete(caller, "kept")
    await one.take(GROUP, ["kept"])
    commands: dict[str, Command] = {
        "handled": Handled("ann", GROUP),
        "removed": Remove("ann", "because"),
        "another": Handled("ann", "others"),
        "later": Handled("ann"),
    }
    await caller.submit(("kept", commands[how]))
    still = how in ("another", "later")
    assert await taken(raw, keys) == ({b"kept": b"b-1"} if still else {})


async def test_a_job_that_is_tried_again_is_owed_anew(
    caller: Caller, one: Assignments, two: Assignments
) -> None:
    first, second = claim(), claim()
    await caller.submit(create("failing", group=GROUP), ("failing", first))
    await caller.submit(("failing", Fail("ann", first_token(first), b"no")))
    assert await one.take(GROUP, ["failing"]) == {"failing": "b-1"}
    await caller.submit(("failing", Retry("ann")))
    assert await two.take(GROUP, ["failing"]) == {}
    await caller.submit(("failing", second))
    token = (2).to_bytes(8, "big") + second.nonce
    await caller.submit(("failing", Fail("ann", token, b"no")))
    assert await two.take(GROUP, ["failing"]) == {"failing": "b-2"}


async def test_what_is_being_taken_all_the_time_is_left_for_later(
    caller: Caller, one: Assignments, opener: Opener, keys: PartitionKeys, raw: Raw
) -> None:
    """Another outcome of the group is taken before each attempt to take one over."""

    class Overtaken(Lane):
        async def commit(
            self,
            commands: Sequence[Argument],
            *,
            grows: bool = True,
            ahead: Sequence[bytes] = (),
            absent: Sequence[bytes] = (),
            behind: Sequence[bytes] = (),
        ) -> list[Any] | None:
            await raw("HSET", keys.taken(GROUP), "b", "b-4")
            return await super().commit(
                commands, grows=grows, ahead=ahead, absent=absent, behind=behind
            )

    await one.take(GROUP, ["a"])
    lane = Overtaken(opener.lane()._address, keys.writer("overtaken"))
    await Assignments(lane, keys, broker="b-3").take_over(GROUP, ["a"], {"b-1"})
    assert (await taken(raw, keys))[b"a"] == b"b-1"
    await lane.close()

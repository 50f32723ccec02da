"""Members that do not read, windows, a store that is away: group delivery with a real store, and
members whose connections the test plays."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from packhorse_broker.broker import Broker
from packhorse_broker.group_delivery import GroupDelivery
from packhorse_broker.sessions import Session
from packhorse_protocol.messages import ROLES, Outcomes
from tests.broker.test_feeder import Outlet
from tests.broker.test_groups import owed
from tests.support.brokers import Brokers, at_rest
from tests.support.inspection import Raw
from tests.support.proxy import FaultProxy
from tests.support.wire import Wire

pytestmark = pytest.mark.usefixtures("never_missed")


@pytest.fixture
async def proxy(store_url: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(store_url) as opened:
        yield opened


@pytest.fixture
async def creator(brokers: Brokers, broker: Broker) -> Wire:
    return await brokers.connect(broker)


class OneAtATime(Outlet):
    """A connection that is full as soon as something is pushed."""

    def flush_soon(self) -> None:
        self.reads = False


def member(groups: GroupDelivery, name: str, outlet: Outlet | None = None) -> Session:
    """One that has joined the group `g`."""
    session = Session(
        name,
        name,
        outlet or Outlet(),
        roles=frozenset(ROLES),
        timeout_ms=1_000,
        heartbeat_ms=300,
    )
    groups.join(session, ("g",))
    return session


def stuck() -> Outlet:
    """A connection whose client does not read."""
    outlet = Outlet()
    outlet.reads = False
    return outlet


def sent(session: Session) -> list[str]:
    """Jobs whose outcomes were pushed since it was asked last, in order."""
    jobs = []
    while (push := session.next_push()) is not None:
        assert isinstance(push, Outcomes)
        jobs += [outcome.job for outcome in push.outcomes]
    return jobs


async def test_one_that_does_not_read_is_passed_over(broker: Broker, creator: Wire) -> None:
    outlet = stuck()
    slow = member(broker.parts.groups, "slow", outlet)
    quick = member(broker.parts.groups, "quick")
    await owed(creator, "a", "b")
    await at_rest(broker)
    assert sent(quick) == ["a", "b"]
    outlet.reads = True
    await owed(creator, "c")
    await at_rest(broker)
    assert sent(slow) == ["c"]


@pytest.mark.parametrize("size", [1, 1_000])
async def test_where_nobody_reads_it_waits_until_one_does(
    broker: Broker, creator: Wire, size: int
) -> None:
    """Also for outcomes that are kept apart from their records."""
    outlet = stuck()
    slow = member(broker.parts.groups, "slow", outlet)
    await owed(creator, "a", "b", result=bytes(size))
    await at_rest(broker)
    assert sent(slow) == []
    outlet.reads = True
    broker.parts.groups.writable(slow)
    await at_rest(broker)
    assert sent(slow) == ["a", "b"]
    broker.parts.groups.writable(slow)
    await at_rest(broker)
    assert sent(slow) == []


async def test_large_outcomes_wait_when_the_member_stops_reading(
    broker: Broker, creator: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is perhaps a megabyte: no more of them are read than are sent."""
    monkeypatch.setattr("packhorse_broker.group_delivery.LARGE_PAGE", 1)
    await owed(creator, "a", "b", result=bytes(1_000))
    outlet = OneAtATime()
    slow = member(broker.parts.groups, "slow", outlet)
    await at_rest(broker)
    assert sent(slow) == ["a"]
    outlet.reads = True
    broker.parts.groups.writable(slow)
    await at_rest(broker)
    assert sent(slow) == ["b"]


async def test_all_members_together_have_a_window(
    broker: Broker, creator: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("packhorse_broker.group_members.GROUP_WINDOW", 3)
    members = [member(broker.parts.groups, name) for name in ("one", "two")]
    await owed(creator, *"abcde")
    await at_rest(broker)
    first = [sent(session) for session in members]
    assert first == [["a", "c"], ["b"]]
    broker.parts.groups.handled("g", ("a", "b", "c"))
    await at_rest(broker)
    # Nobody has said so to the store: they are owed still, and come again.
    assert sorted(job for session in members for job in sent(session)) == ["a", "b", "c"]


async def test_what_is_answered_while_it_is_read_is_not_sent_again(
    broker: Broker, creator: Wire
) -> None:
    await owed(creator, "a", "b")
    handler = member(broker.parts.groups, "h")
    await asyncio.sleep(0)  # The look into the store has begun.
    broker.parts.groups.handled("g", ("a",))
    await at_rest(broker)
    assert sent(handler) == ["b"]


async def test_one_whose_connection_has_ended_is_no_member(broker: Broker) -> None:
    gone = member(broker.parts.groups, "gone")
    await at_rest(broker)
    assert broker.parts.groups.has_room("g")
    gone.closed = True
    broker.parts.groups.leave(gone)
    broker.parts.groups.join(gone, ("g",))
    assert not broker.parts.groups.has_room("g")
    broker.parts.groups.handled("g", ("a",))
    broker.parts.groups.catch_up("g")


async def test_what_a_member_leaves_is_not_the_brokers_any_more(
    brokers: Brokers, broker: Broker, creator: Wire
) -> None:
    one, two = member(broker.parts.groups, "one"), member(broker.parts.groups, "two", stuck())
    await at_rest(broker)
    await owed(creator, "a")
    await at_rest(broker)
    raw = await Raw.open(brokers.store_url)
    assert await raw("HGETALL", brokers.keys.taken("g")) == [b"a", broker.id.encode()]
    broker.parts.groups.leave(one)
    await at_rest(broker)
    assert await raw("HGETALL", brokers.keys.taken("g")) == []
    assert sent(two) == []
    await raw.close()


async def test_an_outcome_that_cant_be_read_is_passed_over(
    brokers: Brokers, broker: Broker, creator: Wire
) -> None:
    await owed(creator, "broken", "sound", result=bytes(1_000))
    raw = await Raw.open(brokers.store_url)
    await raw("SET", brokers.keys.outcome("broken"), b"\xc1")
    await raw.close()
    handler = member(broker.parts.groups, "h")
    await at_rest(broker)
    assert sent(handler) == ["sound"]


async def test_a_job_that_is_gone_is_passed_over(
    brokers: Brokers, broker: Broker, creator: Wire
) -> None:
    """An entry of the index that is older than the job's end."""
    await owed(creator, "here")
    raw = await Raw.open(brokers.store_url)
    await raw("ZADD", brokers.keys.group("g"), 1, "gone")
    handler = member(broker.parts.groups, "h")
    await at_rest(broker)
    assert sent(handler) == ["here"]
    await raw("ZREM", brokers.keys.group("g"), "gone")
    await raw("HDEL", brokers.keys.taken("g"), "gone")
    await raw.close()


async def test_what_could_not_be_read_is_looked_for_again(
    brokers: Brokers, proxy: FaultProxy
) -> None:
    broker = await brokers.start(store_url=proxy.url, store_timeout_ms=50)
    creator = await brokers.connect(broker)
    await owed(creator, "a")
    proxy.refusing = True
    proxy.cut()
    handler = member(broker.parts.groups, "h")
    await at_rest(broker)
    assert sent(handler) == []
    proxy.refusing = False
    while not (found := sent(handler)):
        broker.parts.groups.look()
        await at_rest(broker)
    assert found == ["a"]
    # With nothing left to be sent a look that fails is of no consequence.
    proxy.refusing = True
    proxy.cut()
    broker.parts.groups.look()
    await at_rest(broker)
    proxy.refusing = False
    assert sent(handler) == []
    await brokers.stop(broker)

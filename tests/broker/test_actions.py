"""What was done by hand: who did what to which job or type, when and why."""

from packhorse_broker.broker import Broker
from packhorse_protocol.messages import (
    Action,
    Cancel,
    Configure,
    ListActions,
    Publish,
    Remove,
    TypeChange,
    TypeSchema,
)
from tests.support.brokers import Brokers
from tests.support.requests import create
from tests.support.wire import Wire


async def actions(wire: Wire, **fields: int) -> tuple[Action, ...]:
    [found] = await wire.ask(ListActions, **fields)
    listed: tuple[Action, ...] = found.actions
    return listed


async def test_all_that_is_done_by_hand(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker, "ann")
    await create(wire, "a", handle=True)
    assert await actions(wire) == ()
    await wire.ask(Cancel, jobs=("a",), why="late")
    await wire.ask(Remove, jobs=("a",), why="gone")
    await wire.ask(Configure, types=(TypeChange(type="t", paused=True),), why="tired")
    await wire.ask(Publish, schemas=(TypeSchema(type="t", schema=b"{}"),))
    found = await actions(wire)
    told = {(one.action, one.by, one.why, one.job, one.type) for one in found}
    assert told == {
        ("publish", "ann", "", None, "t"),
        ("configure", "ann", "paused: tired", None, "t"),
        ("remove", "ann", "gone", "a", "t"),
        ("cancel", "ann", "late", "a", "t"),
    }
    assert [one.at for one in found] == sorted((one.at for one in found), reverse=True)


async def test_pages_leave_nothing_out(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker, "ann")
    types = tuple(TypeChange(type=f"t{number}", paused=True) for number in range(30))
    await wire.ask(Configure, types=types[:20])
    await wire.ask(Configure, types=types[20:])
    found = page = await actions(wire, limit=5)
    while page:
        page = await actions(wire, limit=5, before=page[-1].at)
        found += page
    assert sorted(one.type or "" for one in found) == sorted(change.type for change in types)

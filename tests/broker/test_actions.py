"""What was done by hand: who did what to which job or type, when and why."""

from typing import Any

import pytest

from packhorse_broker.broker import Broker
from packhorse_broker.jobs.model import ActionRecord
from packhorse_broker.store.records import encode_action
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    Action,
    ActionList,
    Cancel,
    Configure,
    ListActions,
    Publish,
    Remove,
    TypeChange,
    TypeSchema,
)
from packhorse_protocol.records import replace
from tests.support.brokers import Brokers
from tests.support.inspection import Raw
from tests.support.requests import create
from tests.support.wire import Wire


async def actions(wire: Wire, **fields: Any) -> tuple[Action, ...]:
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


async def test_a_cursor_goes_on_within_one_moment_that_no_frame_holds(brokers: Brokers) -> None:
    """Each page is as long as a frame allows, and none leaves out what came in one millisecond."""
    broker = await brokers.start(
        max_frame_bytes=640 * 1024, max_payload_bytes=1024, max_result_bytes=1024
    )
    wire = await brokers.connect(broker, "ann")
    types = tuple(TypeChange(type=f"t{number}", paused=True) for number in range(500))
    await wire.ask(Configure, types=types, why="x" * 1_000)
    await wire.ask(Configure, types=tuple(replace(change, paused=False) for change in types))
    [page] = await wire.ask(ListActions, limit=700)
    found = page.actions
    pages = 1
    while page.cursor is not None:
        # `before` is not looked at.
        [page] = await wire.ask(ListActions, limit=700, before=1, cursor=page.cursor)
        assert found[-1].at == page.actions[0].at
        found += page.actions
        pages += 1
    assert len({one.at for one in found}) == 2
    assert pages > 1
    assert sorted((one.at, one.type or "") for one in found) == sorted(
        (at, change.type) for at in {one.at for one in found} for change in types
    )


@pytest.mark.parametrize("partitions", [1, 3])
async def test_one_that_is_told_late_puts_none_out_of_its_place(
    brokers: Brokers, store_url: str
) -> None:
    """Another broker's clock says a little less, and it comes in between two pages."""
    broker = await brokers.start(
        max_frame_bytes=640 * 1024, max_payload_bytes=1024, max_result_bytes=1024
    )
    keys = broker.parts.partitions.keys
    names = [f"j{number}" for number in range(750)]
    raw = await Raw.open(store_url)

    async def done_to(job: str) -> None:
        partition = keys[broker.parts.partitions.homes.of(job)]
        record = ActionRecord(5, "remove", "ann", "x" * 1_000, job=job)
        await raw("RPUSH", partition.actions, encode_action(record))

    for job in names:
        await done_to(job)
    wire = await brokers.connect(broker, "ann")
    [page] = await wire.ask(ListActions, limit=1_000)
    found = page.actions
    late = [f"late-{number}" for number in range(100)]
    for job in late:
        await done_to(job)
    while page.cursor is not None:
        [page] = await wire.ask(ListActions, limit=1_000, cursor=page.cursor)
        found += page.actions
    await raw.close()
    assert 1 < len(found) < len(names) + len(late)
    assert sorted(one.job or "" for one in found if one.job not in late) == sorted(names)


async def test_the_last_page_has_no_cursor(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker, "ann")
    for paused in (True, False, True):
        await wire.ask(Configure, types=(TypeChange(type="t", paused=paused),))
    [page] = await wire.ask(ListActions, limit=4)
    assert (len(page.actions), page.cursor) == (3, None)
    [page] = await wire.ask(ListActions, limit=1)
    [rest] = await wire.ask(ListActions, limit=9, cursor=page.cursor)
    assert (len(page.actions) + len(rest.actions), rest.cursor) == (3, None)
    [page] = await wire.ask(ListActions, limit=3)
    [none] = await wire.ask(ListActions, limit=3, cursor=page.cursor)
    assert (len(page.actions), none) == (3, ActionList(actions=()))


@pytest.mark.parametrize(
    "cursor", [b"\xc1", b"\x01", b"\x92\x05\xff", b"\x93\x01\x02\x03", b"\x92\x05\x02"]
)
async def test_what_is_no_cursor_is_refused(
    brokers: Brokers, broker: Broker, cursor: bytes
) -> None:
    wire = await brokers.connect(broker)
    refused = await wire.refusal(ListActions, cursor=cursor)
    assert (refused.code, refused.details) == (Code.MALFORMED, {"path": "cursor"})

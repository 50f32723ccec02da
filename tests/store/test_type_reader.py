"""What is read of types: what was changed, what people did, how they stand."""

import pytest

from packhorse_broker.jobs.commands import Release
from packhorse_broker.jobs.model import ActionRecord, State
from packhorse_broker.store.keys import PartitionKeys, queue_member
from packhorse_broker.store.read_lane import ReadLane
from packhorse_broker.store.records import encode_action
from packhorse_broker.store.type_changes import TypeChanges
from packhorse_broker.store.type_reader import CHANGES_PAGE, TypeReader
from packhorse_broker.store.types import PLAIN, SettingsChange
from packhorse_broker.store.writes import ACTIONS_KEPT
from tests.support.commands import claim, create, first_token
from tests.support.inspection import Raw
from tests.support.opening import Opener

PAUSE = SettingsChange(paused=True)
RESUME = SettingsChange(paused=False)


@pytest.fixture
def changes(opener: Opener, keys: PartitionKeys) -> TypeChanges:
    return TypeChanges(opener.lane(), keys)


@pytest.fixture
def reader(opener: Opener, keys: PartitionKeys) -> TypeReader:
    return TypeReader(ReadLane(opener.lane(), keys))


# -- what was changed since


async def test_what_was_changed_is_read_once(changes: TypeChanges, reader: TypeReader) -> None:
    assert await reader.changed_since(0) == ({}, 0)
    await changes.change({"a": PAUSE, "b": PAUSE}, by="ann", why="", now_ms=7)
    changed, number = await reader.changed_since(0)
    assert set(changed) == {"a", "b"}
    assert changed["a"].paused
    assert await reader.changed_since(number) == ({}, number)
    await changes.change({"a": RESUME}, by="ann", why="", now_ms=7)
    changed, later = await reader.changed_since(number)
    assert {job_type: one.paused for job_type, one in changed.items()} == {"a": False}
    assert later > number


async def test_what_was_changed_at_once_is_read_in_pages(
    changes: TypeChanges, reader: TypeReader
) -> None:
    many = {f"t{number}": PAUSE for number in range(2 * CHANGES_PAGE + 1)}
    await changes.change(many, by="ann", why="", now_ms=7)
    found: set[str] = set()
    changed, number = await reader.changed_since(0)
    while changed:
        assert not found & set(changed)
        found |= set(changed)
        changed, number = await reader.changed_since(number)
    assert found == set(many)


# -- actions


def action(at: int, why: str = "") -> ActionRecord:
    return ActionRecord(at, "remove", "ann", why, job=f"job-{at}")


async def push(raw: Raw, keys: PartitionKeys, *actions: ActionRecord) -> None:
    await raw("RPUSH", keys.actions, *map(encode_action, actions))


async def test_newest_actions_first(reader: TypeReader, raw: Raw, keys: PartitionKeys) -> None:
    assert await reader.actions(None, 10) == []
    await push(raw, keys, *map(action, range(1, 31)))
    assert [one.at for one in await reader.actions(None, 3)] == [30, 29, 28]
    assert [one.at for one in await reader.actions(4, 10)] == [3, 2, 1]
    assert [one.at for one in await reader.actions(None, 1_000)] == list(range(30, 0, -1))


async def test_actions_of_one_moment_come_together(
    reader: TypeReader, raw: Raw, keys: PartitionKeys
) -> None:
    """So that the next page begins where this one ends."""
    many = [action(5, str(number)) for number in range(50)]
    await push(raw, keys, action(1), *many, action(9))
    page = await reader.actions(None, 10)
    assert {one.why for one in page if one.at == 5} == {one.why for one in many}
    assert [one.at for one in page] == [9, *[5] * 50]
    assert [one.at for one in await reader.actions(5, 10)] == [1]


async def test_actions_go_on_within_one_moment(
    reader: TypeReader, raw: Raw, keys: PartitionKeys
) -> None:
    """However many there are, and though another is told of meanwhile."""
    await push(raw, keys, action(1), *(action(5, str(number)) for number in range(50)), action(9))
    page = await reader.actions(5, 10, left=(20,))
    assert [one.why for one in page] == [*map(str, range(19, -1, -1))]
    await push(raw, keys, action(5, "late"))
    assert await reader.actions(5, 10, left=(20,)) == page
    assert [one.at for one in await reader.actions(5, 60, left=(100,))] == [*[5] * 51, 1]


async def test_actions_that_were_told_late_have_their_place(
    reader: TypeReader, raw: Raw, keys: PartitionKeys
) -> None:
    await push(raw, keys, action(1), action(3), action(2))
    assert [one.at for one in await reader.actions(None, 10)] == [3, 2, 1]


@pytest.mark.parametrize("limit", [1, 2, 3, 6])
async def test_actions_that_were_told_late_cut_no_moment_in_two(
    reader: TypeReader, raw: Raw, keys: PartitionKeys, limit: int
) -> None:
    """They may be noted behind those of a later moment, and before others of their own."""
    ats = (1, 5_000, 5_000, 5_001, 4_999, 5_000, 5_000, 4_999, 5_001)
    await push(raw, keys, *(action(at, str(place)) for place, at in enumerate(ats)))
    found = page = await reader.actions(None, limit)
    while page:
        page = await reader.actions(page[-1].at, limit)
        found += page
    assert [one.at for one in found] == sorted(ats, reverse=True)
    assert len({one.why for one in found}) == len(ats)


async def test_actions_that_can_not_be_read_are_left_out(
    reader: TypeReader, raw: Raw, keys: PartitionKeys
) -> None:
    await push(raw, keys, action(1))
    await raw("RPUSH", keys.actions, b"\xc1")
    await push(raw, keys, action(2))
    assert [one.at for one in await reader.actions(None, 10)] == [2, 1]


async def test_only_the_newest_actions_are_kept(
    changes: TypeChanges, raw: Raw, keys: PartitionKeys
) -> None:
    await push(raw, keys, *map(action, range(ACTIONS_KEPT)))
    await changes.change({"mail": PAUSE}, by="ann", why="", now_ms=7)
    assert await raw("LLEN", keys.actions) == ACTIONS_KEPT


# -- how types stand


async def test_names_come_in_pages(reader: TypeReader, raw: Raw, keys: PartitionKeys) -> None:
    await raw("SADD", keys.types, "b", "a", "d", "c", "ä")
    assert await reader.names("", 2) == ["a", "b"]
    assert await reader.names("b", 2) == ["c", "d"]
    assert await reader.names("d", 2) == ["ä"]
    assert await reader.names("ä", 2) == []


async def test_a_type_in_numbers(opener: Opener, reader: TypeReader) -> None:
    caller = opener.committer()
    await caller.submit(*(create(f"j{n}", body=bytes(10)) for n in range(3)))
    await caller.ask("j0", claim())
    mail, none = await reader.overviews(["mail", "none"])
    assert mail.counts == {
        State.PENDING: 0,
        State.QUEUED: 2,
        State.STARTED: 1,
        State.COMPLETE: 0,
        State.FAILED: 0,
    }
    assert mail.jobs_bytes == 30
    assert set(none.counts.values()) == {0}
    assert (none.head_ms, none.jobs_bytes, none.settings) == (0, 0, PLAIN)


async def test_head_of_a_queue_waits_since_it_was_queued_last(
    opener: Opener, reader: TypeReader, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer()
    await caller.submit(create("a"), create("b"), create("c", "post"))
    began_ms = opener.clock.now_ms()
    asked = claim()
    await caller.applied("a", asked)
    opener.clock.forward(1_000)
    [mail] = await reader.overviews(["mail"])
    assert mail.head_ms == began_ms
    await caller.applied("a", Release("ann", first_token(asked)))
    heads = [one.head_ms for one in await reader.overviews(["mail", "none", "post"])]
    assert heads == [began_ms + 1_000, 0, began_ms]


async def test_head_whose_record_is_gone_waits_since_its_place(
    reader: TypeReader, raw: Raw, keys: PartitionKeys
) -> None:
    """It may have been claimed, completed and removed since its queue was looked at."""
    await raw("ZADD", keys.queue("mail"), 0, queue_member(7_000_999, "gone"))
    await raw("ZADD", keys.queue("post"), 0, queue_member(8_000_000, "broken"))
    await raw("SET", keys.record("broken"), b"\xc1")
    heads = [one.head_ms for one in await reader.overviews(["mail", "post"])]
    assert heads == [7_000, 8_000]


async def test_many_types_are_looked_at_in_pages(
    reader: TypeReader, raw: Raw, keys: PartitionKeys
) -> None:
    names = [f"t{number}" for number in range(250)]
    for number, name in enumerate(names):
        await raw("HSET", keys.bytes, name, number)
    assert [one.jobs_bytes for one in await reader.overviews(names)] == list(range(250))


# -- finished jobs that are too many


@pytest.mark.parametrize(
    ("state", "name"), [(State.COMPLETE, "complete"), (State.FAILED, "failed")]
)
async def test_oldest_finished_jobs(
    reader: TypeReader,
    raw: Raw,
    keys: PartitionKeys,
    state: State,
    name: str,
) -> None:
    key = getattr(keys, name)("mail")
    for number in range(5):
        await raw("ZADD", key, number, f"j{number}")
    assert await reader.finished([("mail", state), ("none", state)]) == [5, 0]
    page = await reader.oldest_finished("mail", state, from_ms=0, skip=0, limit=3)
    assert page == (5, {"j0": 0, "j1": 1, "j2": 2})
    await raw("ZADD", key, 2, "j2b")
    page = await reader.oldest_finished("mail", state, from_ms=2, skip=1, limit=9)
    assert page == (3, {"j2b": 2, "j3": 3, "j4": 4})
    page = await reader.oldest_finished("mail", state, from_ms=9, skip=1, limit=9)
    assert page == (0, {})

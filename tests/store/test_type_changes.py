"""What is set about types, and what is told of it."""

import asyncio

import pytest

from packhorse_broker.jobs.model import ActionRecord, Retention
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.read_lane import ReadLane
from packhorse_broker.store.records import CorruptRecord
from packhorse_broker.store.type_changes import TypeChanges
from packhorse_broker.store.type_reader import TypeReader
from packhorse_broker.store.type_words import MAX_WHY_CHARS, why_of_change
from packhorse_broker.store.types import (
    PLAIN,
    SettingsChange,
    StoredSchema,
    TypeBook,
    TypeSettings,
    decode_schema,
    decode_settings,
    encode_schema,
    encode_settings,
)
from packhorse_protocol.limits import MAX_TEXT_CHARS
from tests.support.inspection import Raw
from tests.support.opening import Opener
from tests.support.proxy import Fault, FaultProxy

PAUSE = SettingsChange(paused=True)
RESUME = SettingsChange(paused=False)


@pytest.fixture
def changes(opener: Opener, keys: PartitionKeys) -> TypeChanges:
    return TypeChanges(opener.lane(), keys)


@pytest.fixture
def reader(opener: Opener, keys: PartitionKeys) -> TypeReader:
    return TypeReader(ReadLane(opener.lane(), keys))


async def settings(reader: TypeReader, job_type: str = "mail") -> TypeSettings:
    [overview] = await reader.overviews([job_type])
    return overview.settings


# -- records


@pytest.mark.parametrize(
    "stored",
    [
        PLAIN,
        TypeSettings(True, 5, True, 1, 2, 3, 4, 5, 6, True, 7, "ann", "why"),
    ],
)
def test_settings_are_read_as_written(stored: TypeSettings) -> None:
    assert decode_settings(encode_settings(stored)) == stored


def test_of_an_older_record_the_rest_is_plain() -> None:
    assert decode_settings(b"\x92\xc3\x05") == TypeSettings(paused=True, paused_until=5)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x01", b"\xdc\x00\x20" + bytes(32)])
def test_what_is_no_record_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(CorruptRecord, match="settings"):
        decode_settings(data)
    with pytest.raises(CorruptRecord, match="schema"):
        decode_schema(data)


def test_a_schema_is_read_as_written() -> None:
    stored = StoredSchema(b"{}", "ann", 5)
    assert decode_schema(encode_schema(stored)) == stored
    assert decode_schema(None) is None


def test_what_a_change_makes_of_settings() -> None:
    paused = SettingsChange(paused=True, paused_until=70).made_to(PLAIN)
    assert paused == TypeSettings(paused=True, paused_until=70)
    assert PAUSE.made_to(paused) == TypeSettings(paused=True)
    assert RESUME.made_to(paused) == PLAIN
    limited = SettingsChange(max_jobs=3, max_bytes=4, draining=True).made_to(paused)
    assert limited == TypeSettings(
        paused=True, paused_until=70, draining=True, max_jobs=3, max_bytes=4
    )
    kept = SettingsChange(keep_complete=(1, None), keep_failed=(None, 2)).made_to(PLAIN)
    assert kept == TypeSettings(keep_complete_ms=1, keep_failed_jobs=2)
    assert kept.retention(Retention(50, 60)) == Retention(1, 60)
    assert SettingsChange(keep_complete=(None, None)).made_to(kept).keep_complete_ms is None


@pytest.mark.parametrize(
    ("stored", "gives_out"),
    [
        (PLAIN, True),
        (TypeSettings(paused=True), False),
        (TypeSettings(paused=True, paused_until=101), False),
        (TypeSettings(paused=True, paused_until=100), True),
    ],
)
def test_a_pause_ends_by_itself(stored: TypeSettings, gives_out: bool) -> None:
    assert stored.gives_out(100) is gives_out


def test_the_book_has_what_was_put_last() -> None:
    book = TypeBook()
    assert book["mail"] == PLAIN
    book.put("mail", TypeSettings(paused=True))
    assert dict(book) == {"mail": TypeSettings(paused=True)}
    book.put("mail", PLAIN)
    assert dict(book) == {}


# -- changes


async def test_a_change_says_who_made_it_when_and_why(
    changes: TypeChanges, reader: TypeReader
) -> None:
    [after] = (await changes.change({"mail": PAUSE}, by="ann", why="tired", now_ms=7)).values()
    assert after == TypeSettings(
        paused=True,
        changed_at=7,
        by="ann",
        why="tired",
        paused_at=7,
        paused_by="ann",
        paused_why="tired",
        number=7,
    )
    assert await settings(reader) == after
    assert await reader.actions(None, 10) == [
        ActionRecord(7, "configure", "ann", "paused: tired", type="mail")
    ]
    assert await reader.names("", 10) == ["mail"]


async def test_what_is_so_already_changes_nothing(
    changes: TypeChanges, reader: TypeReader, raw: Raw, keys: PartitionKeys
) -> None:
    await changes.change({"mail": PAUSE}, by="ann", why="first", now_ms=7)
    before = await raw("GET", keys.settings("mail"))
    await changes.change({"mail": PAUSE, "other": RESUME}, by="bob", why="again", now_ms=8)
    assert await raw("GET", keys.settings("mail")) == before
    assert not await raw("EXISTS", keys.settings("other"))
    assert len(await reader.actions(None, 10)) == 1


@pytest.mark.parametrize(
    ("before", "change", "told"),
    [
        (PLAIN, SettingsChange(paused=True, max_jobs=100), "paused; max_jobs 100"),
        (
            PLAIN,
            SettingsChange(paused=True, paused_until=1_796_112_000_000),
            "paused until 2026-12-01T08:00:00Z",
        ),
        (PLAIN, SettingsChange(paused=True, paused_until=2**63 - 1), "paused"),
        (TypeSettings(paused=True, paused_until=5), PAUSE, "paused"),
        (TypeSettings(paused=True, draining=True), RESUME, "resumed"),
        (PLAIN, SettingsChange(draining=True, max_bytes=9), "draining; max_bytes 9"),
        (
            TypeSettings(draining=True, max_jobs=1, max_bytes=1),
            SettingsChange(draining=False, max_jobs=0, max_bytes=1),
            "no longer draining; no max_jobs",
        ),
        (
            PLAIN,
            SettingsChange(keep_complete=(3_600_000, None), keep_failed=(172_800_000, 7)),
            "keep_complete 1h; keep_failed 2d, at most 7",
        ),
        (
            TypeSettings(keep_complete_ms=1, keep_failed_ms=1),
            SettingsChange(keep_complete=(None, None), keep_failed=(None, 7)),
            "keep_complete as the broker is set up; keep_failed as the broker is set up, at most 7",
        ),
    ],
)
def test_what_was_changed_in_words(before: TypeSettings, change: SettingsChange, told: str) -> None:
    after = change.made_to(before)
    assert why_of_change(before, after, "") == told
    assert why_of_change(before, after, "tired") == f"{told}: tired"


def test_a_long_reason_is_cut() -> None:
    said = why_of_change(PLAIN, PAUSE.made_to(PLAIN), "x" * MAX_TEXT_CHARS)
    assert said == "paused: " + "x" * (MAX_TEXT_CHARS - len("paused: "))
    assert MAX_WHY_CHARS == MAX_TEXT_CHARS


async def test_types_are_changed_at_one_moment(
    changes: TypeChanges, reader: TypeReader, proxy: FaultProxy, opener: Opener, keys: PartitionKeys
) -> None:
    slow = TypeChanges(opener.lane(proxy.url), keys)
    wanted = {"a": SettingsChange(max_jobs=1), "b": SettingsChange(max_jobs=2)}
    # The first is before its EXEC when the other one commits.
    proxy.fail(Fault.PAUSE)
    changing = asyncio.create_task(slow.change(wanted, by="ann", why="", now_ms=1))
    await proxy.met()
    await changes.change({"b": PAUSE}, by="bob", why="", now_ms=2)
    proxy.resume()
    settled = await changing
    assert settled["b"] == TypeSettings(
        paused=True, max_jobs=2, changed_at=1, by="ann", paused_at=2, paused_by="bob", number=4
    )
    assert await settings(reader, "b") == settled["b"]
    assert await settings(reader, "a") == settled["a"]


async def test_settings_that_can_not_be_read_are_replaced(
    changes: TypeChanges, reader: TypeReader, raw: Raw, keys: PartitionKeys
) -> None:
    await raw("SET", keys.settings("mail"), b"\xc1")
    assert await settings(reader) == PLAIN
    await changes.change({"mail": PAUSE}, by="ann", why="", now_ms=7)
    assert (await settings(reader)).paused


async def test_without_a_store_nothing_is_changed(
    opener: Opener, keys: PartitionKeys, proxy: FaultProxy, reader: TypeReader
) -> None:
    changes = TypeChanges(opener.lane(proxy.url), keys)
    await changes.change({"mail": PAUSE}, by="ann", why="", now_ms=7)
    proxy.refusing = True
    proxy.cut()
    with pytest.raises(StoreUnavailable):
        await changes.change({"mail": RESUME}, by="ann", why="", now_ms=8)
    assert (await settings(reader)).paused


async def test_settings_that_others_change_all_the_time(
    opener: Opener, keys: PartitionKeys, proxy: FaultProxy, reader: TypeReader, raw: Raw
) -> None:
    """It ends, and says that it may be tried again."""
    changes = TypeChanges(opener.lane(proxy.url), keys)
    other = encode_settings(TypeSettings(max_jobs=1))

    async def disturb(_: list[list[bytes]]) -> None:
        await raw("SET", keys.settings("mail"), other)

    proxy.before_exec = disturb
    with pytest.raises(StoreUnavailable, match="others"):
        await changes.change({"mail": PAUSE}, by="ann", why="", now_ms=7)
    with pytest.raises(StoreUnavailable, match="others"):
        await changes.publish({"mail": b"{}"}, by="ann", now_ms=7)
    assert await settings(reader) == TypeSettings(max_jobs=1)
    proxy.before_exec = None
    await changes.change({"mail": PAUSE}, by="ann", why="", now_ms=7)


async def test_an_answer_that_was_lost_is_no_second_change(
    opener: Opener, keys: PartitionKeys, proxy: FaultProxy, reader: TypeReader
) -> None:
    changes = TypeChanges(opener.lane(proxy.url), keys)
    await changes.change({"mail": PAUSE}, by="ann", why="", now_ms=7)
    proxy.fail(Fault.SWALLOW_ANSWER)
    await changes.change({"mail": RESUME}, by="ann", why="", now_ms=8)
    assert [action.at for action in await reader.actions(None, 10)] == [8, 7]


# -- schemas


async def test_a_schema_and_who_published_it(changes: TypeChanges, reader: TypeReader) -> None:
    await changes.publish({"mail": b"{}", "resize": b"true"}, by="ann", now_ms=7)
    assert await reader.schemas(["mail", "none", "resize"]) == [
        StoredSchema(b"{}", "ann", 7),
        None,
        StoredSchema(b"true", "ann", 7),
    ]
    assert await settings(reader) == TypeSettings(has_schema=True, number=7)
    assert [(one.action, one.type) for one in await reader.actions(None, 10)] == [
        ("publish", "resize"),
        ("publish", "mail"),
    ]


async def test_the_same_schema_changes_nothing(
    changes: TypeChanges, reader: TypeReader, raw: Raw, keys: PartitionKeys
) -> None:
    await changes.publish({"mail": b"{}"}, by="ann", now_ms=7)
    await changes.publish({"mail": b"{}"}, by="bob", now_ms=8)
    assert await reader.schemas(["mail"]) == [StoredSchema(b"{}", "ann", 7)]
    assert len(await reader.actions(None, 10)) == 1


async def test_an_empty_schema_is_none(
    changes: TypeChanges, reader: TypeReader, raw: Raw, keys: PartitionKeys
) -> None:
    await changes.publish({"mail": b""}, by="ann", now_ms=6)
    assert await reader.actions(None, 10) == []
    await changes.publish({"mail": b"{}"}, by="ann", now_ms=7)
    await changes.publish({"mail": b""}, by="ann", now_ms=8)
    assert await reader.schemas(["mail"]) == [None]
    assert not await raw("EXISTS", keys.schema("mail"))
    assert not (await settings(reader)).has_schema


async def test_a_schema_that_can_not_be_read_is_replaced(
    changes: TypeChanges, reader: TypeReader, raw: Raw, keys: PartitionKeys
) -> None:
    await raw("SET", keys.schema("mail"), b"\xc1")
    assert await reader.schemas(["mail"]) == [None]
    await changes.publish({"mail": b"{}"}, by="ann", now_ms=7)
    assert await reader.schemas(["mail"]) == [StoredSchema(b"{}", "ann", 7)]

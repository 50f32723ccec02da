"""What is encoded in C is what the codec makes of the same message, also where it is refused."""

import inspect
import textwrap
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from packhorse_protocol import (
    BROKER_MESSAGES,
    CLIENT_MESSAGES,
    RESULTS,
    Claim,
    ClaimRef,
    Claims,
    Complete,
    Completion,
    Create,
    Created,
    Done,
    FrameTooLarge,
    Get,
    LocalProtocolError,
    MalformedMessage,
    NewJob,
    Ok,
    Problem,
    Timeouts,
    codec,
    encoding,
    limits,
    plain_values,
)
from packhorse_protocol.records import replace
from packhorse_protocol.shapes import Nested
from tests.protocol.strategies import records
from tests.protocol.test_decoding import SAMPLES

TOKEN: Final = b"t" * 16


def written(write: Callable[[], bytes]) -> object:
    try:
        return write()
    except (LocalProtocolError, TypeError, ValueError) as refused:
        return (type(refused), str(refused))


def assert_same(message: Any, limit_bytes: int = limits.MAX_FRAME_BYTES) -> None:
    quick = written(lambda: codec.encode(message, limit_bytes))
    assert quick == written(lambda: codec.write_message(message, limit_bytes))


def test_the_docstring_shows_what_is_written() -> None:
    lines = inspect.getsource(plain_values.plain_values_of(Nested(record=Completion)))
    assert textwrap.indent(lines, "    ") in str(plain_values.__doc__)


@pytest.mark.parametrize(
    "message",
    [
        Create(id=1, jobs=(NewJob(type="t", id="a", headers={"k": "v"}, attempts=3),) * 100),
        Claims(claims=(Claim(job="a", token=TOKEN, fence=1, type="t", attempt=1),) * 100),
        Complete(id=1, jobs=(Completion(job="é", token=TOKEN, result=b"x"),) * 100),
        Ok(id=1, results=(Created(job="a", state="QUEUED"),) * 100),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_passes_for_every_job_is_encoded_in_c(message: Any) -> None:
    body = encoding.encoded(message)
    assert body == codec.write_message(message, limits.MAX_FRAME_BYTES)
    for limit_bytes in (len(body), len(body) - 1):
        assert_same(message, limit_bytes)


class Text(StrEnum):
    QUEUED = "QUEUED"
    FIXED = "fixed"


class Number(IntEnum):
    ONE = 1


class Bytes(bytes):
    pass


class Words(str):
    __slots__ = ()


class Named(Struct):
    job: str = "a"
    token: bytes = TOKEN


class Pairs(Struct):
    """Looks like a dict to whoever only asks for its items."""

    b: int = 1

    def __len__(self) -> int:
        return 1

    def items(self) -> list[tuple[str, str]]:
        return [("a", "b")]


def copied(text: str) -> str:
    """An equal text that is another object."""
    return "".join(list(text))


ODD: Final[list[Any]] = [
    None,
    *(True, False, 0, 1, -1, 100, 200, 1_000, 2**63 - 1, 2**63, 2**64, 1.0, Decimal(1), Number.ONE),
    *("", " ", " a", "a", "a\0", "\u2028", "\ud800", "é" * 128, "x" * 129, "x" * 32_769, "QUEUED"),
    *map(copied, ("fixed", "none", "until_finished", "reject", "QUEUED")),
    *(
        Text.QUEUED,
        Text.FIXED,
        Words("a"),
        Words("none"),
        UUID(int=1),
        datetime(2026, 1, 1, tzinfo=UTC),
    ),
    *(b"", b"a", TOKEN, b"x" * 17, bytearray(b"a"), bytearray(TOKEN), memoryview(TOKEN)),
    *(Bytes(b""), Bytes(b"a"), Bytes(TOKEN)),
    *(
        (),
        ("a",),
        ("a", 1),
        ("a",) * 17,
        ("QUEUED",),
        (1,),
        (Text.QUEUED,),
        ["a"],
        [],
        {"a"},
        (None,),
    ),
    *({}, {"a": "b"}, {"a": 1}, {1: "a"}, {"": ""}, {" ": "b"}, {"\0": "b"}, {"QUEUED": 1}),
    *({"a": {"QUEUED": 1}}, {"a": {"": 1}}, {Words("a"): "b"}, {Text.QUEUED: "b"}),
    *(
        MappingProxyType({"a": "b"}),
        OrderedDict(a="b"),
        Pairs(),
        {str(key): "" for key in range(33)},
    ),
    *(ClaimRef(job="a", token=TOKEN), Timeouts(), Done(), Named(), Done, object(), lambda: 0),
    *((ClaimRef(job="a", token=TOKEN),), (Done(),), (NewJob(type="a"), NewJob(type=""))),
    (Problem(code="not_found", message=""),),
    (Done(), Problem(code="not_found", message="")),
    (Created(job="a", state="QUEUED"), Done()),
]
"""What a caller may put where something else belongs."""


def changed(value: Any, put: Any) -> Iterator[Any]:
    """The record with `put` in the place of each value within it in turn."""
    for name in value.__struct_fields__:
        yield replace(value, **{name: put})
        found = getattr(value, name)
        if isinstance(found, Struct):
            yield from (replace(value, **{name: inner}) for inner in changed(found, put))
        elif isinstance(found, tuple) and found and isinstance(found[-1], Struct):
            for inner in changed(found[-1], put):
                yield replace(value, **{name: (*found[:-1], inner)})
        elif isinstance(found, tuple) and found:
            yield replace(value, **{name: (*found[:-1], put)})
        elif isinstance(found, dict) and found:
            yield replace(value, **{name: {**found, "b": put}})


@pytest.mark.parametrize("number", range(len(SAMPLES)))
def test_odd_values_in_each_place_of_a_message(number: int) -> None:
    body, record = SAMPLES[number]
    try:
        message: Any = codec.decode_client_message(body)
    except MalformedMessage:
        message = codec.decode_broker_message(body, lambda _: record)
    assert_same(message)
    for put in ODD:
        for other in changed(message, put):
            assert_same(other)


@pytest.mark.parametrize("count", [1, 15, 16, 10_000, 10_001])
def test_numbers_of_items(count: int) -> None:
    assert_same(Get(id=1, jobs=("a",) * count))
    assert_same(Create(id=1, jobs=(NewJob(type="t"),) * count))
    assert_same(Ok(id=1, results=(Done(),) * count))


def test_more_elements_than_a_frame_may_hold() -> None:
    job = NewJob(type="t", labels=("a",) * 16, headers={str(key): "" for key in range(4)})
    message = Create(id=1, jobs=(job,) * 10_000)
    with pytest.raises(FrameTooLarge):
        codec.encode(message)
    assert_same(message)


@pytest.mark.parametrize("size_bytes", [199_000, 200_000, 201_000])
@pytest.mark.parametrize("limit_bytes", [100, 300_000])
def test_sizes(size_bytes: int, limit_bytes: int) -> None:
    assert_same(Create(id=1, jobs=(NewJob(type="t", payload=bytes(size_bytes)),)), limit_bytes)


@pytest.mark.parametrize("record", [*CLIENT_MESSAGES.values(), *BROKER_MESSAGES.values()])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_every_message(record: type, data: st.DataObject) -> None:
    if record is not Ok:
        assert_same(data.draw(records(record)))


@pytest.mark.parametrize("record", dict.fromkeys(RESULTS.values()))
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_every_reply(record: type, data: st.DataObject) -> None:
    entries = st.lists(records(record) | records(Problem), max_size=3)
    reply = Ok(id=data.draw(st.sampled_from([1, 2**63 - 1])), results=tuple(data.draw(entries)))
    assert_same(reply)
    assert_same(replace(reply, durability="not_met"))

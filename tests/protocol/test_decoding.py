"""What is decoded in C is what the codec makes of the same body, also where it is refused."""

import contextlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packhorse_protocol import (
    BROKER_MESSAGES,
    CLIENT_MESSAGES,
    RESULTS,
    Claim,
    ClaimRef,
    Claims,
    Complete,
    Completion,
    Counts,
    Create,
    Created,
    JobView,
    MalformedMessage,
    NewJob,
    Ok,
    Problem,
    codec,
    decoding,
    limits,
    plain_names,
)
from packhorse_protocol.shapes import Nested
from tests.protocol.strategies import records
from tests.protocol.test_fuzz import BODIES, lying, msgpack_values, mutated, resembling

TOKEN: Final = b"t" * 16
ANSWERED: Final = [None, *dict.fromkeys(RESULTS.values())]
"""What a reply may be read as."""


def said(decode: Callable[[], Any]) -> object:
    """The message or the refusal, each to the type of its values."""
    try:
        return repr(decode())
    except MalformedMessage as malformed:
        return (str(malformed), vars(malformed))


def assert_same(body: bytes, answered: list[type | None]) -> None:
    assert said(lambda: codec.decode_client_message(body)) == said(
        lambda: codec.read_client_message(body)
    )
    for record in answered:

        def results_of(_: int, record: type | None = record) -> type | None:
            return record

        assert said(lambda: codec.decode_broker_message(body, results_of)) == said(
            lambda: codec.read_broker_message(body, results_of)
        )


def assert_quick(message: Any, record: type | None = None) -> None:
    body = codec.encode(message)
    client = type(message) in CLIENT_MESSAGES.values()
    quick = (
        decoding.client_message(body) if client else decoding.broker_message(body, lambda _: record)
    )
    assert quick == message


def test_what_passes_for_every_job_is_decoded_in_c() -> None:
    claim = Claim(job="a", token=TOKEN, fence=1, type="t", attempt=1, payload=b"\xde\xdf" * 50)
    assert_quick(Create(id=1, jobs=(NewJob(type="t", id="a", headers={"k": "v"}),) * 100))
    assert_quick(Claims(claims=(claim,) * 100))
    assert_quick(Complete(id=1, jobs=(Completion(job="é", token=TOKEN, result=b"x"),) * 1_200))
    assert_quick(Ok(id=1, results=(Created(job="a", state="QUEUED"),) * 100), Created)
    assert_quick(Ok(id=1, results=(Counts(types={"a": {"QUEUED": 1}}),)), Counts)


def test_the_docstring_shows_what_is_written() -> None:
    written = inspect.getsource(plain_names.plain_names_of(Nested(record=ClaimRef)))
    assert textwrap.indent(written, "    ") in str(plain_names.__doc__)


def test_what_is_unusual_is_left_to_the_codec() -> None:
    refused = Ok(id=1, results=(Problem(code="not_found", message=""),))
    assert decoding.broker_message(codec.encode(refused), lambda _: Created) is None
    assert decoding.broker_message(codec.encode(refused), lambda _: None) is None
    large = Create(id=1, jobs=(NewJob(type="t", payload=bytes(limits.MAX_ELEMENTS)),))
    assert decoding.client_message(codec.encode(large)) is None
    assert codec.decode_client_message(codec.encode(large)) == large


EDGES: Final[list[Any]] = [
    None,
    *(True, False),
    *(0, 1, -1, 100, 2**31, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)),
    *(0.0, 1.0, 1.5, float("nan"), 1e300),
    *("", " ", "a", " a", "a\0", "\x7f", "\x80", "\u00a0", "\u2028", "é" * 128, "x" * 129),
    *("x" * 32_768, "x" * 32_769, "QUEUED", "fixed", "2026-11-28T00:00:00Z", "1"),
    *(b"", b"a", b"x" * 15, TOKEN, b"x" * 17, b"QUEUED"),
    *([], [[]], ["a"], ["a"] * 17, ["a"] * 10_000, ["a"] * 10_001, [1, 2], [None], [{}]),
    *({}, {"a": "b"}, {"a": 1}, {b"a": "b"}, {"a": {"QUEUED": 1}}, {"": ""}, {" ": "b"}),
    {str(number): "" for number in range(33)},
    {str(number): 1 for number in range(1_025)},
    msgpack.Timestamp(1),
    msgpack.ExtType(5, b""),
    msgpack.ExtType(5, b"x" * 16),
]
"""Values at the edges of what fields may hold, and beyond."""


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container within a value with each of its keys or indices."""
    pairs: Any = ()
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    for key, inner in pairs:
        yield value, key
        yield from places(inner)


def read_as(body: bytes) -> list[type | None]:
    """What the body may answer, if it is a message at all."""

    def is_read(record: type | None) -> bool:
        with contextlib.suppress(MalformedMessage):
            codec.read_broker_message(body, lambda _: record)
            return True
        return False

    with contextlib.suppress(MalformedMessage):
        codec.read_client_message(body)
        return [None]
    return [record for record in ANSWERED if is_read(record)][:1]


SAMPLES: Final = [(body, answered[0]) for body in BODIES if (answered := read_as(body))]


@pytest.mark.parametrize("number", range(len(SAMPLES)))
def test_each_value_of_a_message_at_its_edges(number: int) -> None:
    body, record = SAMPLES[number]
    value = msgpack.unpackb(body, strict_map_key=False)
    for container, key in list(places(value)):
        kept = container[key]
        for edge in EDGES:
            container[key] = edge
            assert_same(msgpack.packb(value), [record])
        container[key] = kept
        if isinstance(container, dict):
            del container[key]
            assert_same(msgpack.packb(value), [record])
            container[key] = kept


@pytest.mark.parametrize("times", [2, 15, 16, 1_023, 1_024, 1_025, 5_000])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("key", [b"\xa2id", b"\xd9\x02id", b"\xda\0\2id", b"\xdb\0\0\0\2id"])
def test_repeated_keys(times: int, wide: bool, key: bytes) -> None:
    count = times + 2
    head = b"\xdf" + count.to_bytes(4, "big") if wide else b"\xde" + count.to_bytes(2, "big")
    body = head + b"\xa1t\xa3get\xa4jobs\x91\xa1a" + (key + b"\x01") * times
    assert_same(body, [None])
    inner = head + b"\xa4type\xa1a\xa2id\xa1b" + (b"\xa8attempts\x01") * times
    assert_same(b"\x83\xa1t\xa6create\xa2id\x01\xa4jobs\x91" + inner, [None])
    headers = head + b"\xa1a\xa1b" * count
    job = b"\x82\xa4type\xa1a\xa7headers" + headers
    assert_same(b"\x83\xa1t\xa6create\xa2id\x01\xa4jobs\x91" + job, [None])
    counts = b"\x81\xa5types\x81\xa1a" + head + b"\xa6QUEUED\x01" * count
    assert_same(b"\x83\xa1t\xa2ok\xa2id\x01\xa7results\x91" + counts, [Counts])


@pytest.mark.parametrize(
    "body",
    [
        b"\x82\xa1t\xa4beat\xa1t\xa3bye",
        b"\x83\xa1t\xa3bye\xa2id\x01\xa1t\xa4beat",
        b"\x82\xa2id\x01\xa1t\xa3bye",
        b"\x82\xa2id\x01\xc4\x01t\xa3bye",
        b"\x83\xa1t\xa3bye\xa2id\x01\xa1x" + b"\x91" * 600 + b"\xc0",
        b"\x83\xa1t\xa3bye\xa2id\x01\xa1x\xa1\xff",
        b"\x83\xa1t\xa3get\xa2id\x01\xa4jobs\x91\xa1\xff",
        b"\x83\xa1t\xa3get\xa2id\x01\xa4jobs\x91\xa3\xed\xa0\x80",
        b"\x83\xa1t\xa3get\xa2id\x01\xa4jobs\xdd\xff\xff\xff\xff",
        b"\x83\xa1t\xa3get\xa2id\x01\xa4jobs" + b"\xdd\x00\x00\x27\x10" * 1_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa1t\xa4beat\xc0",
        b"\x81\xa1t\xa4bea",
        b"\xc1",
        b"",
    ],
)
def test_odd_bodies(body: bytes) -> None:
    assert_same(body, list(ANSWERED))


@given(mutated() | resembling() | lying())
@settings(max_examples=1_000, deadline=None)
def test_frames_gone_wrong(body: bytes) -> None:
    assert_same(body, list(ANSWERED))


@given(st.binary(max_size=200) | msgpack_values.map(msgpack.packb))
@settings(deadline=None)
def test_random_bytes(body: bytes) -> None:
    assert_same(body, [None, JobView])


@pytest.mark.parametrize("tag", CLIENT_MESSAGES)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_every_message_of_a_client(tag: str, data: st.DataObject) -> None:
    assert_same(codec.encode(data.draw(records(CLIENT_MESSAGES[tag]))), [])


@pytest.mark.parametrize("tag", [tag for tag in BROKER_MESSAGES if tag != "ok"])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_every_message_of_a_broker(tag: str, data: st.DataObject) -> None:
    assert_same(codec.encode(data.draw(records(BROKER_MESSAGES[tag]))), [None])


@pytest.mark.parametrize("record", dict.fromkeys(RESULTS.values()))
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_every_reply(record: type, data: st.DataObject) -> None:
    entries = st.lists(records(record) | records(Problem), max_size=3)
    reply = Ok(id=1, results=tuple(data.draw(entries)))
    assert_same(codec.encode(reply), [record])

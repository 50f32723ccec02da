"""Random input: only documented errors leave, and cutting the stream changes nothing."""

import contextlib
from typing import Any, Final

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packhorse_protocol import (
    BROKER_MESSAGES,
    CLIENT_MESSAGES,
    RESULTS,
    BrokerConnection,
    ConnectionState,
    FramingError,
    Hello,
    JobView,
    MalformedMessage,
    Ok,
    Welcome,
    codec,
)
from packhorse_protocol.framing import FrameReader, frame
from tests.protocol.ends import TOO_LONG, pair, request, waiting_client
from tests.protocol.strategies import records, replies
from tests.protocol.vectors import joined, load

BODIES: Final = [
    bytes.fromhex(vector["frame"])[4:]
    for name in ("client.json", "broker.json", "accepted.json")
    for vector in load(name)
] + [body for vector in load("malformed.json") if len(body := joined(vector["body"])) < 1_000]

TAGS_WITH_RESULTS: Final = [tag for tag, record in CLIENT_MESSAGES.items() if record in RESULTS]

msgpack_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=10) | st.binary(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A body from the vectors with a few bytes changed, dropped, doubled or put in."""
    body = bytearray(draw(st.sampled_from(BODIES)))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, max(0, len(body) - 1)))
        match draw(st.integers(0, 3)):
            case 0 if body:
                body[position] = draw(st.integers(0, 255))
            case 1:
                del body[position : position + draw(st.integers(1, 8))]
            case 2:
                body[position:position] = body[position : position + draw(st.integers(1, 8))]
            case _:
                body[position:position] = draw(st.binary(min_size=1, max_size=8))
    return bytes(body)


@st.composite
def resembling(draw: st.DrawFn) -> bytes:
    """A map with the keys of a message, and anything as their values."""
    tag, record = draw(st.sampled_from([*CLIENT_MESSAGES.items(), *BROKER_MESSAGES.items()]))
    keys = [field for field in record.__annotations__ if draw(st.booleans())]
    fields = {"t": tag, **{key: draw(msgpack_values) for key in keys}}
    return bytes(msgpack.packb(fields))


def documented(items: list[Any]) -> None:
    """Each item is a message or a documented error, a `FramingError` only the last one."""
    for item in items:
        if isinstance(item, Exception):
            assert isinstance(item, MalformedMessage | FramingError)
            assert len(str(item)) <= 1_024
        else:
            assert type(item) in {*CLIENT_MESSAGES.values(), *BROKER_MESSAGES.values()}
    assert not any(isinstance(item, FramingError) for item in items[:-1])


CONTAINERS: Final = (
    b"\xdc",
    b"\xdd",
    b"\xde",
    b"\xdf",
    b"\xd9",
    b"\xda",
    b"\xdb",
    b"\xc4",
    b"\xc5",
    b"\xc6",
)
"""Arrays, maps, texts and binaries whose length follows."""

WIDTHS: Final = dict(zip(CONTAINERS, (2, 4, 2, 4, 1, 2, 4, 1, 2, 4), strict=True))
"""Bytes of these lengths."""


@st.composite
def lying(draw: st.DrawFn) -> bytes:
    """Containers within containers, whose lengths say anything, before too little or too much."""
    parts: list[bytes] = [draw(st.sampled_from([b"", b"\x82\xa1t\xa6create\xa4jobs"]))]
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(CONTAINERS))
        length = draw(st.integers(0, 256 ** WIDTHS[kind] - 1))
        header = kind + length.to_bytes(WIDTHS[kind], "big")
        parts.append(header * draw(st.sampled_from([1, 1, 2, 20, 2_000])))
    parts.append(draw(st.binary(max_size=20) | st.just(b"\xc0" * 20_000)))
    return b"".join(parts)


@given(lying())
@settings(deadline=None)
def test_containers_that_lie(body: bytes) -> None:
    for state in ConnectionState:
        for end in pair(state):
            documented(end.receive(frame(body)))


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a", b"\x81\xa1t\x91"])
@pytest.mark.parametrize("depth", [1, 16, 100, 511, 512, 513, 1_023, 1_024, 1_025, 50_000])
def test_containers_however_deep(opening: bytes, depth: int) -> None:
    for body in (opening * depth, opening * depth + b"\xc0"):
        for end in pair(ConnectionState.OPEN):
            [malformed] = end.receive(frame(body))
            assert isinstance(malformed, MalformedMessage)
            documented([malformed])


SHORT: Final = [body for body in BODIES if 0 < len(body) < 200]


@given(st.lists(st.sampled_from(SHORT) | mutated().filter(len), min_size=1, max_size=3), st.data())
@settings(deadline=None)
def test_a_stream_is_the_same_whole_in_halves_and_bytewise(
    bodies: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(map(frame, bodies)) + data.draw(st.sampled_from([b"", TOO_LONG, b"\0" * 4]))
    single = [stream[place : place + 1] for place in range(len(stream))]
    middle = data.draw(st.integers(0, len(stream)))
    halves = [stream[:middle], stream[middle:]]
    for state in ConnectionState:
        heard = [
            [[repr(item) for chunk in cut for item in end.receive(chunk)] for end in pair(state)]
            for cut in ([stream], halves, single)
        ]
        assert heard[0] == heard[1] == heard[2]


@pytest.mark.parametrize("end", [0, 1])
def test_a_stream_of_all_messages_is_the_same_cut_at_every_place(end: int) -> None:
    """Two chunks, whatever the place: in a length, a tag, a text, between two frames."""
    stream = b"".join(map(frame, SHORT[:12])) + TOO_LONG
    expected = list(map(repr, pair(ConnectionState.OPEN)[end].receive(stream)))
    for place in range(len(stream) + 1):
        receiver = pair(ConnectionState.OPEN)[end]
        items = [*receiver.receive(stream[:place]), *receiver.receive(stream[place:])]
        assert list(map(repr, items)) == expected
        assert receiver.state is ConnectionState.BROKEN


@given(st.lists(st.binary(max_size=300), max_size=6), st.sampled_from(list(ConnectionState)))
@settings(deadline=None)
def test_random_bytes(chunks: list[bytes], state: ConnectionState) -> None:
    for end in pair(state):
        cut = [item for chunk in chunks for item in end.receive(chunk)]
        documented(cut)
        whole = pair(state)[0 if isinstance(end, BrokerConnection) else 1]
        assert list(map(repr, cut)) == list(map(repr, whole.receive(b"".join(chunks))))


@given(st.lists(mutated() | resembling(), min_size=1, max_size=3))
@settings(max_examples=500, deadline=None)
def test_frames_of_messages_gone_wrong(bodies: list[bytes]) -> None:
    stream = b"".join(map(frame, filter(None, bodies)))
    for state in ConnectionState:
        for end in pair(state):
            documented(end.receive(stream))
    for tag in ("get", "counts", "logs"):
        documented(waiting_client(tag, request_id=7).receive(stream))


@given(st.binary(min_size=1, max_size=200) | msgpack_values.map(msgpack.packb))
@settings(deadline=None)
def test_only_malformed_message_leaves_the_decoders(body: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        codec.decode_client_message(body)
    with contextlib.suppress(MalformedMessage):
        codec.decode_broker_message(body, lambda _: JobView)


@pytest.mark.parametrize("tag", CLIENT_MESSAGES)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_clients_message_comes_out_as_it_went_in(tag: str, data: st.DataObject) -> None:
    message = data.draw(records(CLIENT_MESSAGES[tag]))
    hello = isinstance(message, Hello)
    broker, client = pair(ConnectionState.HANDSHAKE if hello else ConnectionState.OPEN)
    assert broker.receive(client.send(message)) == [message]


@pytest.mark.parametrize("tag", [tag for tag in BROKER_MESSAGES if tag not in {"ok", "welcome"}])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_brokers_message_comes_out_as_it_went_in(tag: str, data: st.DataObject) -> None:
    message = data.draw(records(BROKER_MESSAGES[tag]))
    broker = pair(ConnectionState.OPEN)[0]
    client = waiting_client("info", request_id=getattr(message, "id", None) or 1)
    assert client.receive(broker.send(message)) == [message]


@given(records(Welcome))
@settings(max_examples=30, deadline=None)
def test_a_welcome_comes_out_as_it_went_in(welcome: Welcome) -> None:
    body = codec.encode(welcome)
    assert codec.decode_broker_message(body, lambda _: None) == welcome


@pytest.mark.parametrize("tag", TAGS_WITH_RESULTS)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_reply_comes_out_as_it_went_in(tag: str, data: st.DataObject) -> None:
    asked: Any = request(tag, request_id=7)
    reply: Ok = data.draw(replies(asked))
    broker = pair(ConnectionState.OPEN)[0]
    client = waiting_client(tag, request_id=7)
    assert client.receive(broker.send(reply)) == [reply]
    assert client.pending_requests == 0


@given(
    st.lists(st.binary(min_size=1, max_size=50), max_size=10),
    st.lists(st.integers(1, 30), min_size=1, max_size=20),
)
@settings(deadline=None)
def test_frames_come_out_however_the_stream_is_cut(bodies: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(map(frame, bodies))
    reader = FrameReader(50)
    found: list[bytes] = []
    start = turn = 0
    while start < len(stream):
        end = start + sizes[turn % len(sizes)]
        reader.feed(stream[start:end])
        while (body := reader.next_body()) is not None:
            found.append(body)
        start, turn = end, turn + 1
    assert found == bodies
    assert reader.pending_bytes == 0

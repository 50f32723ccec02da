"""What is fuzzed: functions of any bytes, which raise where more leaves than is documented.

The first byte of each input chooses (a state, a result record), the rest is what arrives.
"""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from packhorse_protocol import (
    BROKER_MESSAGES,
    CLIENT_MESSAGES,
    RESULTS,
    BrokerConnection,
    ClientConnection,
    Code,
    ConnectionState,
    FramingError,
    MalformedMessage,
    Ok,
    Problem,
    codec,
)
from packhorse_protocol.framing import FrameReader
from packhorse_protocol.limits import HEADER_BYTES
from packhorse_protocol.shapes import Listing, Mapped, Nested, Shape, fields_of
from tests.protocol.ends import pair
from tests.protocol.vectors import joined, load

Target: TypeAlias = Callable[[bytes], None]
End: TypeAlias = BrokerConnection | ClientConnection

LONGEST_BODY: Final = 300
"""Of the frame reader's target: short enough that mutations reach over its bounds."""

LONGEST_SEED_BYTES: Final = 4_096
"""Larger vectors are left out: what they are about is their size."""

_RECORDS: Final = tuple(RESULTS.values())
_STATES: Final = tuple(ConnectionState)


def frames(data: bytes) -> None:
    """The reader finds the same bodies, and the same error, however the stream is cut."""
    whole = _bodies([data])
    assert _bodies([data[: len(data) // 2], data[len(data) // 2 :]]) == whole
    assert _bodies([data[place : place + 1] for place in range(len(data))]) == whole


def client_message(data: bytes) -> None:
    """A body is a message, which is sent as the same again, or malformed."""
    try:
        message = codec.decode_client_message(data)
    except MalformedMessage as malformed:
        _check(malformed)
        return
    assert codec.decode_client_message(codec.encode(message)) == message


def broker_message(data: bytes) -> None:
    """As `client_message`; an `ok` answers a request of the kind that the first byte says."""
    record = _RECORDS[data[0] % len(_RECORDS)] if data else None
    try:
        message = codec.decode_broker_message(data[1:], lambda _: record)
    except MalformedMessage as malformed:
        _check(malformed)
        return
    assert codec.decode_broker_message(codec.encode(message), lambda _: record) == message


def connections(data: bytes) -> None:
    """Both ends make of a stream what they make of its bytes, and only a broken frame ends it."""
    state = _STATES[data[0] % len(_STATES)] if data else ConnectionState.OPEN
    stream = data[1:]
    ends: list[End] = list(pair(state))
    others: list[End] = list(pair(state))
    for whole, cut in zip(ends, others, strict=True):
        items = whole.receive(stream)
        single = [item for place in range(len(stream)) for item in cut.receive(stream[place:][:1])]
        assert list(map(repr, items)) == list(map(repr, single))
        assert whole.state is cut.state
        for item in items:
            if isinstance(item, MalformedMessage):
                _check(item)
            elif isinstance(item, FramingError):
                assert item is items[-1]
                assert whole.state is ConnectionState.BROKEN
            else:
                assert type(item) in {*CLIENT_MESSAGES.values(), *BROKER_MESSAGES.values()}


TARGETS: Final[dict[str, Target]] = {
    target.__name__: target for target in (frames, client_message, broker_message, connections)
}


def seeds(name: str) -> Iterator[bytes]:
    """Inputs to begin with: every vector, good and malformed, in the target's form."""
    good = [vector for file in ("client", "broker", "accepted") for vector in load(f"{file}.json")]
    bodies = [bytes.fromhex(vector["frame"])[HEADER_BYTES:] for vector in good]
    bodies += [joined(vector["body"]) for vector in load("malformed.json")]
    for body in bodies:
        if len(body) > LONGEST_SEED_BYTES:
            continue
        framed = len(body).to_bytes(HEADER_BYTES, "big") + body
        match name:
            case "client_message":
                yield body
            case "frames":
                yield framed
            case "connections":
                yield bytes([_STATES.index(ConnectionState.OPEN)]) + framed
            case _:
                yield b"\0" + body
    if name == "broker_message":
        for place, record in enumerate(_RECORDS):
            yield from (
                bytes([place]) + bytes.fromhex(vector["frame"])[HEADER_BYTES:]
                for vector in load("broker.json")
                if RESULTS.get(CLIENT_MESSAGES.get(vector.get("answers", ""), object)) is record
            )


def all_records() -> set[type]:
    """Messages, results, and all records within them."""
    found: set[type] = set()
    left: list[type] = [*CLIENT_MESSAGES.values(), *BROKER_MESSAGES.values(), *_RECORDS, Problem]
    while left:
        record = left.pop()
        if record is not Ok and record not in found:
            found.add(record)
            left += [inner for field in fields_of(record) for inner in _within(field.shape)]
    return found


def _within(shape: Shape) -> list[type]:
    match shape:
        case Nested(record=record):
            return [record]
        case Listing(item=inner) | Mapped(value=inner):
            return _within(inner)
        case _:
            return []


def words() -> list[bytes]:
    """What mutations put in: the packed tags and field names of all messages."""
    texts = {*CLIENT_MESSAGES, *BROKER_MESSAGES, "t", "id", "ok", "problem"}
    for record in all_records():
        texts |= set(record.__annotations__)
    return [bytes([0xA0 | len(text)]) + text.encode() for text in sorted(texts) if len(text) < 32]


def _bodies(chunks: list[bytes]) -> list[bytes | str]:
    """The bodies, and the words of the error that ended them."""
    reader = FrameReader(LONGEST_BODY)
    found: list[bytes | str] = []
    for chunk in chunks:
        reader.feed(chunk)
        try:
            found += iter(reader.next_body, None)
        except FramingError as broken:
            return [*found, str(broken)]
        assert reader.pending_bytes < HEADER_BYTES + LONGEST_BODY
    return found


def _check(malformed: MalformedMessage) -> None:
    """It can be told to the other side as it is."""
    assert len(str(malformed)) <= 1_024
    assert malformed.code in {Code.MALFORMED, Code.UNSUPPORTED, Code.HELLO_REQUIRED}
    assert malformed.request_id is None or 1 <= malformed.request_id < 2**63

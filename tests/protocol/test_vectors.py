"""Every vector, whole, in two halves and byte by byte, at the end that it is meant for."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgpack
import pytest

from packhorse_protocol import (
    BROKER_MESSAGES,
    CLIENT_MESSAGES,
    RESULTS,
    BrokerConnection,
    ClientConnection,
    ConnectionState,
    FramingError,
    MalformedMessage,
    codec,
)
from packhorse_protocol.framing import FrameReader, frame
from tests.protocol.ends import FRAME_BYTES, client_for, pair, waiting_client
from tests.protocol.vectors import body_of, from_json, joined, load, named

CLIENT: Final = named("client.json")
BROKER: Final = named("broker.json")
ACCEPTED: Final = named("accepted.json") | named("accepted_large.json")
MALFORMED: Final = named("malformed.json")
FRAMING: Final = named("framing.json")

CUTS: Final = 200
"""Halves that a stream is tried in: all of a short one, spread over a long one."""

BYTEWISE_BYTES: Final = 4_096
"""Longer streams come in pieces instead, so that a megabyte takes no minute."""


def chunkings(stream: bytes) -> Iterator[list[bytes]]:
    """The stream whole, in halves, and byte by byte."""
    yield [stream]
    for cut in range(1, len(stream), max(1, len(stream) // CUTS)):
        if len(stream) <= BYTEWISE_BYTES or cut < 10 * len(stream) // CUTS:
            yield [stream[:cut], stream[cut:]]
    size = 1 if len(stream) <= BYTEWISE_BYTES else 1_000
    yield [stream[start : start + size] for start in range(0, len(stream), size)]


def received(
    make: Callable[[], BrokerConnection] | Callable[[], ClientConnection], stream: bytes
) -> list[Any]:
    """What an end makes of a stream, which must not depend on how it is cut."""
    results = []
    for chunks in chunkings(stream):
        end = make()
        results.append([item for chunk in chunks for item in end.receive(chunk)])
    first = list(map(comparable, results[0]))
    assert all(list(map(comparable, result)) == first for result in results)
    return results[0]


def comparable(item: object) -> object:
    """Errors compare by what they say."""
    return (type(item), vars(item)) if isinstance(item, Exception) else item


def open_broker() -> BrokerConnection:
    return pair(ConnectionState.OPEN)[0]


def assert_holds(message: Any, value: dict[str, Any]) -> None:
    """A record has the fields of a map, and its other fields have their defaults."""
    for key, expected in value.items():
        if key == "t":
            continue
        found = getattr(message, key)
        if isinstance(expected, dict) and not isinstance(found, dict):
            assert_holds(found, expected)
        elif isinstance(expected, tuple) and any(isinstance(item, dict) for item in expected):
            for part, item in zip(found, expected, strict=True):
                assert_holds(part, item.get("problem", item))
        else:
            assert found == expected
            assert type(found) is type(expected)


@pytest.mark.parametrize("vector", [*CLIENT.values(), *BROKER.values()], ids=lambda v: v["name"])
def test_the_frame_is_the_value_in_the_shortest_msgpack(vector: dict[str, Any]) -> None:
    stream, value = bytes.fromhex(vector["frame"]), from_json(vector["value"])
    assert msgpack.unpackb(stream[4:], use_list=False) == value
    assert frame(msgpack.packb(value)).hex() == vector["frame"]


@pytest.mark.parametrize("vector", CLIENT.values(), ids=lambda v: v["name"])
def test_a_clients_message(vector: dict[str, Any]) -> None:
    stream = bytes.fromhex(vector["frame"])
    hello = vector["value"]["t"] == "hello"
    state = ConnectionState.HANDSHAKE if hello else ConnectionState.OPEN
    [message] = received(lambda: pair(state)[0], stream)
    assert pair(state)[1].send(message) == stream
    assert isinstance(message, CLIENT_MESSAGES[vector["value"]["t"]])
    assert_holds(message, from_json(vector["value"]))


@pytest.mark.parametrize("vector", BROKER.values(), ids=lambda v: v["name"])
def test_a_brokers_message(vector: dict[str, Any]) -> None:
    stream = bytes.fromhex(vector["frame"])
    [message] = received(lambda: client_for(vector), stream)
    welcome = vector["value"]["t"] == "welcome"
    state = ConnectionState.GREETED if welcome else ConnectionState.OPEN
    assert pair(state)[0].send(message) == stream
    assert isinstance(message, BROKER_MESSAGES[vector["value"]["t"]])
    assert_holds(message, from_json(vector["value"]))


def test_there_are_good_frames_of_every_message() -> None:
    assert {vector["value"]["t"] for vector in CLIENT.values()} == set(CLIENT_MESSAGES)
    assert {vector["value"]["t"] for vector in BROKER.values()} == set(BROKER_MESSAGES)
    answered = {v["answers"] for v in BROKER.values() if v["value"]["t"] == "ok"}
    assert {CLIENT_MESSAGES[tag] for tag in answered} == set(RESULTS)


@pytest.mark.parametrize("vector", ACCEPTED.values(), ids=lambda v: v["name"])
def test_another_way_to_write_a_message(vector: dict[str, Any]) -> None:
    def end() -> Any:
        if vector["from"] == "client":
            return open_broker()
        return waiting_client(vector["answers"], request_id=1, items=2)

    [message] = received(end, frame(body_of(vector)))
    assert frame(codec.encode(message)).hex() == vector["same_as"]
    assert [message] == received(end, bytes.fromhex(vector["same_as"]))


@pytest.mark.parametrize("vector", MALFORMED.values(), ids=lambda v: v["name"])
def test_a_malformed_message_is_refused_in_its_place(vector: dict[str, Any]) -> None:
    state = ConnectionState[vector.get("state", "OPEN")]

    def end() -> Any:
        if vector["from"] == "client":
            return pair(state)[0]
        if "answers" in vector:
            return waiting_client(vector["answers"], request_id=7)
        return pair(state)[1]

    stream = frame(joined(vector["body"]))
    [error] = received(end, stream)
    assert isinstance(error, MalformedMessage)
    found = {"code": str(error.code), "path": error.path, "request_id": error.request_id}
    assert found == vector["error"]
    assert str(error)
    assert len(str(error)) <= 1_024

    again = end()
    beat = bytes.fromhex(CLIENT["beat"]["frame"])
    items = again.receive(stream + beat)
    assert len(items) == 2
    assert again.state is state
    assert state is not ConnectionState.OPEN or not isinstance(items[1], Exception)


@pytest.mark.parametrize("vector", FRAMING.values(), ids=lambda v: v["name"])
def test_a_stream_is_cut_into_bodies(vector: dict[str, Any]) -> None:
    stream = joined(vector["stream"])
    for chunks in chunkings(stream):
        reader = FrameReader(vector["limit_bytes"])
        bodies: list[str] = []
        error: str | None = None
        for chunk in chunks:
            reader.feed(chunk)
            try:
                while (body := reader.next_body()) is not None:
                    bodies.append(body.hex())
            except FramingError as broken:
                error = str(broken.code)
        assert (bodies, error) == (vector["bodies"], vector["error"])


def test_the_session_passes_between_both_ends() -> None:
    broker, client = pair(ConnectionState.HANDSHAKE)
    ends: dict[str, Any] = {"client": client, "broker": broker}
    for step in load("session.json"):
        stream = bytes.fromhex(step["frame"])
        assert frame(msgpack.packb(from_json(step["value"]))) == stream
        sender = ends[step["from"]]
        [receiver] = [end for end in ends.values() if end is not sender]
        if step["value"]["t"] == "teleport":
            [refused] = receiver.receive(stream)
            assert isinstance(refused, MalformedMessage)
            continue
        if step["value"].get("code") == "unsupported":
            # No request of this client's is pending under that id: nothing of ours sent it.
            receiver = waiting_client("info", request_id=7)
        [message] = receiver.receive(stream)
        assert not isinstance(message, Exception)
        assert sender.send(message) == stream
    assert client.pending_requests == 0
    assert broker.state is client.state is ConnectionState.OPEN
    assert broker.send_limit_bytes == client.send_limit_bytes == FRAME_BYTES

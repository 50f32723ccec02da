"""Both ends of a connection, brought to a state by what passes between them."""

from typing import Any, Final

from packhorse_protocol import (
    BROKER_MESSAGES,
    CLIENT_MESSAGES,
    ROLES,
    BrokerConnection,
    BrokerMessage,
    ClientConnection,
    ClientMessage,
    ConnectionState,
    Hello,
    Limits,
    Ok,
    Refused,
    Welcome,
)
from packhorse_protocol.connection import BATCH_FIELD
from packhorse_protocol.records import replace
from tests.protocol.vectors import load

FRAME_BYTES: Final = 8 * 1024 * 1024

HELLO: Final = Hello(versions=(1,))
WELCOME: Final = Welcome(
    version=1,
    client="c",
    secret=b"s" * 32,
    resumed=False,
    roles=ROLES,
    heartbeat_ms=10_000,
    timeout_ms=30_000,
    limits=Limits(
        frame_bytes=FRAME_BYTES,
        payload_bytes=1_000_000,
        result_bytes=1_000_000,
        log_message_bytes=8_192,
        batch=1_000,
        in_flight=100,
    ),
    features=(),
    broker="b",
    store="s",
    now_ms=1,
)
CLOSING: Final = Refused(code="superseded", message="", closing=True)
TOO_LONG: Final = b"\xff\xff\xff\xff"
"""The length of a frame that nobody accepts."""


def pair(state: ConnectionState) -> tuple[BrokerConnection, ClientConnection]:
    """A broker's and a client's end, joined, in a state."""
    broker = BrokerConnection(max_frame_bytes=FRAME_BYTES)
    client = ClientConnection(max_frame_bytes=FRAME_BYTES)
    if state is ConnectionState.HANDSHAKE:
        return broker, client
    assert broker.receive(client.send(HELLO)) == [HELLO]
    if state is ConnectionState.GREETED:
        return broker, client
    assert client.receive(broker.send(WELCOME)) == [WELCOME]
    if state is ConnectionState.CLOSED:
        assert client.receive(broker.send(CLOSING)) == [CLOSING]
    if state is ConnectionState.BROKEN:
        broker.receive(TOO_LONG)
        client.receive(TOO_LONG)
    assert broker.state is client.state is state
    return broker, client


def as_broker(stream: bytes) -> list[Any]:
    """What the broker's end makes of bytes, in the state OPEN."""
    return pair(ConnectionState.OPEN)[0].receive(stream)


def client_samples() -> dict[type, ClientMessage]:
    """A message of each kind that a client sends, from the vectors."""
    samples: dict[type, ClientMessage] = {Hello: HELLO}
    for vector in load("client.json"):
        if vector["value"]["t"] != "hello":
            [message] = as_broker(bytes.fromhex(vector["frame"]))
            samples.setdefault(type(message), message)
    assert set(samples) == set(CLIENT_MESSAGES.values())
    return samples


def request(tag: str, *, request_id: int, items: int = 1) -> ClientMessage:
    """A request with this id and so many items."""
    record = CLIENT_MESSAGES[tag]
    sample: Any = client_samples()[record]
    changes: dict[str, Any] = {"id": request_id}
    if batch := BATCH_FIELD.get(record):
        changes[batch] = getattr(sample, batch)[:1] * items
    message: ClientMessage = replace(sample, **changes)
    return message


def waiting_client(tag: str, *, request_id: int, items: int = 1) -> ClientConnection:
    """A client's end with one request that is not answered."""
    client = pair(ConnectionState.OPEN)[1]
    client.send(request(tag, request_id=request_id, items=items))
    return client


def client_for(vector: dict[str, Any]) -> ClientConnection:
    """A client's end that awaits what a vector of `broker.json` holds."""
    value = vector["value"]
    if value["t"] == "welcome":
        return pair(ConnectionState.GREETED)[1]
    if "answers" not in vector:
        return pair(ConnectionState.OPEN)[1]
    identity = int(value["id"]["$int"]) if isinstance(value["id"], dict) else value["id"]
    return waiting_client(
        vector["answers"], request_id=identity, items=len(value.get("results", [None]))
    )


def broker_samples() -> dict[type, BrokerMessage]:
    """A message of each kind that a broker sends, from the vectors; an `Ok` answers id 1."""
    samples: dict[type, BrokerMessage] = {Welcome: WELCOME, Ok: Ok(id=1, results=())}
    for vector in load("broker.json"):
        if vector["value"]["t"] not in {"welcome", "ok"}:
            [message] = client_for(vector).receive(bytes.fromhex(vector["frame"]))
            assert not isinstance(message, Exception)
            samples.setdefault(type(message), message)
    assert set(samples) == set(BROKER_MESSAGES.values())
    return samples

"""What a broker does with each thing that a client may send, in each state of the session.

The cells are not written down: a broker's end of a connection is brought into each state and given
each frame of the vectors, and what it makes of it is told.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from packhorse_protocol import codec
from packhorse_protocol.broker_messages import Refused, Welcome
from packhorse_protocol.connection import BrokerConnection, ConnectionState
from packhorse_protocol.errors import FramingError, MalformedMessage
from packhorse_protocol.messages import CLIENT_MESSAGES, RESULTS

CLIENT: Final = Path(__file__).parent / "vectors" / "client.json"
BROKER: Final = Path(__file__).parent / "vectors" / "broker.json"

HEADER: Final = ("What comes", *(state.name for state in ConnectionState))

_MAX_FRAME_BYTES: Final = 8 * 1024 * 1024
"""Of the welcome in the vectors."""
_FAULTS: Final = {
    "a message of a tag that is unknown, or the broker's": "0000000d82a174a5776861743fa2696407",
    "what is no message, or a malformed one": "00000001c0",
    "a frame of the length 0": "00000000",
    "a frame over the limit": "ffffffff",
}
"""What no client should send, in hex."""
REQUESTS: Final = "every request but `bye`"


def rows() -> list[tuple[str, ...]]:
    """A row for each message and each fault; requests that are dealt with alike share one."""
    told: dict[str, tuple[str, ...]] = {}
    for tag, stream in samples().items():
        cells = tuple(_cell(tag, stream, state) for state in ConnectionState)
        alike = CLIENT_MESSAGES[tag] in RESULTS and tag != "bye"
        name = REQUESTS if alike else f"`{tag}`"
        if told.setdefault(name, cells) != cells:
            raise AssertionError(f"{tag} is not dealt with as {name}")
    for name, stream in faults().items():
        told[name] = tuple(_cell(name, stream, state) for state in ConnectionState)
    return [(name, *cells) for name, cells in told.items()]


def samples() -> dict[str, bytes]:
    """Tag -> a frame of a client, without what the message does not require."""
    frames: dict[str, bytes] = {}
    for vector in json.loads(CLIENT.read_text())["vectors"]:
        frames.setdefault(vector["value"]["t"], bytes.fromhex(vector["frame"]))
    return {tag: frames[tag] for tag in CLIENT_MESSAGES}


def faults() -> dict[str, bytes]:
    """What the faults are called -> a frame with each."""
    return {name: bytes.fromhex(stream) for name, stream in _FAULTS.items()}


def _in_state(state: ConnectionState) -> BrokerConnection:
    broker = BrokerConnection(max_frame_bytes=_MAX_FRAME_BYTES)
    for step in _steps_to(state):
        if isinstance(step, bytes):
            broker.receive(step)
        else:
            broker.send(step)
    assert broker.state is state
    return broker


def _steps_to(state: ConnectionState) -> Iterator[bytes | Welcome | Refused]:
    match state:
        case ConnectionState.HANDSHAKE:
            return
        case ConnectionState.BROKEN:
            yield bytes(4)
        case ConnectionState.CLOSED:
            yield Refused(code="superseded", message="", closing=True)
        case ConnectionState.GREETED:
            yield samples()["hello"]
        case ConnectionState.OPEN:
            yield samples()["hello"]
            yield _welcome()


def _welcome() -> Welcome:
    stream = bytes.fromhex(json.loads(BROKER.read_text())["vectors"][0]["frame"])
    welcome = codec.decode_broker_message(stream[4:], lambda _: None)
    assert isinstance(welcome, Welcome)
    return welcome


def _cell(name: str, stream: bytes, state: ConnectionState) -> str:
    broker = _in_state(state)
    match broker.receive(stream):
        case []:
            return "ignored"
        case [FramingError(code=code)]:
            return f"closing `{code}`"
        case [MalformedMessage(code=code)]:
            return f"`{code}`" if state is ConnectionState.OPEN else f"closing `{code}`"
        case [_] if name == "hello":
            return "`welcome`, or a closing `error`"
        case [_] if name == "beat":
            return "a sign of life"
        case [_] if name == "bye":
            return "`ok`, then closed"
        case [_]:
            return "`ok` or `error`"
        case more:
            raise AssertionError(f"one frame has become {more}")

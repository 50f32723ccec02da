"""What each side does with what may come from the other, in each state of the session.

The cells are not written down: an end of a connection is brought into each state and given each
frame, and what it makes of it is told.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import msgpack

from packhorse_protocol import codec
from packhorse_protocol.broker_messages import Refused, Welcome
from packhorse_protocol.client_messages import Get, Hello
from packhorse_protocol.connection import BrokerConnection, ClientConnection, ConnectionState
from packhorse_protocol.errors import Code, FramingError, MalformedMessage
from packhorse_protocol.framing import frame
from packhorse_protocol.messages import BROKER_MESSAGES, CLIENT_MESSAGES, RESULTS

VECTORS: Final = Path(__file__).parent / "vectors"

HEADER: Final = ("What comes", *(state.name for state in ConnectionState))

REQUESTS: Final = "every request but `bye`"
PUSHES: Final = "every push but `beat`"
CLOSING: Final = "closing `error`"
FAULTS: Final = {
    "a tag that is unknown, or the receiver's own": "82a174a5776861743fa2696407",
    "what is no message, or a malformed one": "c0",
}
"""Bodies that nobody should send, in hex."""
UNCUT: Final = {"a frame of the length 0": "00000000", "a frame over the limit": "ffffffff"}
"""Lengths of frames that nobody should send, in hex."""

_MAX_FRAME_BYTES: Final = 8 * 1024 * 1024
"""Of the welcome in the vectors."""
_OPENING: Final = Hello(versions=(1,))
_OVER: Final = Refused(code="superseded", message="", closing=True)
_REQUEST: Final = Get(id=1, jobs=("job",))
"""What the client has asked, and is answered."""

Row: TypeAlias = tuple[str, ...]
Cell: TypeAlias = Callable[[str, bytes, ConnectionState], str]


def rows_of_broker() -> list[Row]:
    """What a broker does with what a client sends."""
    return _rows(
        {**samples(), **faults()},
        _of_broker,
        lambda name: name in CLIENT_MESSAGES and CLIENT_MESSAGES[name] in RESULTS and name != "bye",
        REQUESTS,
    )


def rows_of_client() -> list[Row]:
    """What a client does with what a broker sends."""
    told = {"welcome", "beat", "ok", "error"}
    return _rows(
        {**_from_broker(), **faults()},
        _of_client,
        lambda name: name in BROKER_MESSAGES and name not in told,
        PUSHES,
    )


def samples() -> dict[str, bytes]:
    """Tag -> a frame of a client, without what the message does not require."""
    return {tag: frames[0] for tag, frames in _frames("client.json").items()}


def faults() -> dict[str, bytes]:
    """What the faults are called -> a frame with each."""
    bodies = {name: frame(bytes.fromhex(body)) for name, body in FAULTS.items()}
    return bodies | {name: bytes.fromhex(stream) for name, stream in UNCUT.items()}


def _from_broker() -> dict[str, bytes]:
    sent = {tag: frames[0] for tag, frames in _frames("broker.json").items()}
    refused = {"code": Code.NOT_FOUND, "message": ""}
    answers: dict[str, dict[str, object]] = {
        "ok": {"t": "ok", "id": 1, "results": [{"problem": refused}]},
        "error": {"t": "error", "id": 1, "code": Code.INTERNAL, "message": ""},
        CLOSING: {"t": "error", "code": Code.SILENT, "message": "", "closing": True},
    }
    return sent | {name: frame(msgpack.packb(value)) for name, value in answers.items()}


def _frames(name: str) -> dict[str, list[bytes]]:
    """Tag -> the frames of the vectors."""
    found: dict[str, list[bytes]] = {}
    for vector in json.loads((VECTORS / name).read_text())["vectors"]:
        found.setdefault(vector["value"]["t"], []).append(bytes.fromhex(vector["frame"]))
    return found


def _rows(
    arrivals: Mapping[str, bytes], cell: Cell, is_alike: Callable[[str], bool], alike: str
) -> list[Row]:
    """A row for each arrival; those that are dealt with alike share one."""
    told: dict[str, Row] = {}
    for name, stream in arrivals.items():
        cells = tuple(cell(name, stream, state) for state in ConnectionState)
        is_tag = name in CLIENT_MESSAGES or name in BROKER_MESSAGES
        title = alike if is_alike(name) else f"`{name}`" if is_tag else name
        if told.setdefault(title, cells) != cells:
            raise AssertionError(f"{name} is not dealt with as {title}")
    return [(title, *cells) for title, cells in told.items()]


# -- the ends -------------------------------------------------------------------------------


def _ends(state: ConnectionState) -> tuple[BrokerConnection, ClientConnection]:
    """Both, in a state."""
    broker = BrokerConnection(max_frame_bytes=_MAX_FRAME_BYTES)
    client = ClientConnection(max_frame_bytes=_MAX_FRAME_BYTES)
    match state:
        case ConnectionState.GREETED | ConnectionState.OPEN:
            broker.receive(client.send(_OPENING))
        case ConnectionState.BROKEN:
            broker.receive(bytes(4))
            client.receive(bytes(4))
        case ConnectionState.CLOSED:
            client.receive(broker.send(_OVER))
    if state is ConnectionState.OPEN:
        client.receive(broker.send(_welcome()))
        client.send(_REQUEST)
    assert broker.state is client.state is state
    return broker, client


def _welcome() -> Welcome:
    welcome = codec.decode_broker_message(_frames("broker.json")["welcome"][0][4:], lambda _: None)
    assert isinstance(welcome, Welcome)
    return welcome


def _of_broker(name: str, stream: bytes, state: ConnectionState) -> str:
    match _ends(state)[0].receive(stream):
        case []:
            return "ignored"
        case [FramingError(code=code)]:
            return f"closing `{code}`"
        case [MalformedMessage(code=code)]:
            return f"`{code}`" if state is ConnectionState.OPEN else f"closing `{code}`"
    said = {
        "hello": "`welcome`, or a closing `error`",
        "beat": "a sign of life",
        "bye": "`ok`, then closed",
    }
    return said.get(name, "`ok` or `error`")


def _of_client(name: str, stream: bytes, state: ConnectionState) -> str:
    client = _ends(state)[1]
    match client.receive(stream):
        case []:
            return "ignored"
        case [FramingError()]:
            return "closes"
        case [MalformedMessage(code=code)]:
            if state is not ConnectionState.OPEN:
                return "closes"
            return "ignored" if code is Code.UNSUPPORTED else "malformed: section 5, 10"
    if client.state is ConnectionState.CLOSED:
        return "the connection is over"
    said = {
        "welcome": "the session is open",
        "beat": "a sign of life",
        "ok": "a request is answered",
        "error": "a request is refused",
    }
    return said.get(name, "dealt with")

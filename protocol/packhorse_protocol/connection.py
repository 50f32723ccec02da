"""One end of a connection without its I/O: bytes in, messages out, and the bytes to send.

    HANDSHAKE --hello--> GREETED --welcome--> OPEN
    a closing error leads to CLOSED, a broken frame to BROKEN and its closing error to CLOSED

The owner feeds what it read to `receive`, acts on the items, and writes what `send` returns.
Nothing here waits, and a call that is refused changes nothing.
"""

from abc import ABC, abstractmethod
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from packhorse_protocol import codec
from packhorse_protocol.errors import (
    Code,
    FramingError,
    LocalProtocolError,
    MalformedMessage,
)
from packhorse_protocol.framing import FrameReader, frame
from packhorse_protocol.limits import HANDSHAKE_FRAME_BYTES, MAX_FRAME_BYTES
from packhorse_protocol.messages import (
    BROKER_MESSAGES,
    CLIENT_MESSAGES,
    RESULTS,
    BrokerMessage,
    ClientMessage,
    Hello,
    Ok,
    Refused,
    Welcome,
)
from packhorse_protocol.shapes import Listing, fields_of


class ConnectionState(Enum):
    """How far a connection has come, the same words for both ends."""

    HANDSHAKE = "handshake"
    """The client's `hello` is due; the broker may refuse the connection by a closing `error`."""
    GREETED = "greeted"
    """The broker's answer to the `hello` is due: `welcome`, or a closing `error`."""
    OPEN = "open"
    BROKEN = "broken"
    """What arrives can't be cut into frames and is ignored; the broker may say so and close."""
    CLOSED = "closed"
    """Nothing passes any more; what arrives is ignored."""

    # Looked up for every message: by identity, without a call of Python code.
    __hash__ = object.__hash__


CLIENT_MAY_SEND: Final[dict[ConnectionState, frozenset[type]]] = {
    ConnectionState.HANDSHAKE: frozenset({Hello}),
    ConnectionState.GREETED: frozenset(),
    ConnectionState.OPEN: frozenset(CLIENT_MESSAGES.values()) - {Hello},
    ConnectionState.BROKEN: frozenset(),
    ConnectionState.CLOSED: frozenset(),
}
"""What may pass from the client to the broker in each state."""

BROKER_MAY_SEND: Final[dict[ConnectionState, frozenset[type]]] = {
    ConnectionState.HANDSHAKE: frozenset({Refused}),
    ConnectionState.GREETED: frozenset({Welcome, Refused}),
    ConnectionState.OPEN: frozenset(BROKER_MESSAGES.values()) - {Welcome},
    ConnectionState.BROKEN: frozenset({Refused}),
    ConnectionState.CLOSED: frozenset(),
}
"""What may pass from the broker to the client in each state."""

_OPEN: Final = ConnectionState.OPEN

_DEAF: Final = frozenset({ConnectionState.BROKEN, ConnectionState.CLOSED})
"""States in which nothing is read any more."""

_STEPS: Final = frozenset({Hello, Welcome, Refused})
"""Messages that may change the state."""

BATCH_FIELD: Final[dict[type, str]] = {
    request: field.name
    for request in RESULTS
    for field in fields_of(request)
    if field.required and isinstance(field.shape, Listing) and field.shape.bounds.low == 1
}
"""Request -> its field that holds the items (a `Batch`); a request without has one result."""

Incoming = TypeVar("Incoming", ClientMessage, BrokerMessage)
Outgoing = TypeVar("Outgoing", ClientMessage, BrokerMessage)


class _Connection(ABC, Generic[Incoming, Outgoing]):
    """What both ends share: the state, the limits, and the loop over frames."""

    def __init__(self, max_frame_bytes: int) -> None:
        if not HANDSHAKE_FRAME_BYTES <= max_frame_bytes <= MAX_FRAME_BYTES:
            raise ValueError(
                f"max_frame_bytes must be from {HANDSHAKE_FRAME_BYTES} to {MAX_FRAME_BYTES},"
                f" not {max_frame_bytes}"
            )
        self._max_frame_bytes = max_frame_bytes
        self._reader = FrameReader(HANDSHAKE_FRAME_BYTES)
        self._send_limit_bytes = HANDSHAKE_FRAME_BYTES
        self._state = ConnectionState.HANDSHAKE

    @property
    def state(self) -> ConnectionState:
        return self._state

    @property
    def send_limit_bytes(self) -> int:
        """The largest frame body that the other side accepts now."""
        return self._send_limit_bytes

    @property
    def pending_bytes(self) -> int:
        """Bytes received that make no whole frame yet."""
        return self._reader.pending_bytes

    def receive(self, data: bytes) -> list[Incoming | MalformedMessage | FramingError]:
        """The messages that `data` completes, in order.

        A frame without an acceptable message is a `MalformedMessage` in its place, and the
        connection goes on. A `FramingError` is always the last item: the state is BROKEN then.
        What arrives in the states BROKEN and CLOSED is ignored.
        """
        if self._state in _DEAF:
            return []
        body = self._reader.sole_body(data)
        if body is not None:
            return [self._item(body)]
        items: list[Incoming | MalformedMessage | FramingError] = []
        self._reader.feed(data)
        try:
            while self._state not in _DEAF and (body := self._reader.next_body()) is not None:
                items.append(self._item(body))
        except FramingError as broken:
            items.append(broken)
            self._state = ConnectionState.BROKEN
            self._reader.clear()
        return items

    def _item(self, body: bytes) -> Incoming | MalformedMessage:
        try:
            return self._accept(body)
        except MalformedMessage as malformed:
            return malformed

    @abstractmethod
    def send(self, message: Outgoing) -> bytes:
        """The bytes to write for a message.

        Raises `LocalProtocolError` if it may not be sent in this state or holds a value that the
        wire does not allow, `FrameTooLarge` if its frame is larger than the other side accepts.
        """

    def close(self) -> None:
        """The transport has ended or is given up: nothing passes from now on."""
        self._state = ConnectionState.CLOSED
        self._reader.clear()

    @abstractmethod
    def _accept(self, body: bytes) -> Incoming:
        """The message in a frame's body, with all that follows from it. May refuse it."""

    def _not_now(self, kind: type) -> LocalProtocolError:
        return LocalProtocolError(f"{kind.__name__} may not be sent in state {self._state.value}")

    def _step(self, message: ClientMessage | BrokerMessage) -> None:
        """Follows the state table for one of `_STEPS` that has passed, in either direction."""
        match message:
            case Hello():
                self._state = ConnectionState.GREETED
            case Welcome():
                self._state = ConnectionState.OPEN
            case Refused(closing=closing) if closing or self._state is not _OPEN:
                self.close()


class BrokerConnection(_Connection[ClientMessage, BrokerMessage]):
    """The broker's end.

    In the states HANDSHAKE and GREETED every frame but one valid `hello` is a `MalformedMessage`
    with the code `hello_required`: answer it with a closing `error`.

    Frames are bounded by `HANDSHAKE_FRAME_BYTES` until `send(Welcome(...))`, then, both ways, by
    `max_frame_bytes`, which the welcome has to announce as its `limits.frame_bytes`.
    """

    def __init__(self, *, max_frame_bytes: int) -> None:
        super().__init__(max_frame_bytes)

    def send(self, message: BrokerMessage) -> bytes:
        kind = type(message)
        if kind not in BROKER_MAY_SEND[self._state]:
            raise self._not_now(kind)
        if kind not in _STEPS:
            return frame(codec.encode(message, self._send_limit_bytes))
        self._check_step(message)
        body = codec.encode(message, self._send_limit_bytes)
        self._step(message)
        if kind is Welcome:
            self._reader.limit_bytes = self._send_limit_bytes = self._max_frame_bytes
        return frame(body)

    def _accept(self, body: bytes) -> ClientMessage:
        if self._state is _OPEN:
            message = codec.decode_client_message(body)
            if type(message) is Hello:
                raise MalformedMessage("the hello was accepted already", path="t")
            return message
        try:
            message = codec.decode_client_message(body)
        except MalformedMessage as malformed:
            raise MalformedMessage(
                f"a valid hello is required first: {malformed}",
                code=Code.HELLO_REQUIRED,
                path=malformed.path,
                request_id=malformed.request_id,
            ) from None
        if type(message) not in CLIENT_MAY_SEND[self._state]:
            awaited = "hello" if self._state is ConnectionState.HANDSHAKE else "welcome"
            raise MalformedMessage(
                f"nothing is accepted before the {awaited}",
                code=Code.HELLO_REQUIRED,
                request_id=getattr(message, "id", None),
            )
        self._step(message)
        return message

    def _check_step(self, message: BrokerMessage) -> None:
        if type(message) is Welcome:
            if message.limits.frame_bytes != self._max_frame_bytes:
                raise LocalProtocolError(
                    f"the welcome announces frames of {message.limits.frame_bytes} bytes,"
                    f" but {self._max_frame_bytes} are accepted"
                )
        elif type(message) is Refused and not (message.closing or self._state is _OPEN):
            raise LocalProtocolError(
                f"an error in state {self._state.value} has to be a closing one"
            )


class ClientConnection(_Connection[BrokerMessage, ClientMessage]):
    """The client's end.

    `max_frame_bytes` is the most that this client will hold; a welcome that announces larger
    frames is refused. An answer ends its request in any case: also one that is refused here,
    which names the request by its `request_id`.

    While the state is not OPEN, a `MalformedMessage` means that the two sides can't speak with
    each other: close. In the state OPEN one with the code `unsupported` is a push of a later
    version and to be ignored.
    """

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        super().__init__(max_frame_bytes)
        self._versions: tuple[int, ...] = ()
        self._awaited: dict[int, type] = {}
        """Id of a pending request -> the record of each entry in its answer."""
        self._entries: dict[int, int] = {}
        """Likewise, how many entries there have to be."""

    @property
    def pending_requests(self) -> int:
        """How many requests have been sent and not answered; the welcome bounds them."""
        return len(self._awaited)

    def send(self, message: ClientMessage) -> bytes:
        kind = type(message)
        if kind not in CLIENT_MAY_SEND[self._state]:
            raise self._not_now(kind)
        if kind in RESULTS:
            return self._send_request(message, kind)
        body = codec.encode(message, self._send_limit_bytes)
        if isinstance(message, Hello):
            self._versions = message.versions
            self._step(message)
        return frame(body)

    def _send_request(self, request: Any, kind: type) -> bytes:
        request_id = request.id
        if request_id in self._awaited:
            raise LocalProtocolError(f"request {request_id} is not answered yet")
        body = codec.encode(request, self._send_limit_bytes)
        batch = BATCH_FIELD.get(kind)
        self._awaited[request_id] = RESULTS[kind]
        self._entries[request_id] = 1 if batch is None else len(getattr(request, batch))
        return frame(body)

    def _accept(self, body: bytes) -> BrokerMessage:
        try:
            message = codec.decode_broker_message(body, self._awaited.get)
            if type(message) not in BROKER_MAY_SEND[self._state]:
                raise MalformedMessage(
                    f"{type(message).__name__} is not allowed in state {self._state.value}"
                )
            if type(message) is Ok:
                self._admit_ok(message)
            elif type(message) in _STEPS:
                self._admit_step(message)
        except MalformedMessage as malformed:
            if malformed.request_id is not None and malformed.code is not Code.UNSUPPORTED:
                self._settle(malformed.request_id)
            raise
        return message

    def _admit_ok(self, ok: Ok) -> None:
        expected = self._entries[ok.id]
        if len(ok.results) != expected:
            raise MalformedMessage(
                f"has {len(ok.results)} entries for {expected} items",
                path="results",
                request_id=ok.id,
            )
        del self._awaited[ok.id], self._entries[ok.id]

    def _admit_step(self, message: BrokerMessage) -> None:
        if type(message) is Welcome:
            self._admit_welcome(message)
        elif type(message) is Refused and message.id is not None and not self._settle(message.id):
            raise MalformedMessage("answers no pending request", path="id", request_id=message.id)
        self._step(message)

    def _settle(self, request_id: int) -> bool:
        """The request is not pending any more; whether it was."""
        self._entries.pop(request_id, None)
        return self._awaited.pop(request_id, None) is not None

    def _admit_welcome(self, welcome: Welcome) -> None:
        if welcome.version not in self._versions:
            raise MalformedMessage(
                f"the broker chose version {welcome.version}, offered were {self._versions}",
                code=Code.VERSION_UNSUPPORTED,
                path="version",
            )
        announced = welcome.limits.frame_bytes
        if not HANDSHAKE_FRAME_BYTES <= announced <= self._max_frame_bytes:
            raise MalformedMessage(
                f"the broker announces frames of {announced} bytes, this client accepts"
                f" {HANDSHAKE_FRAME_BYTES} to {self._max_frame_bytes}",
                path="limits.frame_bytes",
            )
        self._reader.limit_bytes = self._send_limit_bytes = announced

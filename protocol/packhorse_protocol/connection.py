"""One end of a connection without its I/O: bytes in, messages out, and the bytes to send.

    HANDSHAKE --hello--> GREETED --welcome--> OPEN
    a closing error leads to CLOSED, a broken frame to BROKEN and its closing error to CLOSED

The owner feeds what it read to `receive`, acts on the items, and writes what `send` returns.
Nothing here waits, and a call that is refused changes nothing.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, TypeVar, cast

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
    Request,
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

_DEAF: Final = frozenset({ConnectionState.BROKEN, ConnectionState.CLOSED})
"""States in which nothing is read any more."""

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
        items: list[Incoming | MalformedMessage | FramingError] = []
        if self._state in _DEAF:
            return items
        self._reader.feed(data)
        try:
            while self._state not in _DEAF and (body := self._reader.next_body()) is not None:
                try:
                    items.append(self._accept(body))
                except MalformedMessage as malformed:
                    items.append(malformed)
        except FramingError as broken:
            items.append(broken)
            self._state = ConnectionState.BROKEN
            self._reader.clear()
        return items

    def send(self, message: Outgoing) -> bytes:
        """The bytes to write for a message.

        Raises `LocalProtocolError` if it may not be sent in this state or holds a value that the
        wire does not allow, `FrameTooLarge` if its frame is larger than the other side accepts.
        """
        self._check(message)
        body = codec.encode(message, self._send_limit_bytes)
        self._sent(message)
        return frame(body)

    def close(self) -> None:
        """The transport has ended or is given up: nothing passes from now on."""
        self._state = ConnectionState.CLOSED
        self._reader.clear()

    @abstractmethod
    def _accept(self, body: bytes) -> Incoming:
        """The message in a frame's body, with all that follows from it. May refuse it."""

    @abstractmethod
    def _check(self, message: Outgoing) -> None:
        """Raises `LocalProtocolError` for a message that may not be sent now."""

    @abstractmethod
    def _sent(self, message: Outgoing) -> None:
        """Takes note of a message that is on its way."""

    def _step(self, message: ClientMessage | BrokerMessage) -> None:
        """Follows the state table for a message that has passed, in either direction."""
        match message:
            case Hello():
                self._state = ConnectionState.GREETED
            case Welcome():
                self._state = ConnectionState.OPEN
            case Refused(closing=closing) if closing or self._state is not ConnectionState.OPEN:
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

    def _accept(self, body: bytes) -> ClientMessage:
        if self._state is ConnectionState.OPEN:
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

    def _check(self, message: BrokerMessage) -> None:
        _check_allowed(message, BROKER_MAY_SEND, self._state)
        if type(message) is Welcome and message.limits.frame_bytes != self._max_frame_bytes:
            raise LocalProtocolError(
                f"the welcome announces frames of {message.limits.frame_bytes} bytes,"
                f" but {self._max_frame_bytes} are accepted"
            )
        opened = self._state is ConnectionState.OPEN
        if type(message) is Refused and not (opened or message.closing):
            raise LocalProtocolError(
                f"an error in state {self._state.value} has to be a closing one"
            )

    def _sent(self, message: BrokerMessage) -> None:
        self._step(message)
        if type(message) is Welcome:
            self._reader.limit_bytes = self._send_limit_bytes = self._max_frame_bytes


@dataclass(frozen=True, slots=True)
class _Pending:
    """What the answer to a request has to look like."""

    record: type
    entries: int


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
        self._pending: dict[int, _Pending] = {}

    @property
    def pending_requests(self) -> int:
        """How many requests have been sent and not answered; the welcome bounds them."""
        return len(self._pending)

    def _accept(self, body: bytes) -> BrokerMessage:
        try:
            message = codec.decode_broker_message(body, self._results_of)
            if type(message) not in BROKER_MAY_SEND[self._state]:
                raise MalformedMessage(
                    f"{type(message).__name__} is not allowed in state {self._state.value}"
                )
            self._admit(message)
        except MalformedMessage as malformed:
            if malformed.request_id is not None and malformed.code is not Code.UNSUPPORTED:
                self._pending.pop(malformed.request_id, None)
            raise
        self._step(message)
        return message

    def _admit(self, message: BrokerMessage) -> None:
        """What follows from a message beside its step. Raises `MalformedMessage`."""
        match message:
            case Ok(id=request_id, results=results):
                expected = self._pending[request_id].entries
                if len(results) != expected:
                    raise MalformedMessage(
                        f"has {len(results)} entries for {expected} items",
                        path="results",
                        request_id=request_id,
                    )
                del self._pending[request_id]
            case Refused(id=int() as request_id):
                if self._pending.pop(request_id, None) is None:
                    raise MalformedMessage(
                        "answers no pending request", path="id", request_id=request_id
                    )
            case Welcome():
                self._admit_welcome(message)

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

    def _results_of(self, request_id: int) -> type | None:
        pending = self._pending.get(request_id)
        return None if pending is None else pending.record

    def _check(self, message: ClientMessage) -> None:
        _check_allowed(message, CLIENT_MAY_SEND, self._state)
        request = _as_request(message)
        if request is not None and request.id in self._pending:
            raise LocalProtocolError(f"request {request.id} is not answered yet")

    def _sent(self, message: ClientMessage) -> None:
        self._step(message)
        if type(message) is Hello:
            self._versions = message.versions
        request = _as_request(message)
        if request is not None:
            batch = BATCH_FIELD.get(type(request))
            self._pending[request.id] = _Pending(
                record=RESULTS[type(request)],
                entries=1 if batch is None else len(getattr(request, batch)),
            )


def _as_request(message: ClientMessage) -> Request | None:
    # A look-up: `isinstance` with a union of all requests takes several times as long.
    return cast(Request, message) if type(message) in RESULTS else None


def _check_allowed(
    message: ClientMessage | BrokerMessage,
    may_send: dict[ConnectionState, frozenset[type]],
    state: ConnectionState,
) -> None:
    if type(message) not in may_send[state]:
        raise LocalProtocolError(f"{type(message).__name__} may not be sent in state {state.value}")

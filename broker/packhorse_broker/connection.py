"""One connection: bytes in, messages to the broker, bytes out.

A connection parses nothing and decides nothing. It keeps the bounds: how long a stranger may take
to say hello, how much it may ask (`intake.py`), how much may wait to be sent (pushes stop early,
and whoever does not read its replies is cut off).
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol, cast

import structlog

from packhorse_broker.clock import monotonic_ms
from packhorse_broker.config import Config
from packhorse_broker.intake import Intake
from packhorse_broker.pushes import Push
from packhorse_broker.sessions import Session
from packhorse_broker.weights import items_of
from packhorse_protocol import (
    RETRYABLE,
    BrokerConnection,
    Code,
    ConnectionState,
    FrameTooLarge,
    FramingError,
    LocalProtocolError,
    MalformedMessage,
    PackhorseProtocolError,
    fit,
    split,
)
from packhorse_protocol.messages import (
    BrokerBeat,
    BrokerMessage,
    Claim,
    ClientBeat,
    ClientMessage,
    Create,
    Hello,
    Ok,
    Refused,
    Request,
)

_log = structlog.get_logger(__name__)

PULSE_MS: Final = 250
"""How often connections are looked at: heartbeats and handshake deadlines are this exact."""

SILENT_TIMEOUTS: Final = 2
"""After so many of its timeouts a silent connection is closed, whether or not its client could be
removed meanwhile: the other end may have gone without a word."""

CLOSE_S: Final = 5
"""How long the last frames may take to leave before the connection is cut."""


class Gate(Protocol):
    """What a connection needs of the broker."""

    async def welcome(self, hello: Hello, connection: "Connection") -> Session | Refused: ...
    def opened(self, session: Session) -> None: ...
    def request(
        self,
        session: Session,
        request: Request,
        items: int,
        reply: Callable[[Ok | Refused], None],
    ) -> None: ...
    def writable(self, session: Session) -> None: ...
    def unsendable(self, session: Session, claim: Claim, why: str) -> None: ...
    def ended(self, session: Session) -> None: ...
    def crowded(self) -> bool: ...


class Host(Protocol):
    """What a connection needs of the server that accepted it."""

    config: Config
    gate: Gate
    loop: asyncio.AbstractEventLoop

    def admit(self, connection: "Connection") -> Refused | None: ...
    def known(self, connection: "Connection") -> None: ...
    def forget(self, connection: "Connection") -> None: ...
    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...


class Connection(asyncio.Protocol):
    """One client's connection; the session's outlet."""

    def __init__(self, server: Host) -> None:
        self.id = secrets.token_hex(8)
        self.session: Session | None = None
        self._server = server
        self._config = server.config
        self._high_water_bytes = server.config.max_outbox_bytes // 4
        self._protocol = BrokerConnection(max_frame_bytes=server.config.max_frame_bytes)
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._out: list[bytes] = []
        self._flush_due = False
        self._session_waits = False
        """Whether the session may have something to push, or to say after its pushes."""
        self._room = asyncio.Event()
        self._room.set()
        self._intake = Intake(server.loop, server.config, self._take)
        self._closing = False
        self._greeting = False
        self._opened_ms = monotonic_ms()
        self._sent_ms = self._opened_ms

    # -- from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._intake.open(self._transport)
        self._transport.set_write_buffer_limits(high=self._high_water_bytes)
        self._peer = _peer_name(transport)
        refused = self._server.admit(self)
        if refused is not None:
            self.send(refused)
            self._close_after_flush()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        session = self.session
        if session is not None:
            session.last_response_ms = monotonic_ms()
        self._intake.received(data)

    def _take(self, data: bytes) -> None:
        items = self._protocol.receive(data)
        self._intake.leave_turn(len(items))
        for item in items:
            if self._closing:
                return
            if isinstance(item, PackhorseProtocolError):
                self._refuse(item)
            else:
                self._receive(item)

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()
        if self.session is not None and not self.session.closed:
            self.flush_soon()
            self._server.gate.writable(self.session)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._intake.close()
        self._room.set()
        self.end_session()
        self._server.forget(self)
        if exc is not None:
            _log.debug("connection.lost", connection=self.id, error=repr(exc))

    # -- messages

    def _receive(self, message: ClientMessage) -> None:
        session = self.session
        if isinstance(message, Hello):
            self._hello(message)
        elif isinstance(message, ClientBeat):
            return
        elif session is None or session.closed:
            self.close(Code.HELLO_REQUIRED, "the session is over")
        else:
            items = items_of(message)
            self._intake.begun(items)
            gate = self._server.gate
            gate.request(session, message, items, partial(self._reply, items))
            if isinstance(message, Create) and gate.crowded():
                self._intake.slow_down()

    def _hello(self, hello: Hello) -> None:
        if self._greeting:
            self.close(Code.MALFORMED, "a connection says hello once")
            return
        self._greeting = True
        self._server.known(self)
        self._intake.pause()
        self._server.spawn(self._greet(hello))

    async def _greet(self, hello: Hello) -> None:
        try:
            answer = await self._server.gate.welcome(hello, self)
        except Exception:  # noqa: BLE001 - one failure costs one request
            _log.exception("hello.failed", connection=self.id)
            self.close(Code.INTERNAL, "the broker failed; its log says why")
            return
        if isinstance(answer, Refused):
            self.send(answer)
            self._close_after_flush()
            return
        self.session = answer
        if self._closing:
            self.end_session()
            return
        _log.info(
            "client.connected",
            client=answer.client,
            connection=self.id,
            peer=self._peer,
            library=hello.library,
        )
        self._server.gate.opened(answer)
        self._intake.resume()

    def _refuse(self, malformed: MalformedMessage | FramingError) -> None:
        """One bad message is answered, and the connection goes on once it had its hello."""
        if isinstance(malformed, FramingError):
            self.close(malformed.code, malformed.message)
            return
        self.send(
            Refused(
                id=malformed.request_id,
                code=malformed.code,
                message=str(malformed),
                details={"path": malformed.path} if malformed.path else None,
                closing=self.session is None,
            )
        )
        if self.session is None:
            self._close_after_flush()

    def _reply(self, items: int, message: Ok | Refused) -> None:
        self._intake.ended(items)
        self.send(message)
        session = self.session
        if session is not None and session.closed and not self._intake.in_flight:
            self._close_after_flush()

    # -- the session's outlet

    def send(self, message: BrokerMessage) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        try:
            frame = self._protocol.send(message)
        except FrameTooLarge as error:
            if not isinstance(message, Ok):
                raise
            _log.warning("reply.too_large", connection=self.id, error=str(error))
            frame = self._protocol.send(fit(message, error.limit_bytes))
        except LocalProtocolError as error:
            if self._protocol.state is ConnectionState.BROKEN and not _is_last(message):
                # What came in one read with the broken frame is done, but can't be answered.
                return
            if not isinstance(message, Ok):
                raise
            _log.error("reply.not_allowed", connection=self.id, error=str(error))
            broken = "the broker failed; its log says why"
            frame = self._protocol.send(
                Refused(id=message.id, code=Code.INTERNAL, message=broken, retryable=True)
            )
        self._out.append(frame)
        if not self._flush_due:
            self._flush_later()

    def flush_soon(self) -> None:
        self._session_waits = True
        if not self._flush_due:
            self._flush_later()

    def has_room(self) -> bool:
        return self._room.is_set()

    async def room(self) -> None:
        await self._room.wait()

    def close(self, code: Code, message: str) -> None:
        if self._closing:
            return
        self.end_session()
        _log.info("connection.closing", connection=self.id, peer=self._peer, code=code.value)
        self.send(Refused(code=code, message=message, retryable=code in RETRYABLE, closing=True))
        self._close_after_flush()

    def end_session(self) -> None:
        if self.session is not None and not self.session.closed:
            self.session.closed = True
            self._server.gate.ended(self.session)

    # -- writing

    def _flush_later(self) -> None:
        self._flush_due = True
        self._server.loop.call_soon(self._flush)

    def _flush(self) -> None:
        """One write for all that was sent in this turn of the loop, pushes as far as is room."""
        self._flush_due = False
        transport = self._transport
        if transport is None or transport.is_closing():
            self._out.clear()
            return
        if self._is_over_full(transport):
            self._give_up_slow_reader(transport)
            return
        if self._session_waits:
            self._add_pushes(transport)
        out = self._out
        if out:
            transport.write(b"".join(out))
            out.clear()
            self._sent_ms = monotonic_ms()

    def _add_pushes(self, transport: asyncio.Transport) -> None:
        """What has no room waits in the session, and its next items in the store."""
        session = self.session
        if session is None or session.closed:
            return
        size_bytes = transport.get_write_buffer_size() + sum(map(len, self._out))
        while size_bytes < self._high_water_bytes and (push := session.next_push()) is not None:
            frames = self._push_frames(push)
            size_bytes += sum(map(len, frames))
            self._out += frames
        self._session_waits = session.has_pushes()
        if self._session_waits and self.has_room():
            self.flush_soon()
        session.part_if_served()

    def _is_over_full(self, transport: asyncio.Transport) -> bool:
        """Looked at before more is written: what was written last had its time to leave."""
        return transport.get_write_buffer_size() > self._config.max_outbox_bytes

    def _give_up_slow_reader(self, transport: asyncio.Transport) -> None:
        """Replies alone have filled the outbox: pushes stop long before. It may come back."""
        _log.warning("connection.slow_reader", connection=self.id, peer=self._peer)
        self._out.clear()
        self.end_session()
        self._closing = True
        transport.abort()

    def _push_frames(self, push: Push) -> list[bytes]:
        """A push may hold more than a frame does, and what no frame can hold."""
        try:
            return [self._protocol.send(push)]
        except LocalProtocolError:
            parts, left_out = split(push, self._protocol.send_limit_bytes)
        for item, error in left_out:
            kind = type(item).__name__
            _log.error("push.left_out", connection=self.id, item=kind, job=item.job, why=str(error))
            if isinstance(item, Claim) and self.session is not None:
                self._server.gate.unsendable(self.session, item, str(error))
        return [self._protocol.send(part) for part in parts]

    def _close_after_flush(self) -> None:
        self._closing = True
        self._flush()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            self._server.loop.call_later(CLOSE_S, self._transport.abort)

    # -- time

    def pulse(self, now_ms: float, awake_since_ms: float) -> None:
        """Sends a heartbeat if due; ends a handshake that takes too long, and a slow reader.

        Silence, a stranger's too, counts from `awake_since_ms` on: before that the loop stood
        still, and what was sent to it is read only now.
        """
        transport = self._transport
        if self._closing or transport is None:
            return
        if self._is_over_full(transport):
            self._give_up_slow_reader(transport)
            return
        if self.session is None:
            since_ms = max(self._opened_ms, awake_since_ms)
            late = now_ms - since_ms > self._config.handshake_timeout_ms
            if late and not self._greeting:
                self.close(Code.HANDSHAKE_TIMEOUT, "no hello in time")
            return
        if self._intake.paused and self.has_room():
            # Its silence is our doing: what it sent waits to be read.
            self.session.last_response_ms = now_ms
        heard_ms = max(self.session.last_response_ms, awake_since_ms)
        if now_ms - heard_ms > SILENT_TIMEOUTS * self.session.timeout_ms:
            self.close(Code.SILENT, "nothing came for too long")
        elif now_ms - self._sent_ms >= self.session.heartbeat_ms - PULSE_MS:
            self.send(BrokerBeat())


def _is_last(message: BrokerMessage) -> bool:
    return isinstance(message, Refused) and message.closing


def _peer_name(transport: asyncio.BaseTransport) -> str:
    peer = transport.get_extra_info("peername")
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "local"

"""One end of a connection as scenarios see it: maps out, maps in, judged by the codec.

Nothing runs behind the scenario's back: it reads only while it waits for something. What came
that nobody waited for is kept in `received`, in order.
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from packhorse_conformance.trace import Trace
from packhorse_conformance.values import Message, NotReadable, packed, shown, unpacked
from packhorse_conformance.verdict import Failed
from packhorse_protocol.errors import FramingError, MalformedMessage
from packhorse_protocol.framing import FrameReader, frame
from packhorse_protocol.limits import HANDSHAKE_FRAME_BYTES

CHUNK_BYTES: Final = 64 * 1024


class Ended(Failed):
    """The other side closed the connection."""


class Channel(ABC):
    """`send` and `expect`; what the other side may not send is a failure."""

    outgoing: str
    incoming: str

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        trace: Trace,
        number: int,
    ) -> None:
        self.trace = trace
        self.number = number
        self.received: list[Message] = []
        self.beats = 0
        self.at_end = False
        self._reader = reader
        self._writer = writer
        self._frames = FrameReader(HANDSHAKE_FRAME_BYTES)

    @property
    def frame_bytes(self) -> int:
        """The largest body that the other side may send now."""
        return self._frames.limit_bytes

    @frame_bytes.setter
    def frame_bytes(self, limit_bytes: int) -> None:
        self._frames.limit_bytes = limit_bytes

    # -- sending

    def send(self, *messages: Mapping[str, object]) -> None:
        """All in one segment."""
        self.send_bytes(b"".join(self.frame(message) for message in messages))

    def frame(self, message: Mapping[str, object]) -> bytes:
        """The bytes of a message, which count as sent."""
        self._sending(message)
        return self.frame_of(packed(message))

    def frame_of(self, body: bytes) -> bytes:
        """A body with its length in front."""
        self.trace.frame(f"{self.number} {self.outgoing}", body)
        return frame(body)

    def send_bytes(self, data: bytes) -> None:
        """Past all checks."""
        if not self._writer.is_closing():
            self._writer.write(data)

    async def send_slowly(self, data: bytes) -> None:
        """Byte by byte, each as a segment of its own as far as the system lets it be one."""
        for start in range(len(data)):
            self.send_bytes(data[start : start + 1])
            await self._writer.drain()
            await asyncio.sleep(0)

    async def drain(self) -> None:
        """Waits while more is on its way than the other side reads."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    # -- waiting

    async def find(self, wanted: Callable[[Message], bool], what: str) -> Message:
        """The first message that is wanted, taken out of what came. Raises `Ended`."""
        self.trace.awaited = what
        seen = 0
        while True:
            for place in range(seen, len(self.received)):
                if wanted(self.received[place]):
                    return self.received.pop(place)
            seen = len(self.received)
            if self.at_end:
                raise Ended(what, f"the connection's end; before it {self.kept()}")
            await self.read()

    async def push(self, tag: str, what: str | None = None) -> Message:
        """The next message with this tag."""
        return await self.find(lambda message: message.get("t") == tag, what or f"`{tag}`")

    async def end(self, what: str = "that the connection is closed") -> list[Message]:
        """Reads until the other side closes; all that came that nobody took."""
        self.trace.awaited = what
        while not self.at_end:
            await self.read()
        return self.received

    async def look(self) -> None:
        """Takes in what has come by now, and waits for nothing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                while not self.at_end:
                    await self.read()

    async def beat(self) -> None:
        """Waits for one more heartbeat."""
        self.trace.awaited = "`beat`"
        before = self.beats
        while self.beats == before:
            if self.at_end:
                raise Ended("`beat`", "the connection's end")
            await self.read()

    async def read(self) -> None:
        """Takes in the next bytes. Can be cancelled without a loss."""
        try:
            data = await self._reader.read(CHUNK_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            self.trace.line(f"{self.number} {self.incoming}", "closes the connection")
            self.at_end = True
            return
        self._frames.feed(data)
        for body in self._bodies():
            self.trace.frame(f"{self.number} {self.incoming}", body)
            message = self._judged(body)
            if message["t"] == "beat":
                self.beats += 1
            elif self._accept(message):
                self.received.append(message)

    def kept(self) -> str:
        """What came that nobody took, for people."""
        return ", ".join(map(shown, self.received[-3:])) or "nothing"

    # -- ending

    async def close(self) -> None:
        """What was sent still leaves."""
        self.trace.line(f"{self.number} {self.outgoing}", "closes the connection")
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        self.at_end = True

    def abort(self) -> None:
        """Ends it at once, whatever was on its way."""
        self.trace.line(f"{self.number} {self.outgoing}", "breaks the connection off")
        self._writer.transport.abort()
        self.at_end = True

    # -- reading

    def _bodies(self) -> Iterable[bytes]:
        while True:
            try:
                body = self._frames.next_body()
            except FramingError as error:
                allowed = f"frames of 1 to {self.frame_bytes} bytes (section 3)"
                raise Failed(allowed, error.message) from None
            if body is None:
                return
            yield body

    def _judged(self, body: bytes) -> Message:
        try:
            message = unpacked(body)
            self._check(body)
        except (NotReadable, MalformedMessage) as error:
            raise Failed("a message as section 5 says", f"{error}, in {_short(body)}") from None
        return message

    @abstractmethod
    def _check(self, body: bytes) -> None:
        """Raises `MalformedMessage` for what the other side may not send."""

    @abstractmethod
    def _accept(self, message: Message) -> bool:
        """Takes note of a message that came; whether scenarios are to see it."""

    @abstractmethod
    def _sending(self, message: Mapping[str, Any]) -> None:
        """Takes note of a message that is on its way."""


def _short(body: bytes) -> str:
    try:
        return shown(unpacked(body))
    except NotReadable:
        return shown(body)

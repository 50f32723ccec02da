"""The stream of bytes cut into frame bodies, and back.

A frame is its body's length (4 bytes, unsigned, big-endian) and the body. `FrameReader` holds
at most one frame's announced length plus the last chunk, and copies each byte a bounded number
of times however small the chunks are.
"""

from typing import Final

from packhorse_protocol.errors import Code, FramingError
from packhorse_protocol.limits import HEADER_BYTES

_COMPACT_BYTES: Final = 64 * 1024
"""Consumed bytes that may stay at the buffer's front: dropping them costs a move of the rest."""


def frame(body: bytes) -> bytes:
    """The body with its length in front. The caller has checked it against the peer's limit."""
    return len(body).to_bytes(HEADER_BYTES, "big") + body


class FrameReader:
    """Cuts what arrived into bodies: `feed` each chunk, then call `next_body` until it is None.
    A chunk of which `sole_body` makes a body is not fed.

    `limit_bytes` is the largest body accepted. It may be changed between two calls; it is applied
    as soon as a frame's length is known, before its body is held.
    """

    __slots__ = ("_buffer", "_start", "limit_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._buffer: bytes | bytearray = b""
        """Empty where nothing is pending, else the last chunk as it came, unless a frame began in
        the one before."""
        self._start = 0

    @property
    def pending_bytes(self) -> int:
        """Bytes held that belong to no body returned yet."""
        return len(self._buffer) - self._start

    def sole_body(self, data: bytes) -> bytes | None:
        """The body where the next bytes of the stream are just one whole frame, as most are.

        Else None: they are to be fed then.
        """
        length = len(data) - HEADER_BYTES
        if (
            not self._buffer
            and 0 < length <= self.limit_bytes
            and int.from_bytes(data[:HEADER_BYTES], "big") == length
        ):
            return data[HEADER_BYTES:]
        return None

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the stream."""
        buffer = self._buffer
        if not buffer:
            self._buffer = data
            return
        if isinstance(buffer, bytes):
            self._buffer = buffer = bytearray(memoryview(buffer)[self._start :])
            self._start = 0
        elif self._start >= _COMPACT_BYTES:
            del buffer[: self._start]
            self._start = 0
        buffer += data

    def next_body(self) -> bytes | None:
        """The next whole body, or None until more bytes are fed.

        Raises `FramingError` for a length of zero or over the limit; the stream can't be cut
        any further then: every later call raises it again.
        """
        buffer, start = self._buffer, self._start
        body_start = start + HEADER_BYTES
        if len(buffer) < body_start:
            return None
        length = int.from_bytes(buffer[start:body_start], "big")
        if not 0 < length <= self.limit_bytes:
            raise self._broken(length)
        end = body_start + length
        if len(buffer) < end:
            return None
        if end == len(buffer):
            self.clear()
        else:
            self._start = end
        if type(buffer) is bytes:
            return buffer[body_start:end]
        with memoryview(buffer) as view:
            return bytes(view[body_start:end])

    def clear(self) -> None:
        """Forgets all bytes held."""
        self._buffer = b""
        self._start = 0

    def _broken(self, length: int) -> FramingError:
        if length == 0:
            return FramingError(Code.FRAME_MALFORMED, "a frame's body can't be empty")
        return FramingError(
            Code.FRAME_TOO_LARGE,
            f"a frame of {length} bytes is announced, at most {self.limit_bytes} are accepted",
        )

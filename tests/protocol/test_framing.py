"""The reader's bounds: what it holds, and when it refuses."""

import pytest

from packhorse_protocol import Code, FramingError
from packhorse_protocol.framing import FrameReader, frame


def bodies(reader: FrameReader) -> list[bytes]:
    return list(iter(reader.next_body, None))


def test_a_large_frame_in_many_small_chunks() -> None:
    body = bytes(range(256)) * 16_384
    stream = frame(body)
    reader = FrameReader(len(body))
    for start in range(0, len(stream) - 1_000, 1_000):
        reader.feed(stream[start : start + 1_000])
        assert reader.next_body() is None
    reader.feed(stream[start + 1_000 :])
    assert reader.next_body() == body
    assert reader.pending_bytes == 0


def test_what_was_read_is_dropped_although_something_is_always_pending() -> None:
    body = b"x" * 10_000
    stream = frame(body) * 500
    reader = FrameReader(len(body))
    most_held = count = 0
    for start in range(0, len(stream), 7_001):
        reader.feed(stream[start : start + 7_001])
        count += len(bodies(reader))
        most_held = max(most_held, len(reader._buffer))
    assert count == 500
    assert most_held < 64 * 1024 + 3 * len(body)


def test_the_limit_holds_from_the_next_frame_on() -> None:
    reader = FrameReader(10)
    reader.feed(frame(b"x" * 10) + frame(b"y" * 11))
    assert reader.next_body() == b"x" * 10
    reader.limit_bytes = 11
    assert reader.next_body() == b"y" * 11
    reader.limit_bytes = 10
    reader.feed(frame(b"z" * 11))
    with pytest.raises(FramingError, match="11 bytes is announced, at most 10"):
        reader.next_body()


def test_a_broken_stream_stays_broken() -> None:
    reader = FrameReader(10)
    reader.feed(b"\0\0\0\0")
    for _ in range(2):
        with pytest.raises(FramingError) as caught:
            reader.next_body()
        assert caught.value.code is Code.FRAME_MALFORMED
        reader.feed(frame(b"x"))


def test_clear_forgets_what_was_fed() -> None:
    reader = FrameReader(10)
    reader.feed(b"\0\0")
    assert reader.pending_bytes == 2
    reader.clear()
    assert reader.pending_bytes == 0
    reader.feed(frame(b"x"))
    assert bodies(reader) == [b"x"]

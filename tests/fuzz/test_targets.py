"""The targets themselves: they hold for what is known, and each can find something."""

from collections.abc import Callable

import pytest

from packhorse_protocol import codec
from packhorse_protocol.framing import FrameReader
from tests.fuzz import targets


@pytest.mark.parametrize("name", targets.TARGETS)
def test_every_seed_holds(name: str) -> None:
    inputs = list(targets.seeds(name))
    assert len(inputs) > 200
    for data in (b"", *inputs):
        targets.TARGETS[name](data)


def test_words_are_what_messages_are_made_of() -> None:
    words = targets.words()
    assert b"\xa6create" in words
    assert b"\xa4jobs" in words


@pytest.mark.parametrize("target", [targets.client_message, targets.broker_message])
def test_an_error_that_is_not_documented_is_found(
    target: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec, "_UNPACK_ERRORS", (TypeError,))
    with pytest.raises(ValueError):
        target(b"\0\xc1")


@pytest.mark.parametrize("target", [targets.frames, targets.connections])
def test_a_reader_that_sees_where_the_stream_was_cut_is_found(
    target: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = FrameReader.feed
    monkeypatch.setattr(
        FrameReader, "feed", lambda reader, data: feed(reader, data if len(data) > 1 else b"")
    )
    with pytest.raises(AssertionError):
        target(next(targets.seeds(target.__name__)))

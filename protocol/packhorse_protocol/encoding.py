"""Messages straight from records to bytes, in C: where nothing in them is unusual.

What is encoded here is what `codec.py` makes of the same message. Whatever is unusual or not
allowed (a text of an enumeration, a value out of bounds, a refused item, a long frame) gets None,
and the codec, which knows every message, decides and says what is wrong. Both are held side by
side in `tests/protocol/test_encoding.py`.
"""

from collections.abc import Callable
from typing import Any, Final

from msgspec import to_builtins
from msgspec.msgpack import Encoder

from packhorse_protocol import limits
from packhorse_protocol.fields import Bounds
from packhorse_protocol.messages import BROKER_MESSAGES, CLIENT_MESSAGES, RESULTS, Ok
from packhorse_protocol.plain_values import MOST_BYTES, NOT_PLAIN, plain_values_of
from packhorse_protocol.shapes import Listing, Mapped, Nested, Shape, fields_of

_encode: Final = Encoder().encode

_SHORT_MAP: Final = 15
"""The most entries of a msgpack map whose length is in its first byte."""

_MAX_ID: Final = 2**63 - 1
_BYTES: Final = (bytes,)


def _is_wide(shape: Shape) -> bool:
    """Whether a record in it could, with its tag, have more entries than a short map: msgspec
    writes a longer header then, however few there are."""
    match shape:
        case Nested(record=record):
            shapes = [field.shape for field in fields_of(record)]
            return len(shapes) + 1 > _SHORT_MAP or any(map(_is_wide, shapes))
        case Listing(item=inner) | Mapped(value=inner):
            return _is_wide(inner)
        case _:
            return False


_ARE_PLAIN: Final[dict[type, Callable[[Any], bool]]] = {
    record: plain_values_of(
        Listing(item=Nested(record=record), bounds=Bounds(low=1, high=limits.MAX_ARRAY_ITEMS))
    )
    for record in RESULTS.values()
    if not _is_wide(Nested(record=record))
}
"""Of the entries of an `ok`."""


def _is_plain_ok(ok: Ok) -> bool:
    return (
        ok.durability is None
        and type(ok.id) is int
        and 1 <= ok.id <= _MAX_ID
        and _ARE_PLAIN[type(ok.results[0])](ok.results)
    )


_IS_PLAIN: Final[dict[type, Callable[[Any], bool]]] = {
    record: _is_plain_ok if record is Ok else plain_values_of(Nested(record=record))
    for messages in (CLIENT_MESSAGES, BROKER_MESSAGES)
    for record in messages.values()
}

_WIDE: Final = {
    record for record in _IS_PLAIN if record is not Ok and _is_wide(Nested(record=record))
}
"""Messages that go by way of maps, whose headers are the shortest."""


def encoded(message: object) -> bytes | None:
    """The body of the frame for a message, None where the codec has to look at it."""
    kind = type(message)
    try:
        if not _IS_PLAIN[kind](message):
            return None
        body = _encode(to_builtins(message, builtin_types=_BYTES) if kind in _WIDE else message)
    except NOT_PLAIN:
        return None
    return body if len(body) <= MOST_BYTES else None

"""Messages straight from bytes to records, in C: for frames as all of ours are.

What is decoded here is what `codec.py` would make of the same body. Whatever is unusual (a key
that is not known, a name that is not plain, a long frame) or wrong gets None, and the codec,
which reads every frame, decides and says what is wrong. Both are held side by side in
`tests/protocol/test_decoding.py`.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, MsgspecError, Raw, Struct
from msgspec.msgpack import Decoder

from packhorse_protocol import limits
from packhorse_protocol.fields import Bounds
from packhorse_protocol.messages import BROKER_MESSAGES, CLIENT_MESSAGES, Ok
from packhorse_protocol.plain_names import plain_names_of
from packhorse_protocol.records import TAG
from packhorse_protocol.shapes import Listing, Nested

_UNREAD: Final = (MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for what is not of the type."""

_LENGTHS_OF_MAPS: Final = (
    (0xDE, re.compile(rb"\xde(?=([\x04-\xff][\x00-\xff])[\xa0-\xbf\xd9-\xdb])").finditer),
    (0xDF, re.compile(rb"\xdf(?=(\x00[\x00-\xff]{3})[\xa0-\xbf\xd9-\xdb])").finditer),
)
"""What long maps with texts as keys begin with; and so may bytes within a payload."""

_ENTRY_BYTES: Final = 3
"""An entry of a map has a key of a character or more, with its length, and a value."""

_LONG_MAP_BYTES: Final = limits.MAX_MAP_ITEMS * _ENTRY_BYTES
"""A body no longer than this has no map with too many entries."""


class _Reply(
    Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True, tag="ok", tag_field=TAG
):
    """An `ok` before it is known which request it answers."""

    id: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    results: Raw
    durability: Literal["not_met"] | None = None


_FROM_CLIENT: Final = CLIENT_MESSAGES.values()
_FROM_BROKER: Final = (_Reply, *(record for record in BROKER_MESSAGES.values() if record is not Ok))

_decode_client: Final[Callable[[bytes], Any]] = Decoder(reduce(or_, _FROM_CLIENT)).decode
_decode_broker: Final[Callable[[bytes], Any]] = Decoder(reduce(or_, _FROM_BROKER)).decode

_ARE_PLAIN: Final = {
    record: plain_names_of(Nested(record=record))
    for messages in (CLIENT_MESSAGES, BROKER_MESSAGES)
    for record in messages.values()
    if record is not Ok
}


def client_message(body: bytes) -> Any:
    """The message that a client sent, None where the codec has to look at it."""
    try:
        if len(body) > _LONG_MAP_BYTES and _is_unusual(body):
            return None
        message = _decode_client(body)
    except _UNREAD:
        return None
    return message if _ARE_PLAIN[type(message)](message) else None


def broker_message(body: bytes, results_of: Callable[[int], type | None]) -> Any:
    """The message that a broker sent, None where the codec has to look at it."""
    try:
        if len(body) > _LONG_MAP_BYTES and _is_unusual(body):
            return None
        message = _decode_broker(body)
        if type(message) is _Reply:
            record = results_of(message.id)
            return None if record is None else _ok(message, record)
    except _UNREAD:
        return None
    return message if _ARE_PLAIN[type(message)](message) else None


def _ok(reply: _Reply, record: type) -> Ok | None:
    decode, are_plain = _results_of(record)
    results = decode(reply.results)
    if not are_plain(results):
        return None
    return Ok(id=reply.id, results=results, durability=reply.durability)


@cache
def _results_of(record: type) -> tuple[Callable[[Raw], Any], Callable[[object], bool]]:
    """How the entries of an `ok` are decoded where none is refused, and what says that their names
    are plain."""
    most = limits.MAX_ARRAY_ITEMS
    decoder = Decoder(Annotated[tuple[record, ...], Meta(max_length=most)])  # type: ignore[valid-type]
    entries = Listing(item=Nested(record=record), bounds=Bounds(low=0, high=most))
    return decoder.decode, plain_names_of(entries)


def _is_unusual(body: bytes) -> bool:
    # An entry takes a byte at least: a body no longer than this can't have too many.
    return len(body) > limits.MAX_ELEMENTS or any(
        first in body and _may_be_long(body, found(body)) for first, found in _LENGTHS_OF_MAPS
    )


def _may_be_long(body: bytes, maps: Iterator[re.Match[bytes]]) -> bool:
    """Whether a map may have more than `limits.MAX_MAP_ITEMS` entries. No record has so many
    fields, but keys may be repeated, which msgspec does not count."""
    return any(
        limits.MAX_MAP_ITEMS < int.from_bytes(found[1]) <= (len(body) - found.end()) // _ENTRY_BYTES
        for found in maps
    )

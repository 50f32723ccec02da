"""Bodies of frames as plain values: maps, before any record makes something of them."""

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgpack

Message: TypeAlias = dict[str, Any]
"""A message as it is on the wire, with its tag as `t`."""

SHOWN_BYTES: Final = 32
"""How much of a binary value is shown."""
SHOWN_CHARS: Final = 80
"""How much of a text is shown."""
SHOWN_ITEMS: Final = 8
"""How much of an array is shown."""


class NotReadable(Exception):
    """A body that is no map of msgpack, or says a key twice."""


def packed(value: object) -> bytes:
    """Whatever msgpack can say, also what the protocol forbids."""
    body: bytes = msgpack.packb(value, default=dict)
    return body


def unpacked(body: bytes) -> Message:
    """The map in a body. Raises `NotReadable`."""
    try:
        value = msgpack.unpackb(body, raw=False, strict_map_key=False, object_pairs_hook=_once)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise NotReadable(f"no value of msgpack: {error}") from None
    if not isinstance(value, dict):
        raise NotReadable(f"no map but {type(value).__name__}")
    return value


def _once(pairs: list[tuple[Any, Any]]) -> Message:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a map has a key twice")
    return found


def shown(value: object) -> str:
    """For people: JSON, with binary as `{"$bin": hex}`, and long values cut."""
    return json.dumps(_short(value), ensure_ascii=False)


def _short(value: object) -> object:
    match value:
        case bytes():
            cut = "" if len(value) <= SHOWN_BYTES else f"... {len(value)} bytes"
            return {"$bin": value[:SHOWN_BYTES].hex() + cut}
        case str() if len(value) > SHOWN_CHARS:
            return f"{value[:SHOWN_CHARS]}... {len(value)} characters"
        case Mapping():
            return {str(key): _short(entry) for key, entry in value.items()}
        case list() | tuple():
            rest = len(value) - SHOWN_ITEMS
            more = [f"... {rest} more"] if rest > 0 else []
            return [*map(_short, value[:SHOWN_ITEMS]), *more]
        case None | bool() | int() | float() | str():
            return value
    return repr(value)


def wide(value: object) -> bytes:
    """The same as `packed`, with the longest of msgpack's encodings for everything."""
    match value:
        case None | bool():
            return packed(value)
        case int():
            return b"\xcf" + value.to_bytes(8, "big") if value >= 0 else packed(value)
        case str():
            data = value.encode()
            return b"\xdb" + len(data).to_bytes(4, "big") + data
        case bytes():
            return b"\xc6" + len(value).to_bytes(4, "big") + value
        case Mapping():
            entries = b"".join(wide(key) + wide(entry) for key, entry in value.items())
            return b"\xdf" + len(value).to_bytes(4, "big") + entries
        case list() | tuple():
            return b"\xdd" + len(value).to_bytes(4, "big") + b"".join(map(wide, value))
    raise TypeError(f"{type(value).__name__} has no place in a message")

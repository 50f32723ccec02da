"""The bundled client's convention for payloads and results; the broker never looks into them.

msgpack. A payload that is a map holds keyword arguments, anything else is one positional
argument, no bytes at all is no argument. A result is any value; no bytes at all is None.

Models (msgspec structs, pydantic models, dataclasses) are written as maps; in them dates and
times in ISO 8601, UUIDs and decimals as text, enums as their values, sets as lists.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, TypeAlias, cast

import msgpack

from packhorse.errors import PayloadError
from packhorse.typed import plain


class Nothing(Enum):
    """The type of `NOTHING`, for annotations."""

    NOTHING = "nothing"


NOTHING: Final = Nothing.NOTHING
"""No argument at all, which is not the same as the argument None."""

Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""What a job function is called with: positional and keyword arguments."""


def pack_arguments(value: object) -> bytes:
    """`NOTHING` -> no bytes; a mapping with text keys -> keyword arguments; else one argument.

    Raises `PayloadError` for what msgpack can't hold.
    """
    if value is NOTHING:
        return b""
    if type(value) is not str and isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise PayloadError(
                    f"payload: the key {key!r} is no text; a map is passed as keyword arguments"
                )
        value = dict(value)
    return _pack(value, "payload")


def unpack_arguments(payload: bytes) -> Arguments:
    """The arguments packed in a payload. Raises `PayloadError` if they can't be read."""
    value = unpack_value(payload)
    if value is NOTHING:
        return (), {}
    if not isinstance(value, dict):
        return (value,), {}
    for key in value:
        if not isinstance(key, str):
            raise PayloadError(f"payload: the key {key!r} is no text, so no keyword argument")
    return (), cast("dict[str, Any]", value)


def unpack_value(payload: bytes) -> Any:
    """What was packed as a payload, `NOTHING` for no bytes. Raises `PayloadError`."""
    return _unpack(payload, "payload") if payload else NOTHING


def pack_result(value: object) -> bytes:
    """None -> no bytes. Raises `PayloadError` for what msgpack can't hold."""
    return b"" if value is None else _pack(value, "result")


def unpack_result(result: bytes | None) -> Any:
    """The value packed in a result. Raises `PayloadError` if it can't be read."""
    return _unpack(result, "result") if result else None


def _pack(value: object, what: str) -> bytes:
    try:
        packed: bytes = msgpack.packb(value, default=plain)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise PayloadError(f"{what}: can't be packed with msgpack: {error}") from error
    return packed


def _unpack(data: bytes, what: str) -> Any:
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=False)
    except (ValueError, TypeError, RecursionError) as error:
        # msgpack's own errors are ValueErrors; a list as a map's key is a TypeError.
        said = str(error) or type(error).__name__
        raise PayloadError(f"{what}: can't be unpacked with msgpack: {said}") from error

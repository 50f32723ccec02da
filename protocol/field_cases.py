"""What is to be tried with a field: the good values at its bounds, and what has to be refused.

All of it follows from the field's shape.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from packhorse_protocol.fields import Bounds
from packhorse_protocol.limits import MAX_FRAME_BYTES
from packhorse_protocol.shapes import (
    Choice,
    Field,
    Listing,
    Mapped,
    Nested,
    Scalar,
    Shape,
    fields_of,
)

REQUEST_ID: Final = 7
"""Of the request that a vector is, or answers."""
FOUR_BYTES: Final = "\U0001d11e"
"""One code point that takes four bytes: bounds on texts count code points."""
LONG_BYTES: Final = 70_000
"""Of a payload: its length takes more than two bytes."""

Fields: TypeAlias = dict[str, Any]


class Case(NamedTuple):
    """A field in a record. `value` means nothing where it is `absent`."""

    name: str
    good: bool
    value: Any = None
    absent: bool = False


# -- values ---------------------------------------------------------------------------------


def least(shape: Shape) -> Any:
    """The smallest good value."""
    match shape:
        case Scalar(bounds=None):
            return False
        case Scalar(type=kind, bounds=Bounds(low=low, high=high)):
            return _sized(kind, max(low, min(1, high)) if kind is int else low)
        case Choice(values=values):
            return values[0]
        case Listing(item=item, bounds=bounds):
            return [least(item)] * bounds.low
        case Mapped():
            return {}
        case Nested(record=record):
            return with_field(record)
    raise TypeError(f"no value for {shape!r}")


def _sized(kind: type, size: int) -> Any:
    """A number, or something so long."""
    if kind is int:
        return size
    return "n" * size if kind is str else bytes(size)


def with_field(record: type, name: str = "", value: Any = None) -> Fields:
    """The record with what it requires, and one field more or another."""
    fields: Fields = {}
    for field in fields_of(record):
        if field.name == name:
            fields[name] = value
        elif field.required:
            fields[field.name] = REQUEST_ID if _is_request_id(field) else least(field.shape)
    return fields


def _is_request_id(field: Field) -> bool:
    return field.name == "id" and isinstance(field.shape, Scalar) and field.shape.type is int


def cases(field: Field) -> Iterator[Case]:
    """Everything that is to be tried with a field."""
    yield Case("absent", good=not field.required, absent=True)
    is_null_good = field.nullable and not field.required
    yield Case("nil", good=is_null_good)
    if not field.required and field.default is not None:
        yield Case("its default", good=True, value=_plain(field.default))
    yield from _of_shape(field.shape)


def _plain(value: object) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _of_shape(shape: Shape) -> Iterator[Case]:
    match shape:
        case Scalar(bounds=None):
            yield from (Case("true", True, True), Case("false", True, False))
            yield from (Case("1 instead of true", False, 1), Case("text instead", False, "true"))
        case Scalar(type=kind) if kind is int:
            yield from _of_integer(shape)
        case Scalar(type=kind) if kind is str:
            yield from _of_text(shape)
        case Scalar():
            yield from _of_binary(shape)
        case Choice(values=values):
            yield from (Case(value, True, value) for value in values)
            yield from (Case("no choice", False, "none of these"), Case("binary", False, b"x"))
        case Listing(item=item, bounds=bounds):
            for size in _bounds(bounds):
                yield Case(f"length {size}", True, [least(item)] * size)
            for size in (bounds.low - 1, bounds.high + 1):
                if size >= 0:
                    yield Case(f"length {size}", False, [least(item)] * size)
            yield Case("a map instead", False, {})
            yield Case("an item that is nil", False, [None])
        case Mapped(key=key, value=value, bounds=bounds):
            yield from _of_map(key, value, bounds.high if bounds else None)
        case Nested(record=record):
            yield Case("with what it requires", True, with_field(record))
            yield from (Case("an array", False, []), Case("text", False, "x"))


def _bounds(bounds: Bounds) -> list[int]:
    """Each once."""
    return sorted({bounds.low, bounds.high})


def _of_integer(shape: Scalar) -> Iterator[Case]:
    assert shape.bounds is not None
    low, high = shape.bounds.low, shape.bounds.high
    yield from (Case(str(low), True, low), Case(str(high), True, high))
    yield from (Case(str(low - 1), False, low - 1), Case(str(high + 1), False, high + 1))
    yield from (Case("true", False, True), Case("text", False, "1"))
    yield Case("a whole floating point number", False, float(max(low, 1)))


def _of_text(shape: Scalar) -> Iterator[Case]:
    assert shape.bounds is not None
    low, high = shape.bounds.low, shape.bounds.high
    for size in _bounds(shape.bounds):
        yield Case(f"length {size}", True, (FOUR_BYTES if size == high else "n") * size)
    yield Case(f"length {high + 1}", False, "n" * (high + 1))
    if low:
        yield Case(f"length {low - 1}", False, "n" * (low - 1))
    yield from (Case("binary", False, b"n"), Case("an integer", False, 1))
    if shape.bounds.printable:
        yield Case("a control character", False, "a\u0085b")
        yield Case("nothing but white space", False, " \u3000")


def _of_binary(shape: Scalar) -> Iterator[Case]:
    assert shape.bounds is not None
    low, high = shape.bounds.low, shape.bounds.high
    yield Case(f"length {low}", True, bytes(low))
    if low:
        yield Case(f"length {low - 1}", False, bytes(low - 1))
    # What may be as long as a frame is bounded by the frame.
    if high < MAX_FRAME_BYTES:
        if high > low:
            yield Case(f"length {high}", True, bytes(high))
        yield Case(f"length {high + 1}", False, bytes(high + 1))
    else:
        yield Case(f"length {LONG_BYTES}", True, bytes(LONG_BYTES))
    yield from (Case("text", False, "n" * max(low, 1)), Case("an integer", False, 1))


def _of_map(key: Scalar | Choice, value: Shape, most: int | None) -> Iterator[Case]:
    yield Case("length 0", True, {})
    if isinstance(key, Choice):
        yield Case("every key", True, {name: least(value) for name in key.values})
        yield Case("a key that is none", False, {"none of these": least(value)})
    if most is not None:
        yield Case(f"length {most}", True, _entries(most, value))
        yield Case(f"length {most + 1}", False, _entries(most + 1, value))
        yield Case("an empty key", False, {"": least(value)})
        yield Case("a binary key", False, {b"k": least(value)})
    first = key.values[0] if isinstance(key, Choice) else "k"
    for case in _of_shape(value):
        yield Case(f"a value that is {case.name}", case.good, {first: case.value})
    yield Case("an array instead", False, [])


def _entries(count: int, value: Shape) -> Fields:
    return {f"k{number}": least(value) for number in range(count)}

"""The records of `messages.py` as data: each field's shape, read once from its annotation.

The codec's compiler, the published schema and the tables of `SPEC.md` all start from here.
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal, TypeAlias, Union, get_args, get_origin

import msgspec
from msgspec.structs import fields

from packhorse_protocol.fields import Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A boolean, an integer, a text or bytes; only a boolean has no bounds."""

    type: type[bool] | type[int] | type[str] | type[bytes]
    bounds: Bounds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of these texts."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """An array of items of one shape."""

    item: "Shape"
    bounds: Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A map from texts to values of one shape; `bounds` is None where the key is a `Choice`."""

    key: "Scalar | Choice"
    value: "Shape"
    bounds: Bounds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    """A map with the fields of a record."""

    record: type


Shape: TypeAlias = Scalar | Choice | Listing | Mapped | Nested


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a record. `default` means nothing where `required`; `nullable` admits None."""

    name: str
    shape: Shape
    required: bool
    nullable: bool
    default: object


@cache
def fields_of(record: type) -> tuple[Field, ...]:
    """The fields of a record, in the order of its declaration.

    Raises `TypeError` for an annotation that the wire has no shape for.
    """
    if not issubclass(record, msgspec.Struct):
        raise TypeError(f"{record!r} is no record")
    return tuple(_field(field.name, field.type, field.default) for field in fields(record))


def _field(name: str, hint: object, default: object) -> Field:
    nullable = False
    if get_origin(hint) in (Union, types.UnionType):
        members = [member for member in get_args(hint) if member is not types.NoneType]
        if len(members) != 1:
            raise TypeError(f"{name}: only a union with None has a shape, not {hint!r}")
        hint, nullable = members[0], True
    return Field(
        name=name,
        shape=_shape(hint),
        required=default is msgspec.NODEFAULT,
        nullable=nullable,
        default=default,
    )


def _shape(hint: object) -> Shape:
    bounds: Bounds | None = None
    if get_origin(hint) is Annotated:
        hint, bounds, *_ = get_args(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return Choice(values=arguments)
    if origin is tuple and bounds is not None:
        return Listing(item=_shape(arguments[0]), bounds=bounds)
    if origin is Mapping:
        key = _shape(arguments[0])
        if isinstance(key, Scalar | Choice):
            return Mapped(key=key, value=_shape(arguments[1]), bounds=bounds)
    if hint is bool:
        return Scalar(type=bool)
    if bounds is not None and (hint is int or hint is str or hint is bytes):
        return Scalar(type=hint, bounds=bounds)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return Nested(record=hint)
    raise TypeError(f"no shape on the wire for {hint!r}")


def describe(shape: Shape) -> str:
    """What is allowed, in words: `text of 1 to 128 characters`."""
    match shape:
        case Scalar(type=kind, bounds=bounds):
            return "a boolean" if bounds is None else _describe_scalar(kind, bounds)
        case Choice(values=values):
            return "one of " + ", ".join(values)
        case Listing(bounds=bounds):
            return f"an array of {_span(bounds)} items"
        case Mapped(bounds=bounds):
            return "a map" if bounds is None else f"a map of {_span(bounds)} entries"
        case Nested():
            return "a map"


def _describe_scalar(kind: type, bounds: Bounds) -> str:
    if kind is int:
        return f"an integer from {bounds.low} to {bounds.high}"
    if kind is bytes:
        return f"binary of {_span(bounds)} bytes"
    name = ", without control characters and not all blank" if bounds.printable else ""
    return f"text of {_span(bounds)} characters{name}"


def _span(bounds: Bounds) -> str:
    low, high = bounds.low, bounds.high
    return str(low) if low == high else f"{low} to {high}"

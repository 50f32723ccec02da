"""Frozen records that are made, compared, shown and read in C: most are made for every job."""

import types
from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import (
    Annotated,
    Any,
    Final,
    TypeVar,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from msgspec import Meta, Struct, StructMeta, structs

from packhorse_protocol.fields import Bounds

Record = TypeVar("Record")

TAG: Final = "t"
"""The key of a message's map that says which message it is."""

_OF_THE_CLASS_ALONE: Final = frozenset({"__dict__", "__weakref__"})
"""What Python gives a class for itself: a second one with its contents gets its own."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[Record]) -> type[Record]:
    """The class as a frozen, slotted, keyword-only record: a `msgspec.Struct`.

    Its fields have plain defaults, or none. What it holds never leads back to it.
    """
    return struct_of(cls, tag=None)


def struct_of(cls: type[Record], tag: str | None) -> type[Record]:
    """The record; with a tag it is a message, and the key `t` of its map has the tag."""
    contents = {name: value for name, value in vars(cls).items() if name not in _OF_THE_CLASS_ALONE}
    hints = get_type_hints(cls, include_extras=True)
    contents["__annotations__"] = {name: _for_msgspec(hint) for name, hint in hints.items()}
    made = StructMeta(
        cls.__name__,
        (Struct,),
        contents,
        frozen=True,
        kw_only=True,
        gc=False,
        omit_defaults=True,
        forbid_unknown_fields=True,
        tag=tag,
        tag_field=None if tag is None else TAG,
    )
    return cast(type[Record], made)


def replace(record: Record, **changes: Any) -> Record:
    """The same record with other values of these fields."""
    return cast(Record, structs.replace(cast(Struct, record), **changes))


def _for_msgspec(hint: Any) -> Any:
    """The same type, its bounds said in msgspec's way too."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner, bounds = arguments
        return Annotated[_for_msgspec(inner), bounds, _meta(inner, bounds)]
    if origin in (Union, types.UnionType):
        return reduce(or_, map(_for_msgspec, arguments))
    if origin is tuple:
        item: Any = _for_msgspec(arguments[0])
        return tuple[item, ...]
    if origin is Mapping:
        key: Any
        value: Any
        key, value = map(_for_msgspec, arguments)
        return Mapping[key, value]
    return hint


def _meta(kind: object, bounds: Bounds) -> Meta:
    if kind is int:
        return Meta(ge=bounds.low, le=bounds.high)
    return Meta(min_length=bounds.low, max_length=bounds.high)

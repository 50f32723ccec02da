"""Frozen records that are made, compared and shown in C: most are made for every job."""

from typing import Any, TypeVar, cast, dataclass_transform

from msgspec import Struct, StructMeta, structs

Record = TypeVar("Record")

_OF_THE_CLASS_ALONE = frozenset({"__dict__", "__weakref__"})
"""What Python gives a class for itself: a second one with its contents gets its own."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[Record]) -> type[Record]:
    """The class as a frozen, slotted, keyword-only record: a `msgspec.Struct`.

    Its fields have plain defaults, or none. What it holds never leads back to it.
    """
    contents = {name: value for name, value in vars(cls).items() if name not in _OF_THE_CLASS_ALONE}
    made = StructMeta(cls.__name__, (Struct,), contents, frozen=True, kw_only=True, gc=False)
    return cast(type[Record], made)


def replace(record: Record, **changes: Any) -> Record:
    """The same record with other values of these fields."""
    return cast(Record, structs.replace(cast(Struct, record), **changes))

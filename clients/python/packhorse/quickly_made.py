"""Frozen dataclasses whose making costs little.

A frozen dataclass fills its slots through `object.__setattr__`, by name. One that is quickly made
fills them through the slots' own descriptors, which takes little more than half of the time. One
with many fields is filled as an object of a class with the same slots that is not frozen, and
becomes the frozen one at the end: that takes two thirds again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import MISSING, Field, fields
from typing import Any, Final, TypeVar

Made = TypeVar("Made")

MANY_FIELDS: Final = 8
"""From so many on, changing the class twice costs less than that many calls."""


def quickly_made(cls: type[Made]) -> type[Made]:
    """The same frozen, slotted dataclass, with an `__init__` of the same signature.

    Raises TypeError where a field's default has to be made.
    """
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # it is a dataclass
    lines = [f"set_{name}(self, {name})" for name in names]
    namespace: dict[str, Any] = {f"set_{name}": getattr(cls, name).__set__ for name in names}
    if len(names) >= MANY_FIELDS:
        lines = [
            "if self.__class__ is not record_:",  # a subclass may have more than these slots
            *(f"    {line}" for line in (*lines, "return")),
            "become_(self, '__class__', blank_)",
            *(f"self.{name} = {name}" for name in names),
            "self.__class__ = record_",
        ]
        namespace |= {"become_": object.__setattr__, "blank_": blank_of(names), "record_": cls}
    parameters = ["self"]
    for field in _in_order(fields(cls)):  # type: ignore[arg-type]  # it is a dataclass
        if field is None:
            parameters.append("*")
            continue
        if field.default_factory is not MISSING:
            raise TypeError(f"{cls.__name__}.{field.name}: its defaults are plain values")
        name = field.name
        namespace[f"default_{name}"] = field.default
        parameters.append(name if field.default is MISSING else f"{name}=default_{name}")
    body = "".join(f"    {line}\n" for line in lines or ["pass"])
    # Every name in the source comes from the fields.
    exec(f"def __init__({', '.join(parameters)}):\n{body}", namespace)  # noqa: S102
    init = namespace["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__annotations__ = cls.__init__.__annotations__
    cls.__init__ = init  # type: ignore[method-assign]
    return cls


def blank_of(names: Iterable[str]) -> type[Any]:
    """A class whose objects are filled quickly, to become those of one with these slots."""
    return type("Blank", (), {"__slots__": tuple(names)})


def _in_order(found: tuple[Field[Any], ...]) -> Iterator[Field[Any] | None]:
    """Fields as parameters; None stands where those begin that are only given by name."""
    yield from (field for field in found if not field.kw_only)
    named = [field for field in found if field.kw_only]
    if named:
        yield None
        yield from named

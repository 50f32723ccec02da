"""Frozen dataclasses whose making costs little.

A frozen dataclass fills its slots through `object.__setattr__`, by name. One that is quickly made
fills them through the slots' own descriptors, which takes little more than half of the time.
"""

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

Made = TypeVar("Made")


def quickly_made(cls: type[Made]) -> type[Made]:
    """The same frozen, slotted dataclass, with an `__init__` of the same signature.

    Raises TypeError where a field's default has to be made.
    """
    namespace: dict[str, Any] = {}
    parameters = ["self"]
    lines: list[str] = []
    for field in _in_order(fields(cls)):  # type: ignore[arg-type]  # it is a dataclass
        if field is None:
            parameters.append("*")
            continue
        if field.default_factory is not MISSING:
            raise TypeError(f"{cls.__name__}.{field.name}: its defaults are plain values")
        name = field.name
        namespace[f"set_{name}"] = getattr(cls, name).__set__
        namespace[f"default_{name}"] = field.default
        required = field.default is MISSING
        parameters.append(name if required else f"{name}=default_{name}")
        lines.append(f"    set_{name}(self, {name})")
    source = f"def __init__({', '.join(parameters)}):\n" + "\n".join(lines or ["    pass"])
    exec(source, namespace)  # noqa: S102 - made of the names of fields alone
    init = namespace["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__annotations__ = cls.__init__.__annotations__
    cls.__init__ = init  # type: ignore[method-assign]
    return cls


def _in_order(found: tuple[Field[Any], ...]) -> Iterator[Field[Any] | None]:
    """Fields as parameters; None stands where those begin that are only given by name."""
    yield from (field for field in found if not field.kw_only)
    named = [field for field in found if field.kw_only]
    if named:
        yield None
        yield from named

"""Whether a value is plain: msgspec writes it as the codec does, and nothing in it is refused.

Defaults are the very defaults, names printable, containers and bytes of no other type. What is
not plain, or not even what its field should hold (then there may be an exception instead), may
be allowed all the same: the compiler's encoders decide, and take longer. What is written here
for `Completion`:

    def is_plain(value):
        if type(value) is not part_Completion:
            return False
        job1 = value.job
        if not job1.isprintable() or len(job1) > 128 or job1 < "!":
            return False
        token1 = value.token
        if type(token1) is not bytes or len(token1) != 16:
            return False
        if value.result is not default_Completion_result:
            result1 = value.result
            if type(result1) is not bytes:
                return False
            if result1 == default_Completion_result:
                return False
        return True

Bounds that no frame which is encoded in C can exceed are not looked at.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final, TypeAlias

from packhorse_protocol import limits
from packhorse_protocol.fields import Bounds
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
from packhorse_protocol.source import compiled

MOST_BYTES: Final = limits.MAX_ELEMENTS
"""Of a body that is encoded in C: an entry takes a byte at least, so it can't have too many."""

NOT_PLAIN: Final = (AttributeError, LookupError, TypeError, ValueError)
"""What comes of a message or a value of an unexpected type, or msgspec makes of one."""

_Lines: TypeAlias = Iterator[str]


@cache
def plain_values_of(shape: Shape) -> Callable[[Any], bool]:
    """The function that says it of an object that should have this shape."""
    names: dict[str, object] = {}
    lines = [*_lines(shape, "value", 0, names), "return True"]
    return compiled("is_plain", "value", lines, of=f"plain {shape}", names=names)


def _lines(shape: Shape, variable: str, level: int, names: dict[str, object]) -> _Lines:
    match shape:
        case Scalar(type=kind, bounds=bounds):
            yield from _unless(_unacceptable(kind, bounds, variable))
        case Choice(values=values):
            choice = "choice_" + "_".join(values)
            names[choice] = frozenset(values)
            yield from _unless(f"{variable} not in {choice}")
        case Listing(item=item, bounds=bounds):
            yield from _unless(f"type({variable}) is not tuple" + _of_length(bounds, variable))
            yield f"for item{level} in {variable}:"
            yield from _indented(_lines(item, f"item{level}", level + 1, names))
        case Mapped(key=key, value=value, bounds=bounds):
            yield from _unless(f"type({variable}) is not dict" + _of_length(bounds, variable))
            yield f"for key{level}, entry{level} in {variable}.items():"
            yield from _indented(_lines(key, f"key{level}", level + 1, names))
            yield from _indented(_lines(value, f"entry{level}", level + 1, names))
        case Nested(record=record):
            names[f"part_{record.__name__}"] = record
            yield from _unless(f"type({variable}) is not part_{record.__name__}")
            for field in fields_of(record):
                default = f"default_{record.__name__}_{field.name}"
                yield from _of_field(field, variable, default, level + 1, names)


def _of_field(
    field: Field, owner: str, default: str, level: int, names: dict[str, object]
) -> _Lines:
    variable = f"{field.name}{level}"
    found = f"{owner}.{field.name}"
    lines = _lines(field.shape, variable, level, names)
    if field.required and not field.nullable:
        yield f"{variable} = {found}"
        yield from lines
        return
    is_none = field.required or field.default is None
    if not is_none:
        names[default] = field.default
    yield f"if {found} is not {None if is_none else default}:"
    yield f"    {variable} = {found}"
    yield from _indented(lines)
    if not is_none:
        # Left out by the codec, but not by msgspec.
        yield from _indented(_unless(f"{variable} == {default}"))


def _unacceptable(kind: type, bounds: Bounds | None, variable: str) -> str:
    if bounds is None:
        return f"type({variable}) is not {kind.__name__}"
    if kind is int:
        return f"type({variable}) is not int or not {bounds.low} <= {variable} <= {bounds.high}"
    if bounds.printable:
        # Nothing but a text can be asked so. Before "!" come "" and what begins with a space.
        return (
            f'not {variable}.isprintable() or len({variable}) > {bounds.high} or {variable} < "!"'
        )
    return f"type({variable}) is not {kind.__name__}" + _of_length(bounds, variable)


def _of_length(bounds: Bounds | None, variable: str) -> str:
    if bounds is None:
        return ""
    low, high = bounds.low, min(bounds.high, MOST_BYTES)
    if low == high:
        return f" or len({variable}) != {low}"
    parts = []
    if low:
        parts.append(f" or not {variable}" if low == 1 else f" or len({variable}) < {low}")
    if high < MOST_BYTES:
        parts.append(f" or len({variable}) > {high}")
    return "".join(parts)


def _unless(test: str) -> _Lines:
    yield f"if {test}:"
    yield "    return False"


def _indented(lines: _Lines) -> _Lines:
    return ("    " + line for line in lines)

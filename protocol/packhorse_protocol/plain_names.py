"""Whether all names within a value are plain: printable, and not blank at the beginning.

A plain name is one that the wire allows. Others may be allowed too: `compiler.is_name` decides,
and takes longer. What is written here for `ClaimRef`:

    def are_plain(value):
        name0 = value.job
        if not name0.isprintable() or name0 < "!":
            return False
        return True
"""

from collections.abc import Callable, Iterator
from functools import cache

from packhorse_protocol.shapes import Field, Listing, Mapped, Nested, Scalar, Shape, fields_of
from packhorse_protocol.source import compiled


@cache
def plain_names_of(shape: Shape) -> Callable[[object], bool]:
    """The function that says it of a value of this shape, whose bounds have been checked."""
    lines = [*_lines(shape, "value", 0), "return True"]
    return compiled("are_plain", "value", lines, of=str(shape), names={})


def _lines(shape: Shape, variable: str, level: int) -> Iterator[str]:
    match shape:
        case Scalar(bounds=bounds) if bounds is not None and bounds.printable:
            # Of printable characters only the space comes before that one.
            yield f'if not {variable}.isprintable() or {variable} < "!":'
            yield "    return False"
        case Listing(item=item):
            yield from _loop(item, f"item{level}", variable, level)
        case Mapped(key=key, value=value):
            yield from _loop(key, f"key{level}", variable, level)
            yield from _loop(value, f"entry{level}", f"{variable}.values()", level)
        case Nested(record=record):
            for field in fields_of(record):
                yield from _of_field(field, variable, level)


def _loop(shape: Shape, variable: str, values: str, level: int) -> Iterator[str]:
    inner = list(_lines(shape, variable, level + 1))
    if inner:
        yield f"for {variable} in {values}:"
        yield from _indented(inner)


def _of_field(field: Field, owner: str, level: int) -> Iterator[str]:
    variable = f"name{level}" if isinstance(field.shape, Scalar) else f"{field.name}{level}"
    inner = list(_lines(field.shape, variable, level + 1))
    if not inner:
        return
    yield f"{variable} = {owner}.{field.name}"
    if field.nullable:
        yield f"if {variable} is not None:"
        yield from _indented(inner)
    else:
        yield from inner


def _indented(lines: list[str]) -> Iterator[str]:
    return ("    " + line for line in lines)

"""Writes each record's decoder and encoder, once, from its shape (as `dataclasses` writes inits).

A decoder turns an unpacked msgpack map into the record, an encoder turns the record into the
map to pack, without the fields that have their default. Both check every field that they know
and raise `Refusal`. What is written here for `ClaimRef`:

    def decode(value):
        if type(value) is not dict:
            raise wrong(expected_, value)
        get = value.get
        job_ = get('job')
        if type(job_) is not str or not 1 <= len(job_) <= 128 or not is_name(job_):
            raise missing_or_wrong('job', expected_job, value)
        token_ = get('token')
        if type(token_) is not bytes or not 16 <= len(token_) <= 16:
            raise missing_or_wrong('token', expected_token, value)
        return record(job=job_, token=token_)
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final, TypeAlias

from packhorse_protocol.fields import Bounds
from packhorse_protocol.shapes import (
    Choice,
    Field,
    Listing,
    Mapped,
    Nested,
    Scalar,
    Shape,
    describe,
    fields_of,
)
from packhorse_protocol.source import compiled

Decoder: TypeAlias = Callable[[object], Any]
Encoder: TypeAlias = Callable[[Any], dict[str, object]]

_SHOWN_KEY_CHARS: Final = 40
"""How much of a map's key a path shows: keys come from the other side and may be long."""

_Lines: TypeAlias = Iterator[str]


class Refusal(Exception):
    """A value that the wire does not allow; `path` leads from the record to it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path = ""

    def under(self, step: str | int) -> "Refusal":
        """The same refusal as seen from one level further out: a field's name or an index."""
        outer = f"[{step}]" if isinstance(step, int) else step
        joint = "." if self.path and self.path[0] != "[" else ""
        self.path = f"{outer}{joint}{self.path}"
        return self


def wrong(expected: str, value: object) -> Refusal:
    """Says what is allowed, and of the value only what is short."""
    match value:
        case bool() | None:
            seen = {True: "true", False: "false", None: "nil"}[value]
        case int():
            seen = str(value)
        case str():
            seen = f"text of {len(value)} characters"
        case bytes():
            seen = f"binary of {len(value)} bytes"
        case tuple() | list():
            seen = f"an array of {len(value)} items"
        case Mapping():
            seen = f"a map of {len(value)} entries"
        case _:
            seen = f"of type {type(value).__name__}"
    return Refusal(f"must be {expected}, but is {seen}")


def missing_or_wrong(name: str, expected: str, fields: Mapping[str, object]) -> Refusal:
    """Why a field of an unpacked map was refused."""
    if name not in fields:
        return Refusal(f"is missing: must be {expected}").under(name)
    return wrong(expected, fields[name]).under(name)


def is_name(text: str) -> bool:
    """Whether a text has no control character (category Cc) and is not all white space."""
    if text.isspace():
        return False
    return text.isprintable() or not any(
        character < " " or "\x7f" <= character <= "\x9f" for character in text
    )


def _shown(key: object) -> str:
    text = key if isinstance(key, str) else type(key).__name__
    if len(text) > _SHOWN_KEY_CHARS:
        text = text[:_SHOWN_KEY_CHARS] + "..."
    return f"[{text!r}]"


@cache
def decoder_of(record: type) -> Decoder:
    """The function that turns an unpacked map into the record, or raises `Refusal`."""
    writer = _Writer(record, decoding=True)
    return writer.build("decode", "value", writer.decoder_lines())


@cache
def encoder_of(record: type, tag: str | None = None) -> Encoder:
    """The function that turns the record into a map to pack, or raises `Refusal`."""
    writer = _Writer(record, decoding=False)
    return writer.build("encode", "message", writer.encoder_lines(tag))


class _Writer:
    """Writes the source of one function and gathers the names that it refers to."""

    def __init__(self, record: type, *, decoding: bool) -> None:
        self._record = record
        self._fields = fields_of(record)
        self._decoding = decoding
        self._names: dict[str, object] = {
            "Refusal": Refusal,
            "missing_or_wrong": missing_or_wrong,
            "wrong": wrong,
            "is_name": is_name,
            "shown": _shown,
        }

    def build(self, name: str, argument: str, body: _Lines) -> Callable[..., Any]:
        return compiled(name, argument, body, of=self._record.__qualname__, names=self._names)

    # -- whole records ------------------------------------------------------------------

    def decoder_lines(self) -> _Lines:
        self._names |= {"record": self._record, "expected_": "a map"}
        yield "if type(value) is not dict:"
        yield "    raise wrong(expected_, value)"
        if self._fields:
            yield "get = value.get"
        for field in self._fields:
            variable = self._variable(field)
            if field.required or field.default is None:
                yield f"{variable} = get({field.name!r})"
            else:
                self._names[f"default_{field.name}"] = field.default
                yield f"{variable} = get({field.name!r}, default_{field.name})"
            yield from self._checked(field, variable)
        values = (f"{field.name}={self._variable(field)}" for field in self._fields)
        yield f"return record({', '.join(values)})"

    def encoder_lines(self, tag: str | None) -> _Lines:
        self._names |= {"record": self._record, "expected_": f"of type {self._record.__name__}"}
        yield "if type(message) is not record:"
        yield "    raise wrong(expected_, message)"
        yield "fields = {}" if tag is None else f"fields = {{'t': {tag!r}}}"
        for field in self._fields:
            variable = self._variable(field)
            yield f"{variable} = message.{field.name}"
            keep = f"fields[{field.name!r}] = {variable}"
            if field.required:
                yield from self._checked(field, variable)
                yield keep
                continue
            if field.default is None:
                yield f"if {variable} is not None:"
            else:
                self._names[f"default_{field.name}"] = field.default
                yield f"if {variable} != default_{field.name}:"
            # None is the default and has been skipped: no further test for it.
            for line in self._check(field.shape, variable, field):
                yield "    " + line
            yield "    " + keep
        yield "return fields"

    def _variable(self, field: Field) -> str:
        # A suffix keeps fields called `id`, `type` or `value` apart from the function's own names.
        return f"{field.name}_"

    def _checked(self, field: Field, variable: str) -> _Lines:
        lines = self._check(field.shape, variable, field)
        if field.required and not field.nullable:
            yield from lines
            return
        # Most are absent, and a default needs no check.
        yield f"if {variable} is not {'None' if field.nullable else f'default_{field.name}'}:"
        for line in lines:
            yield "    " + line

    # -- one value ----------------------------------------------------------------------

    def _check(self, shape: Shape, variable: str, field: Field) -> _Lines:
        """Lines that leave the converted value in `variable`, or raise with the field's path."""
        expected = f"expected_{field.name}"
        self._names[expected] = describe(shape)
        if self._decoding:
            yield f"if {self._unacceptable(shape, variable)}:"
            yield f"    raise missing_or_wrong({field.name!r}, {expected}, value)"
        elif not isinstance(shape, Nested):
            # A record's own encoder refuses other types.
            yield f"if {self._unacceptable(shape, variable)}:"
            yield f"    raise wrong({expected}, {variable}).under({field.name!r})"
        if isinstance(shape, Listing | Mapped | Nested):
            yield "try:"
            for line in self._inside(shape, variable):
                yield "    " + line
            yield "except Refusal as refusal:"
            yield f"    raise refusal.under({field.name!r})"

    def _inside(self, shape: Shape, variable: str) -> _Lines:
        """Lines that check and convert what a container holds."""
        match shape:
            case Nested(record=record):
                yield f"{variable} = {self._function_of(record)}({variable})"
            case Listing(item=Nested(record=record)):
                yield f"built_{variable} = []"
                yield "try:"
                yield f"    for item in {variable}:"
                yield f"        built_{variable}.append({self._function_of(record)}(item))"
                yield "except Refusal as refusal:"
                yield f"    raise refusal.under(len(built_{variable}))"
                built = f"tuple(built_{variable})" if self._decoding else f"built_{variable}"
                yield f"{variable} = {built}"
            case Listing(item=Scalar() | Choice() as item):
                expected = f"expected_item_{variable}"
                self._names[expected] = describe(item)
                yield f"for index, item in enumerate({variable}):"
                yield f"    if {self._unacceptable(item, 'item')}:"
                yield f"        raise wrong({expected}, item).under(index)"
            case Mapped(key=key, value=value):
                yield from self._entries(key, value, variable, "")
            case _:
                raise TypeError(f"{self._record.__name__} has a shape without a code: {shape}")

    def _entries(self, key: Shape, value: Shape, variable: str, level: str) -> _Lines:
        if isinstance(value, Listing | Nested):
            raise TypeError(f"{self._record.__name__} has a shape without a code: {value}")
        names = self._names
        names[f"expected_key{level}_{variable}"] = f"a map whose keys are {describe(key)}"
        names[f"expected_entry{level}_{variable}"] = describe(value)
        yield f"for key{level}, entry{level} in {variable}.items():"
        yield f"    if {self._unacceptable(key, f'key{level}')}:"
        yield f"        raise wrong(expected_key{level}_{variable}, {variable})"
        yield f"    if {self._unacceptable(value, f'entry{level}')}:"
        refusal = f"wrong(expected_entry{level}_{variable}, entry{level})"
        yield f"        raise {refusal}.under(shown(key{level}))"
        if isinstance(value, Mapped):
            yield "    try:"
            for line in self._entries(value.key, value.value, f"entry{level}", f"{level}_in"):
                yield "        " + line
            yield "    except Refusal as refusal:"
            yield f"        raise refusal.under(shown(key{level}))"

    def _function_of(self, record: type) -> str:
        name = f"part_{record.__name__}"
        self._names[name] = decoder_of(record) if self._decoding else encoder_of(record)
        return name

    def _unacceptable(self, shape: Shape, variable: str) -> str:
        """An expression: true where the value itself (not what it holds) is refused."""
        match shape:
            case Scalar(type=kind, bounds=bounds):
                # Our own side may send a StrEnum where the wire has a text.
                ours = kind is str and not self._decoding
                test = f"type({variable}) is not {kind.__name__}"
                test = f"not isinstance({variable}, str)" if ours else test
                test += _out_of_bounds(bounds, variable if kind is int else f"len({variable})")
                named = bounds is not None and bounds.printable
                return test + (f" or not is_name({variable})" if named else "")
            case Choice(values=values):
                name = "choice_" + "_".join(values)
                self._names[name] = frozenset(values)
                return f"not isinstance({variable}, str) or {variable} not in {name}"
            case Listing(bounds=bounds):
                return f"type({variable}) is not tuple" + _out_of_bounds(bounds, f"len({variable})")
            case Mapped(bounds=bounds):
                if self._decoding:
                    test = f"type({variable}) is not dict"
                else:
                    self._names["Mapping"] = Mapping
                    test = f"not isinstance({variable}, Mapping)"
                return test + _out_of_bounds(bounds, f"len({variable})")
            case Nested():
                return f"type({variable}) is not dict"


def _out_of_bounds(bounds: Bounds | None, measure: str) -> str:
    return "" if bounds is None else f" or not {bounds.low} <= {measure} <= {bounds.high}"

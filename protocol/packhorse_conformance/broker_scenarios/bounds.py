"""Every field of every request at its bounds and over them, as the tables of SPEC.md say."""

import secrets
from collections.abc import Callable, Iterator
from typing import Any

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site
from packhorse_conformance.values import Message
from packhorse_conformance.verdict import expect
from packhorse_protocol.fields import Bounds
from packhorse_protocol.messages import CLIENT_MESSAGES, NewJob
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

REQUESTS = {tag: record for tag, record in CLIENT_MESSAGES.items() if tag not in ("hello", "beat")}

NOBODY = f"nobody-{secrets.token_hex(6)}"
"""A name that no job, type or group has."""

BY_NAME = frozenset({"cancel", "retry", "run_now", "remove", "claim", "handle", "handled"})
"""Requests that change what they name: they are given names of nobody alone."""

MOST_BYTES = 70_000
"""Longer values are not tried: a frame may be too small for them."""

CHANGING = frozenset({"create", "configure", "publish", "bye"})
"""Requests that would make something, or leave."""

MORE_THAN_BOUNDS = frozenset({"unique_key", "cursor"})
"""Fields that are refused for other reasons: a key without its type, a cursor of no list."""

ALLOWED = frozenset({"too_many"})
"""What a request at its bounds may be refused with: `limits` may be lower."""


def example(shape: Shape) -> Any:
    """A value of a shape that changes nothing: its names are nobody's."""
    match shape:
        case Choice(values=values):
            return values[0]
        case Scalar(type=kind, bounds=None):
            return kind()
        case Scalar(type=kind, bounds=Bounds() as bounds):
            if bounds.printable:
                return NOBODY
            return bounds.low if kind is int else kind_of(kind, bounds.low)
        case Listing(item=item, bounds=bounds):
            return [example(item) for _ in range(bounds.low)]
        case Mapped():
            return {}
        case Nested(record=record):
            return least(record)


def kind_of(kind: type, length: int) -> Any:
    return "x" * length if kind is str else b"x" * length


def least(record: type) -> Message:
    """A record with its required fields alone."""
    return {field.name: example(field.shape) for field in fields_of(record) if field.required}


def over(shape: Shape) -> Iterator[tuple[str, Any]]:
    """Values that are just beyond what a shape allows, and what is wrong with each."""
    match shape:
        case Choice():
            yield "none of the choices", "no such choice"
        case Scalar(type=kind, bounds=Bounds() as bounds) if kind is int:
            yield "too small", bounds.low - 1
            if bounds.high < 2**63:
                yield "too large", bounds.high + 1
        case Scalar(type=kind, bounds=Bounds() as bounds):
            yield from _over_in_length(kind, bounds)
        case Listing(item=item, bounds=bounds):
            if bounds.low:
                yield "empty", []
            if bounds.high < 1_000:
                yield "too many", [example(item)] * (bounds.high + 1)
            yield "a wrong item", [no_value_of(item)]
        case Mapped(key=Scalar(), value=value, bounds=Bounds() as bounds):
            yield "a wrong value", {"a": no_value_of(value)}
            yield "an empty key", {"": example(value)}
            if bounds.high < 1_000:
                yield "too many", {f"k{n}": example(value) for n in range(bounds.high + 1)}


def _over_in_length(kind: type, bounds: Bounds) -> Iterator[tuple[str, Any]]:
    if bounds.low:
        yield "too short", kind_of(kind, bounds.low - 1)
    if bounds.high < MOST_BYTES:
        yield "too long", kind_of(kind, bounds.high + 1)
    if bounds.printable:
        yield "a control character", "a\x00b"
        yield "a control character of C1", "a\x9fb"
        yield "all blank", " \u3000 "


def no_value_of(shape: Shape) -> Any:
    """A value of another type than a shape's."""
    return [] if isinstance(shape, Nested | Mapped) else {}


def at(shape: Shape) -> Iterator[tuple[str, Any]]:
    """Values at the bounds of a shape."""
    match shape:
        case Choice(values=values):
            yield from ((value, value) for value in values)
        case Scalar(type=kind, bounds=Bounds() as bounds) if kind is int:
            yield "smallest", bounds.low
            yield "largest", bounds.high
        case Scalar(type=kind, bounds=Bounds() as bounds):
            yield "shortest", kind_of(kind, bounds.low)
            if bounds.high < MOST_BYTES:
                yield "longest", kind_of(kind, bounds.high)
            if kind is str and bounds.high < MOST_BYTES // 4:
                yield "longest in code points", "\U0001f600" * bounds.high
        case Listing(item=item, bounds=bounds) if bounds.high < 1_000:
            yield "longest", [example(item)] * bounds.high


Part = tuple[Field, str, Message]
"""A field, what is done to it, and a message in which that is so."""


def changed(record: type, change: Callable[[Field], Iterator[tuple[str, Any]]]) -> Iterator[Part]:
    """The least record with each field, and each within a field, changed in turn."""
    plain = least(record)
    for field in fields_of(record):
        for what, value in change(field):
            yield field, what, {**plain, field.name: value}
        listed = isinstance(field.shape, Listing)
        inner = field.shape.item if isinstance(field.shape, Listing) else field.shape
        if isinstance(inner, Nested):
            for within, what, part in changed(inner.record, change):
                yield within, what, {**plain, field.name: [part] if listed else part}


def without(record: type) -> Iterator[Part]:
    """The least record without each of its required fields, and of those within, in turn."""
    plain = least(record)
    for field in fields_of(record):
        if field.required:
            rest = {key: value for key, value in plain.items() if key != field.name}
            yield field, "missing", rest
        inner = field.shape.item if isinstance(field.shape, Listing) else field.shape
        if isinstance(inner, Nested):
            for within, what, part in without(inner.record):
                whole = [part] if isinstance(field.shape, Listing) else part
                yield within, what, {**plain, field.name: whole}


async def _refuses(site: Site, parts_of: Callable[[type], Iterator[Part]]) -> None:
    """That each of these requests is `malformed`, and the path names the field."""
    wire = await site.client()
    for tag, record in REQUESTS.items():
        for number, (field, what, message) in enumerate(parts_of(record), start=1):
            if field is fields_of(record)[0]:
                continue  # the request's id, without which no answer can be found: see frames.py
            wire.send({"t": tag, **message, "id": number})
            about = f"`{tag}` whose `{field.name}` is {what}"
            answer = await wire.answer(number)
            refused = answer["t"] == "error" and answer["code"] == "malformed"
            expect(refused, f"`malformed` for {about}", answer)
            path = answer.get("details", {}).get("path", "")
            expect(field.name in path, f"`{field.name}` in `details.path` for {about}", answer)


@scenario("5")
async def refuses_what_is_out_of_bounds(site: Site) -> None:
    """A value over a bound of the tables is `malformed`, and the path names its field."""
    await _refuses(site, lambda record: changed(record, lambda field: over(field.shape)))


@scenario("5")
async def refuses_wrong_types(site: Site) -> None:
    """A value of another type than the table's is `malformed`, and the path names its field."""

    def wrong(field: Field) -> Iterator[tuple[str, Any]]:
        yield "of a wrong type", no_value_of(field.shape)
        yield "a float", 1.0
        if field.required or not field.nullable:
            yield "nil", None

    await _refuses(site, lambda record: changed(record, wrong))


@scenario("5")
async def refuses_what_lacks_a_key(site: Site) -> None:
    """A message without a required key is `malformed`, and the path names the key."""
    await _refuses(site, without)


@scenario("5")
async def takes_what_is_at_its_bounds(site: Site) -> None:
    """Values at the bounds of the tables are not malformed: the jobs that are named are not."""
    wire = await site.client()
    for tag, record in REQUESTS.items():
        if tag in CHANGING:
            continue
        parts = changed(record, lambda field: at(field.shape))
        for number, (field, what, message) in enumerate(parts, start=1):
            if field is fields_of(record)[0] or field.name in MORE_THAN_BOUNDS:
                continue
            if tag in BY_NAME and field.name in ("jobs", "group"):
                continue
            wire.send({"t": tag, **message, "id": number})
            answer = await wire.answer(number)
            about = f"`{tag}` whose `{field.name}` is {what}"
            fine = answer["t"] == "ok" or answer["code"] in ALLOWED
            expect(fine, f"no refusal as malformed of {about}", answer)


@scenario("9")
async def takes_jobs_at_their_bounds(site: Site) -> None:
    """A NewJob with any field at its bounds is created."""
    wire = await site.client()
    parts = changed(NewJob, lambda field: at(field.shape))
    for number, (field, what, message) in enumerate(parts):
        if field.name in ("type", "id", "durability", "scope"):
            continue
        new = {**message, "type": site.type(f"bound-{number}")}
        [entry] = await site.create(wire, new)
        expect("job" in entry, f"a job whose `{field.name}` is {what}", entry)

"""Random valid messages, from the same shapes that the codec is compiled from."""

from typing import Any

from hypothesis import strategies as st

from packhorse_protocol import RESULTS, Ok, Problem, Request
from packhorse_protocol.fields import Bounds
from packhorse_protocol.records import replace
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

MOST_ITEMS = 4
"""Items of a random array or map: what matters is their kinds, not their number."""

MOST_LENGTH = 200
"""Length of a random text or binary, beside the bounds themselves."""


def records(record: type) -> st.SearchStrategy[Any]:
    """Any value of a record that the wire allows."""
    parts = {field.name: _values(field) for field in fields_of(record)}
    return st.fixed_dictionaries(parts).map(lambda values: record(**values))


def replies(request: Request) -> st.SearchStrategy[Ok]:
    """Any answer to a request with one item."""
    entries = st.one_of(records(RESULTS[type(request)]), records(Problem))
    return st.tuples(entries).map(lambda results: Ok(id=request.id, results=results))


def with_id(message: Any, request_id: int) -> Any:
    """The message as a request with this id."""
    return replace(message, id=request_id)


def _values(field: Field) -> st.SearchStrategy[Any]:
    values = _of(field.shape)
    if field.required:
        return values
    return st.one_of(st.just(field.default), values)


def _of(shape: Shape) -> st.SearchStrategy[Any]:
    match shape:
        case Scalar(type=kind, bounds=bounds):
            return st.booleans() if bounds is None else _scalars(kind, bounds)
        case Choice(values=values):
            return st.sampled_from(values)
        case Listing(item=item, bounds=bounds):
            high = min(bounds.high, bounds.low + MOST_ITEMS)
            return st.lists(_of(item), min_size=bounds.low, max_size=high).map(tuple)
        case Mapped(key=key, value=value):
            return st.dictionaries(_of(key), _of(value), max_size=MOST_ITEMS)
        case Nested(record=record):
            return records(record)


def _scalars(kind: type, bounds: Bounds) -> st.SearchStrategy[Any]:
    if kind is int:
        return st.integers(bounds.low, bounds.high)
    high = min(bounds.high, max(bounds.low, MOST_LENGTH))
    if kind is bytes:
        return st.binary(min_size=bounds.low, max_size=high)
    if not bounds.printable:
        return st.text(min_size=bounds.low, max_size=high)
    alphabet = st.characters(exclude_categories=("Cc", "Cs"))
    names = st.text(alphabet, min_size=bounds.low, max_size=high)
    return names.filter(lambda name: not name.isspace())

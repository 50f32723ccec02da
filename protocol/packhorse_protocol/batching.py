"""Large batches cut to what one frame may hold: for a sender that met `FrameTooLarge`."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias, TypeVar

from packhorse_protocol.codec import Size, part_size
from packhorse_protocol.errors import Code, FrameTooLarge, LocalProtocolError
from packhorse_protocol.limits import MAX_ELEMENTS
from packhorse_protocol.messages import (
    Cancellation,
    Cancelling,
    Claim,
    Claims,
    Event,
    Events,
    Ok,
    Outcome,
    Outcomes,
    Revocation,
    Revoke,
)
from packhorse_protocol.parts import Problem
from packhorse_protocol.records import replace

Push: TypeAlias = Claims | Outcomes | Revoke | Cancelling | Events
"""Batches that the broker makes by itself, so it may cut them as it likes."""

PushItem: TypeAlias = Claim | Outcome | Revocation | Cancellation | Event

Item = TypeVar("Item", Claim, Outcome, Revocation, Cancellation, Event)

ENVELOPE: Final = Size(bytes=64, elements=3)
"""More than a message's map takes beside the items: tag, id, key of the array, lengths."""

NO_ROOM: Final = Problem(
    code=Code.TOO_LARGE, message="the reply has no room for it: ask for fewer at once"
)
"""Stands in a reply for a result that would have made its frame too large."""


class Unsent(NamedTuple):
    """An item of a push that no frame can hold, and why not."""

    item: PushItem
    error: LocalProtocolError


class Split(NamedTuple):
    """A push cut to frames, without the items that none can hold."""

    parts: list[Push]
    left_out: list[Unsent]


def split(push: Push, limit_bytes: int) -> Split:
    """The push as several, in order, each of which fits into a frame of `limit_bytes`.

    For a sender whose push was refused as `LocalProtocolError`: an item that is too large by
    itself, or holds what the wire does not allow, is left out and keeps no other one back.
    """
    left_out: list[Unsent] = []
    return Split(_parts(push, limit_bytes, left_out), left_out)


def _parts(push: Push, limit_bytes: int, left_out: list[Unsent]) -> list[Push]:
    match push:
        case Claims(claims=claims):
            return [Claims(claims=part) for part in _packed(claims, limit_bytes, left_out)]
        case Outcomes(outcomes=outcomes):
            return [Outcomes(outcomes=part) for part in _packed(outcomes, limit_bytes, left_out)]
        case Revoke(claims=revoked):
            return [Revoke(claims=part) for part in _packed(revoked, limit_bytes, left_out)]
        case Cancelling(claims=cancelled):
            return [Cancelling(claims=part) for part in _packed(cancelled, limit_bytes, left_out)]
        case Events(events=events):
            return [Events(events=part) for part in _packed(events, limit_bytes, left_out)]


def fit(reply: Ok, limit_bytes: int) -> Ok:
    """The reply with results replaced by `NO_ROOM`, so that it fits into `limit_bytes`.

    Results are kept in order while there is room for them and for a refusal of each later one.
    """
    problem = _in_array(part_size(NO_ROOM))
    # A refusal is the value in a map of one entry.
    refusal = Size(problem.bytes + ENVELOPE.bytes, problem.elements + 1)
    entries = len(reply.results)
    left_bytes = limit_bytes - ENVELOPE.bytes - entries * refusal.bytes
    left_elements = MAX_ELEMENTS - ENVELOPE.elements - entries * refusal.elements
    results: list[object] = []
    for entry in reply.results:
        size = _in_array(part_size(entry))
        more_bytes = size.bytes - refusal.bytes
        more_elements = size.elements - refusal.elements
        if more_bytes <= left_bytes and more_elements <= left_elements:
            left_bytes -= max(more_bytes, 0)
            left_elements -= max(more_elements, 0)
            results.append(entry)
        else:
            results.append(NO_ROOM)
    return replace(reply, results=tuple(results))


def _packed(
    items: Iterable[Item], limit_bytes: int, left_out: list[Unsent]
) -> Iterator[tuple[Item, ...]]:
    """Runs of items, each as long as fits."""
    room = Size(limit_bytes - ENVELOPE.bytes, MAX_ELEMENTS - ENVELOPE.elements)
    run: list[Item] = []
    left = room
    for item in items:
        try:
            size = _of_item(item, room, limit_bytes)
        except LocalProtocolError as error:
            left_out.append(Unsent(item, error))
            continue
        if size.bytes > left.bytes or size.elements > left.elements:
            yield tuple(run)
            run = []
            left = room
        run.append(item)
        left = Size(left.bytes - size.bytes, left.elements - size.elements)
    if run:
        yield tuple(run)


def _of_item(item: PushItem, room: Size, limit_bytes: int) -> Size:
    """What it takes in its array. Raises LocalProtocolError where it can't be sent at all."""
    size = _in_array(part_size(item))
    if size.bytes > room.bytes or size.elements > room.elements:
        raise FrameTooLarge(
            size_bytes=size.bytes + ENVELOPE.bytes,
            limit_bytes=limit_bytes,
            elements=size.elements + ENVELOPE.elements,
        )
    return size


def _in_array(size: Size) -> Size:
    """What a part takes together with its place in the array."""
    return size._replace(elements=size.elements + 1)

"""Large batches cut to what one frame may hold: for a sender that met `FrameTooLarge`."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, TypeAlias, TypeVar

from packhorse_protocol.codec import part_bytes
from packhorse_protocol.errors import Code, FrameTooLarge
from packhorse_protocol.messages import Claims, Events, Ok, Outcomes, Revoke
from packhorse_protocol.parts import Problem

Push: TypeAlias = Claims | Outcomes | Revoke | Events
"""Batches that the broker makes by itself, so it may cut them as it likes."""

Item = TypeVar("Item")

ENVELOPE_BYTES: Final = 64
"""More than a message's map takes beside the items: tag, id, key of the array, lengths."""

NO_ROOM: Final = Problem(
    code=Code.TOO_LARGE, message="the reply has no room for it: ask for fewer at once"
)
"""Stands in a reply for a result that would have made its frame too large."""


def split(push: Push, limit_bytes: int) -> list[Push]:
    """The push as several, in order, each of which fits into a frame of `limit_bytes`.

    Raises `FrameTooLarge` if one item alone does not fit.
    """
    match push:
        case Claims(claims=claims):
            return [Claims(claims=part) for part in _packed(claims, limit_bytes)]
        case Outcomes(outcomes=outcomes):
            return [Outcomes(outcomes=part) for part in _packed(outcomes, limit_bytes)]
        case Revoke(claims=revoked):
            return [Revoke(claims=part) for part in _packed(revoked, limit_bytes)]
        case Events(events=events):
            return [Events(events=part) for part in _packed(events, limit_bytes)]


def fit(reply: Ok, limit_bytes: int) -> Ok:
    """The reply with results replaced by `NO_ROOM`, so that it fits into `limit_bytes`.

    Results are kept in order while there is room for them and for a refusal of each later one.
    """
    refusal_bytes = part_bytes(NO_ROOM) + ENVELOPE_BYTES
    left = limit_bytes - ENVELOPE_BYTES - refusal_bytes * len(reply.results)
    results: list[object] = []
    for entry in reply.results:
        more = part_bytes(entry) - refusal_bytes
        if more <= left:
            left -= max(more, 0)
            results.append(entry)
        else:
            results.append(NO_ROOM)
    return replace(reply, results=tuple(results))


def _packed(items: Iterable[Item], limit_bytes: int) -> Iterable[tuple[Item, ...]]:
    """Runs of items, each as long as fits."""
    room = limit_bytes - ENVELOPE_BYTES
    run: list[Item] = []
    left = room
    for item in items:
        size = part_bytes(item)
        if size > room:
            raise FrameTooLarge(size_bytes=size + ENVELOPE_BYTES, limit_bytes=limit_bytes)
        if size > left:
            yield tuple(run)
            run, left = [], room
        run.append(item)
        left -= size
    yield tuple(run)

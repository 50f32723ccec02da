"""What waits to be pushed to one client: how events of a job are merged, and how much of it goes
into one push."""

from collections import deque
from collections.abc import Callable
from itertools import accumulate, takewhile
from typing import Final, TypeAlias, TypeVar

from packhorse_protocol.messages import (
    Cancellation,
    Cancelling,
    Claim,
    Claims,
    Event,
    Events,
    LogEntry,
    Outcome,
    Outcomes,
    Revocation,
    Revoke,
)
from packhorse_protocol.records import replace

Push: TypeAlias = Claims | Cancelling | Revoke | Outcomes | Events

MAX_HELD_BACK_LOG: Final = 100
"""Log entries of one job held back for a slow watcher; older ones are read by offset instead."""

PUSH_BYTES: Final = 256 * 1024
"""About so much goes into one push; an item that is larger goes alone."""

ITEM_BYTES: Final = 256
"""What an item of a push takes beside its payload, result or text, roughly."""

Item = TypeVar("Item")


def merged(held_back: Event, event: Event) -> Event:
    """Two events of one job as one: the newest state and progress, all logs up to a bound."""
    log: tuple[LogEntry, ...] = (*held_back.log, *event.log)[-MAX_HELD_BACK_LOG:]
    return Event(
        job=event.job,
        version=max(held_back.version, event.version),
        state=event.state or held_back.state,
        progress=event.progress or held_back.progress,
        log=log,
        removed=held_back.removed or event.removed,
    )


def with_newest_log(event: Event) -> Event:
    return replace(event, log=event.log[-1:])


def one_push(waiting: deque[Item], size_of: Callable[[Item], int]) -> tuple[Item, ...]:
    """Takes the first out, and those after it as far as they fit into a push."""
    sizes = accumulate(map(size_of, waiting))
    fitting = max(1, sum(1 for _ in takewhile(PUSH_BYTES.__ge__, sizes)))
    return tuple([waiting.popleft() for _ in range(fitting)])


def claim_bytes(claim: Claim) -> int:
    return ITEM_BYTES + len(claim.payload)


def cancellation_bytes(cancellation: Cancellation) -> int:
    return ITEM_BYTES + len(cancellation.why)


def revocation_bytes(_: Revocation) -> int:
    return ITEM_BYTES


def outcome_bytes(outcome: Outcome) -> int:
    return ITEM_BYTES + len(outcome.result or b"")


def event_bytes(event: Event) -> int:
    return ITEM_BYTES + log_bytes(event)


def log_bytes(event: Event) -> int:
    return sum(ITEM_BYTES + len(entry.message) for entry in event.log)

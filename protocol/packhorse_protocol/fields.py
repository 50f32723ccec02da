"""Field types of the messages: a Python type with the bounds that the wire enforces.

A field is `Annotated[type, bounds]`; `codec.py` compiles each message's annotations into its
validator, and the published schema is generated from them, so a bound is written down once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from packhorse_protocol import limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Inclusive bounds: of a number's value, else of a length.

    The length is in code points for text, bytes for binary, entries for lists and maps.
    `printable` refuses control characters (Unicode category Cc) and empty-looking names.
    """

    low: int
    high: int
    printable: bool = False


_MAX_INT = 2**63 - 1

Name: TypeAlias = Annotated[str, Bounds(low=1, high=limits.MAX_NAME_CHARS, printable=True)]
"""A job id, job type, key, client id: 1 to 128 code points, no control characters."""

Text: TypeAlias = Annotated[str, Bounds(low=0, high=limits.MAX_TEXT_CHARS)]
"""A short text for people."""

LongText: TypeAlias = Annotated[str, Bounds(low=0, high=limits.MAX_TRACEBACK_CHARS)]
"""A traceback or a log message; the broker's own, lower bounds are told in the welcome."""

Blob: TypeAlias = Annotated[bytes, Bounds(low=0, high=limits.MAX_FRAME_BYTES)]
"""Bytes that the broker never looks into: a payload or a result."""

Secret: TypeAlias = Annotated[
    bytes, Bounds(low=limits.MIN_SECRET_BYTES, high=limits.MAX_SECRET_BYTES)
]
Token: TypeAlias = Annotated[bytes, Bounds(low=limits.TOKEN_BYTES, high=limits.TOKEN_BYTES)]

RequestId: TypeAlias = Annotated[int, Bounds(low=1, high=_MAX_INT)]
"""Chosen by the client; unique among its unanswered requests."""

Count: TypeAlias = Annotated[int, Bounds(low=0, high=_MAX_INT)]
TimeMs: TypeAlias = Annotated[int, Bounds(low=0, high=_MAX_INT)]
"""Milliseconds since the Unix epoch, UTC, the store's clock."""

DueMs: TypeAlias = Annotated[int, Bounds(low=0, high=limits.MAX_DUE_MS)]
"""A moment to come, in milliseconds since the Unix epoch."""

DurationMs: TypeAlias = Annotated[int, Bounds(low=0, high=_MAX_INT)]
DelayMs: TypeAlias = Annotated[int, Bounds(low=0, high=limits.MAX_DURATION_MS)]
"""How long to wait for something to be due."""
LimitMs: TypeAlias = Annotated[int, Bounds(low=1, high=limits.MAX_DURATION_MS)]
"""How long something may take at most."""
Percent: TypeAlias = Annotated[int, Bounds(low=0, high=100)]
"""Progress as a whole number."""

Priority: TypeAlias = Annotated[int, Bounds(low=-limits.MAX_PRIORITY, high=limits.MAX_PRIORITY)]
"""Higher is served first."""

Label: TypeAlias = Annotated[str, Bounds(low=1, high=limits.MAX_LABEL_CHARS, printable=True)]
"""A small tag by which jobs are found."""

FactorPercent: TypeAlias = Annotated[int, Bounds(low=100, high=10_000)]
"""A factor in hundredths: 200 doubles."""

Attempts: TypeAlias = Annotated[int, Bounds(low=1, high=1_000)]
Credit: TypeAlias = Annotated[int, Bounds(low=0, high=100_000)]
"""How many claims a runner has room for, in all or of one type."""

PageLimit: TypeAlias = Annotated[int, Bounds(low=1, high=1_000)]
"""Most entries of one page."""

Weight: TypeAlias = Annotated[int, Bounds(low=1, high=1_000)]
"""A share in proportion to the other weights."""

HeaderValue: TypeAlias = Annotated[str, Bounds(low=0, high=limits.MAX_HEADER_VALUE_CHARS)]
Headers: TypeAlias = Annotated[Mapping[Name, HeaderValue], Bounds(low=0, high=limits.MAX_HEADERS)]
"""A small map carried untouched beside the payload."""

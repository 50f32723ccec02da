"""What the creator of a job may ask for beyond the plain: its terms."""

from enum import IntEnum
from typing import Final

from msgspec import Struct


class Growth(IntEnum):
    """How the wait between attempts grows with their number."""

    FIXED = 1
    LINEAR = 2
    EXPONENTIAL = 3
    LIST = 4


class Jitter(IntEnum):
    """How the wait between attempts is spread at random."""

    NONE = 0
    FULL = 1
    """From nothing to the whole wait."""
    EQUAL = 2
    """From half of the wait to the whole."""
    SHARE = 3
    """A share of the wait more or less."""


class Backoff(Struct, frozen=True, array_like=True):
    """How long a job waits between two attempts."""

    growth: Growth
    delay_ms: int = 0
    factor_percent: int = 200
    """Of an exponential one: each wait in hundredths of the one before."""
    delays_ms: tuple[int, ...] = ()
    """Of a list: the wait after each attempt; the last one goes on."""
    max_ms: int = 0
    """The longest wait before jitter; 0: no bound."""
    jitter: Jitter = Jitter.NONE
    jitter_percent: int = 0


class Scope(IntEnum):
    """How long a job holds its unique key."""

    UNTIL_STARTED = 1
    UNTIL_FINISHED = 2
    WINDOW = 3


class Unique(Struct, frozen=True, array_like=True):
    """The key that no other job of this type may hold at the same time."""

    key: str
    scope: Scope
    window_ms: int = 0


class Terms(Struct, frozen=True, array_like=True):
    """What the creator asked for beyond the plain; only a replacement changes it. 0: no such
    limit."""

    priority: int = 0
    """Higher is served first."""
    backoff: Backoff | None = None
    idle_ms: int = 0
    """Bounds each wait in QUEUED."""
    run_ms: int = 0
    """Bounds each attempt."""
    total_ms: int = 0
    """Bounds the whole life from the moment when the job could first run."""
    lost_limit: int | None = None
    """So many lost runners set the job aside; None: the broker's own limit, 0: none."""
    labels: tuple[str, ...] = ()
    unique: Unique | None = None
    keep_ms: int | None = None
    """How long it is kept after its end where nobody handles it; None: the type's retention."""
    durability: int = 0
    """What has to be before a change of the job is answered (store/durability.py); 0: what the
    broker waits for."""


PLAIN_TERMS: Final = Terms()
"""Of a job that asks for nothing more."""

"""What a job is: its record, its states, and the words for how things end."""

from enum import IntEnum, StrEnum
from typing import Literal

from msgspec import Struct


class State(IntEnum):
    """The states of a job; the numbers are what records in the store hold."""

    QUEUED = 1
    STARTED = 2
    COMPLETE = 3
    FAILED = 4

    @property
    def finished(self) -> bool:
        return self is State.COMPLETE or self is State.FAILED


class Reason(IntEnum):
    """Why a job is FAILED."""

    FAILED = 1
    """Its runner said so."""
    RUNNER_TIMEOUT = 2
    """The runner's client timed out or left."""


class End(IntEnum):
    """How the newest attempt ended: what a repeated command is compared with."""

    NONE = 0
    COMPLETED = 1
    FAILED = 2
    RELEASED = 3
    LOST = 4
    TAKEN_BACK = 5


class Progress(Struct, frozen=True, array_like=True):
    percent: int
    """0 to 100."""
    text: str


class LogEntry(Struct, frozen=True):
    """A line of a job's log; `offset` counts from 0 over the job's life."""

    offset: int
    time_ms: int
    attempt: int
    type: Literal["log", "progress"]
    message: str
    percent: int | None = None


class Job(Struct, frozen=True):
    """A job's record: everything that a decision depends on.

    Times are milliseconds since the epoch by the store's clock, 0 where it has not happened.
    The order of the fields is the layout of the stored record: fields are only ever added, at
    the end and with a default, so that an older record is a shorter one.
    """

    id: str
    type: str
    state: State
    version: int
    """Grows by one with each change."""
    order: int
    """Place in its type's queue: smaller is served first (microseconds when it was queued)."""
    attempts: int = 1
    """How often the job may be tried in all."""
    current_attempt: int = 0
    """The attempt that runs or ran last, from 1; 0 before the first."""
    persistent: bool = False
    """Stays when its last handler has handled it."""
    runner: str | None = None
    """The client that holds the job while STARTED; afterwards the one that held it last."""
    token: bytes | None = None
    """Of the newest claim: 8 bytes `fence`, big-endian, and 8 random bytes."""
    fence: int = 0
    """How often the job has been claimed."""
    end: End = End.NONE
    """How the newest claim ended, NONE while it is held."""
    handlers: tuple[str, ...] = ()
    """Clients that are still to handle the outcome."""
    key: str | None = None
    created_by: str | None = None
    created_at: int = 0
    queued_at: int = 0
    started_at: int = 0
    finished_at: int = 0
    expires_at: int = 0
    """When retention removes the job; 0: it does not."""
    failed: int = 0
    """Attempts that ended because the runner said so."""
    lost: int = 0
    """Attempts whose runner went away."""
    released: int = 0
    """Claims given back, which cost no attempt."""
    progress: Progress | None = None
    log_first: int = 0
    """Offset of the oldest entry kept."""
    log_end: int = 0
    """Offset that the next entry gets."""
    reason: Reason | None = None
    fingerprint: bytes | None = None
    """Digest of the content that the creator gave, where it also chose the id."""
    body: bytes | None = None
    """Payload and headers, opaque here; None where the store keeps them apart."""
    body_bytes: int = 0
    """Size of a body kept apart."""
    outcome: bytes | None = None
    """Result or error of a finished job, opaque here; None where kept apart or not finished."""

    @property
    def outcome_apart(self) -> bool:
        """Whether the outcome is not in this record: all ends have one but a lost runner's."""
        return self.outcome is None and self.state.finished and self.end is not End.LOST


class Rules(Struct, frozen=True):
    """The broker's settings that decisions depend on."""

    failed_retention_ms: int
    max_log_entries: int


class Now(Struct, frozen=True):
    """The moment of a decision: the store's time, and the place that a job queued now gets."""

    ms: int
    order: int


class RefusalCode(StrEnum):
    """Why a command was refused; the wire has the same words."""

    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    STALE_CLAIM = "stale_claim"
    WRONG_STATE = "wrong_state"
    NOT_HANDLER = "not_handler"
    TOO_MANY = "too_many"


class Refusal(Struct, frozen=True):
    """The command changes nothing."""

    code: RefusalCode
    message: str
    state: State | None = None


class Applied(Struct, frozen=True):
    """What a command makes of a job.

    `job` is the record afterwards, or the last one if `removed`. Where `job is before` nothing
    has to be written: the command was a repetition.
    """

    before: Job | None
    job: Job
    removed: bool = False
    entries: tuple[LogEntry, ...] = ()

    @property
    def changed(self) -> bool:
        return self.removed or self.job is not self.before


Decision = Applied | Refusal

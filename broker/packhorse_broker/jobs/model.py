"""What a job is: its record, its states, and the words for how things end.

Records that are made for every command hold nothing that leads back to them: the garbage collector
need not look at them (`gc=False`).
"""

from enum import IntEnum, StrEnum
from typing import Final, Literal

from msgspec import Struct

from packhorse_broker.jobs.terms import Terms


class State(IntEnum):
    """The states of a job; the numbers are what records in the store hold."""

    QUEUED = 1
    STARTED = 2
    COMPLETE = 3
    FAILED = 4
    PENDING = 5

    @property
    def finished(self) -> bool:
        return self is State.COMPLETE or self is State.FAILED


class Reason(IntEnum):
    """Why a job is FAILED."""

    FAILED = 1
    """Its runner said so."""
    RUNNER_TIMEOUT = 2
    """The runner's client timed out or left."""
    JOB_TIMEOUT = 3
    """One of its timeouts ended it; `Course.expired` tells which."""
    CANCELLED = 4
    """Somebody asked for it."""


class Expired(IntEnum):
    """Which of a job's timeouts has ended it or its newest attempt."""

    NONE = 0
    IDLE = 1
    RUN = 2
    TOTAL = 3


class End(IntEnum):
    """How the newest attempt ended: what a repeated command is compared with."""

    NONE = 0
    COMPLETED = 1
    FAILED = 2
    RELEASED = 3
    LOST = 4
    TAKEN_BACK = 5
    TIMED_OUT = 6
    CANCELLED = 7
    """The grace time of a cancel request was over."""


class Progress(Struct, frozen=True, array_like=True):
    percent: int
    """0 to 100."""
    text: str


class LogEntry(Struct, frozen=True):
    """A line of a job's log; `offset` counts from 0 over the job's life."""

    offset: int
    time_ms: int
    attempt: int
    type: Literal["log", "progress", "action"]
    message: str
    percent: int | None = None
    by: str | None = None
    """Of an action by hand: the client that did it."""


class AttemptRecord(Struct, frozen=True):
    """An attempt that has ended without completing the job. Fields are only added, at the end."""

    attempt: int
    runner: str
    started_at: int
    finished_at: int
    end: End
    expired: Expired = Expired.NONE
    error: bytes | None = None
    """Opaque, as the runner told it."""
    next_at: int = 0
    """When the job was to be tried again; 0: at once, or never."""


class CancelRequest(Struct, frozen=True, array_like=True):
    """A running job is to be cancelled; at `until` its claim is taken away."""

    by: str
    at: int
    until: int
    why: str = ""


class Replacement(Struct, frozen=True, array_like=True):
    """The create that gave a job its content, where that was not the one that made the job."""

    id: str
    """The id that was chosen for a job of its own."""
    fingerprint: bytes


class Course(Struct, frozen=True, array_like=True):
    """What has become of a job beyond the plain. Times in ms since the epoch, 0: none."""

    delayed_until: int = 0
    """While PENDING: when it is queued."""
    run_until: int = 0
    """While STARTED: when its run timeout is over."""
    total_until: int = 0
    """When its total timeout is over; set when it could first run."""
    timed_out: int = 0
    """Attempts that a timeout ended."""
    expired: Expired = Expired.NONE
    cancel: CancelRequest | None = None
    groups: tuple[str, ...] = ()
    """Groups of handlers that are still to handle the outcome."""
    pardoned: int = 0
    """Lost runners that no longer count towards the limit, since it was retried by hand."""
    retried: int = 0
    """How often it was retried by hand."""
    replaced_by: Replacement | None = None
    """None: the content is that of its creator, or of a create that chose no id."""
    taken_back: int = 0
    """Of the claims given back, those that no runner has learnt of."""
    cut_off: int = 0
    """Attempts that the end of a cancel request's grace time ended."""


class LogTail(Struct, frozen=True, array_like=True):
    """The size of a job's log, by which the oldest entries are dropped."""

    size_bytes: int = 0
    """Messages in all entries since the first one."""
    dropped_bytes: int = 0
    """Of those, in entries that are no longer kept."""
    marks: tuple[tuple[int, int], ...] = ()
    """Places at which entries may be dropped: an offset, and the bytes before it."""


PLAIN_COURSE: Final = Course()


class Job(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
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
    outcome_bytes: int = 0
    """Size of an outcome kept apart."""
    terms: Terms | None = None
    """None: all plain."""
    course: Course | None = None
    """None: all plain."""
    log_tail: LogTail | None = None
    """None: no log, or one of a record from before logs were bounded by bytes."""

    @property
    def outcome_apart(self) -> bool:
        """Whether the outcome is not in this record."""
        return self.outcome is None and self.outcome_bytes > 0

    @property
    def priority(self) -> int:
        return self.terms.priority if self.terms is not None else 0

    @property
    def delayed_until(self) -> int:
        return self.course.delayed_until if self.course is not None else 0

    @property
    def groups(self) -> tuple[str, ...]:
        return self.course.groups if self.course is not None else ()

    @property
    def awaited(self) -> bool:
        """Whether a handler or a group is still to handle the outcome."""
        return bool(self.handlers or (self.course is not None and self.course.groups))

    @property
    def cancel(self) -> CancelRequest | None:
        return self.course.cancel if self.course is not None else None

    @property
    def ended_attempts(self) -> int:
        """How many attempts have left a record: all that ended without completing the job."""
        course = self.course or PLAIN_COURSE
        given_back = self.released - course.taken_back
        return self.failed + self.lost + given_back + course.timed_out + course.cut_off

    @property
    def attempt_records(self) -> bool:
        """Whether the store may keep records of ended attempts."""
        if self.failed or self.lost or self.released:
            return True
        course = self.course
        if course is None:
            return False
        return bool(course.timed_out or course.retried) or self.end is End.CANCELLED


class Retention(Struct, frozen=True):
    """How long finished jobs that nobody handles are kept; 0: not at all."""

    complete_ms: int = 0
    failed_ms: int = 0


class Rules(Struct, frozen=True):
    """The broker's and the type's settings that decisions depend on."""

    retention: Retention
    max_log_entries: int
    max_log_bytes: int
    lost_limit: int
    """So many lost runners set a job aside, unless it has its own limit; 0: none."""
    cancel_grace_ms: int
    """How long a runner has to end a cancelled job, unless the request says otherwise."""


class Now(Struct, frozen=True, gc=False):
    """The moment of a decision."""

    ms: int
    """The store's time."""
    order: int
    """The place that a job queued now gets."""
    chance: float = 0.0
    """Drawn at random from 0 to below 1, for jitter."""


class RefusalCode(StrEnum):
    """Why a command was refused; the wire has the same words."""

    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    STALE_CLAIM = "stale_claim"
    WRONG_STATE = "wrong_state"
    NOT_HANDLER = "not_handler"
    TOO_MANY = "too_many"
    DUPLICATE = "duplicate"
    QUOTA = "quota"
    TYPE_DRAINING = "type_draining"


class Refusal(Struct, frozen=True, gc=False):
    """The command changes nothing."""

    code: RefusalCode
    message: str
    state: State | None = None
    job: str | None = None
    """Another job that is in the way: the holder of the unique key."""
    limit: int | None = None
    """The bound that would be exceeded."""
    paused: bool = False
    """Whether it is for a pause of the job's type."""


class ActionRecord(Struct, frozen=True):
    """Something that was done by hand. Fields are only added, at the end."""

    at: int
    action: str
    """`cancel`, `retry`, `run_now`, `remove`, `configure`, `publish`."""
    by: str
    """The client that did it."""
    why: str
    job: str | None = None
    type: str | None = None


class Applied(Struct, frozen=True, gc=False):
    """What a command makes of a job.

    `job` is the record afterwards, or the last one if `removed`. Where `job is before` nothing
    has to be written: the command was a repetition.
    """

    before: Job | None
    job: Job
    removed: bool = False
    entries: tuple[LogEntry, ...] = ()
    attempt: AttemptRecord | None = None
    """The attempt that this ended, unless it completed the job."""
    action: ActionRecord | None = None
    """Set if this was done by hand."""

    @property
    def changed(self) -> bool:
        return self.removed or self.job is not self.before


Decision = Applied | Refusal

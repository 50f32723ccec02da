"""What can be asked of a job: the left-hand sides of the state machine's table."""

from enum import IntEnum

from msgspec import Struct

from packhorse_broker.jobs.model import Progress, State
from packhorse_broker.jobs.outages import NO_OUTAGES, KnownOutages
from packhorse_broker.jobs.terms import Terms


class OnDuplicate(IntEnum):
    """What a create does that finds its unique key held."""

    REJECT = 0
    JOIN = 1
    REPLACE = 2


class Create(Struct, frozen=True, gc=False):
    """Brings the job into being: PENDING while it is delayed, else QUEUED.

    `body` is opaque; `fingerprint` only with a chosen id. It waits for `delay_ms`, or until
    `delay_until`, whichever is later.
    """

    id: str
    type: str
    body: bytes
    created_by: str
    key: str | None = None
    attempts: int = 1
    persistent: bool = False
    handler: str | None = None
    fingerprint: bytes | None = None
    group: str | None = None
    delay_ms: int = 0
    delay_until: int = 0
    terms: Terms | None = None
    on_duplicate: OnDuplicate = OnDuplicate.REJECT
    """What becomes of it if another job holds its unique key."""


class Replace(Struct, frozen=True, gc=False):
    """A job that has not started yet gets the content of `by`, which found its unique key held:
    body, terms, attempts, delay; it keeps its id, its hold on the key and its handlers, and `by`'s
    are added."""

    by: Create


class Claim(Struct, frozen=True, gc=False):
    """`client` becomes the runner. `nonce`: 8 random bytes for the claim's token."""

    client: str
    nonce: bytes


class Release(Struct, frozen=True, gc=False):
    client: str
    token: bytes


class TakeBack(Struct, frozen=True, gc=False):
    """The broker ends a claim that could not be brought to its runner: as if it were released."""

    client: str
    token: bytes


class ReportProgress(Struct, frozen=True, gc=False):
    client: str
    token: bytes
    progress: Progress


class WriteLog(Struct, frozen=True, gc=False):
    client: str
    token: bytes
    messages: tuple[str, ...]


class Complete(Struct, frozen=True, gc=False):
    """`outcome`: the result, opaque."""

    client: str
    token: bytes
    outcome: bytes


class Fail(Struct, frozen=True, gc=False):
    """`outcome`: the error, opaque. `retry` false ends the job although attempts remain;
    `retry_in_ms` is the wait until the next attempt, instead of the job's backoff."""

    client: str
    token: bytes
    outcome: bytes
    retry: bool = True
    retry_in_ms: int | None = None


class Extend(Struct, frozen=True, gc=False):
    """The attempt may run for `run_ms` from now on; the job's total timeout stays."""

    client: str
    token: bytes
    run_ms: int


class RunnerGone(Struct, frozen=True, gc=False):
    """`client` timed out or left: what it holds is lost."""

    client: str


class Handle(Struct, frozen=True, gc=False):
    """`client`, or instead of it `group`, becomes a handler."""

    client: str
    group: str | None = None


class Handled(Struct, frozen=True, gc=False):
    """`client`, or instead of it `group`, has dealt with the outcome."""

    client: str
    group: str | None = None


class HandlerGone(Struct, frozen=True, gc=False):
    """`client` timed out or left: nobody waits for it any more."""

    client: str


class Due(Struct, frozen=True, gc=False):
    """A time in the job's record has come, if it says so too: a delay, a timeout, its retention.

    `outages` do not count towards its timeouts."""

    outages: KnownOutages = NO_OUTAGES


class Evict(Struct, frozen=True, gc=False):
    """The job is one of the oldest finished ones of its type, and there are too many: it goes,
    unless somebody is still to handle it or it is persistent."""


class Cancel(Struct, frozen=True, gc=False):
    """A waiting job ends at once, a running one by its runner or after `grace_ms`; None: the
    broker's own grace time."""

    by: str
    grace_ms: int | None = None
    why: str = ""


class Retry(Struct, frozen=True, gc=False):
    """By hand: a FAILED job is queued again, with so many more attempts."""

    by: str
    attempts: int = 1
    why: str = ""


class RunNow(Struct, frozen=True, gc=False):
    """By hand: a PENDING job is queued at once."""

    by: str
    why: str = ""


class Remove(Struct, frozen=True, gc=False):
    """By hand, in any state, or only in one of `states`."""

    by: str = ""
    why: str = ""
    states: tuple[State, ...] = ()


Command = (
    Create
    | Claim
    | Release
    | TakeBack
    | ReportProgress
    | WriteLog
    | Complete
    | Fail
    | RunnerGone
    | Handle
    | Handled
    | HandlerGone
    | Due
    | Evict
    | Cancel
    | Retry
    | RunNow
    | Remove
    | Replace
    | Extend
)

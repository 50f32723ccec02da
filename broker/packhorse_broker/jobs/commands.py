"""What can be asked of a job: the left-hand sides of the state machine's table."""

from msgspec import Struct

from packhorse_broker.jobs.model import Progress


class Create(Struct, frozen=True):
    """Brings the job into being, QUEUED. `body` is opaque; `fingerprint` only with a chosen id."""

    id: str
    type: str
    body: bytes
    created_by: str
    key: str | None = None
    attempts: int = 1
    persistent: bool = False
    handler: str | None = None
    fingerprint: bytes | None = None


class Claim(Struct, frozen=True):
    """`client` becomes the runner. `nonce`: 8 random bytes for the claim's token."""

    client: str
    nonce: bytes


class Release(Struct, frozen=True):
    client: str
    token: bytes


class TakeBack(Struct, frozen=True):
    """The broker ends a claim that could not be brought to its runner: as if it were released."""

    client: str
    token: bytes


class ReportProgress(Struct, frozen=True):
    client: str
    token: bytes
    progress: Progress


class WriteLog(Struct, frozen=True):
    client: str
    token: bytes
    messages: tuple[str, ...]


class Complete(Struct, frozen=True):
    """`outcome`: the result, opaque."""

    client: str
    token: bytes
    outcome: bytes


class Fail(Struct, frozen=True):
    """`outcome`: the error, opaque. `retry` false ends the job although attempts remain."""

    client: str
    token: bytes
    outcome: bytes
    retry: bool = True


class RunnerGone(Struct, frozen=True):
    """`client` timed out or left: what it holds is lost."""

    client: str


class Handle(Struct, frozen=True):
    client: str


class Handled(Struct, frozen=True):
    client: str


class HandlerGone(Struct, frozen=True):
    """`client` timed out or left: nobody waits for it any more."""

    client: str


class Remove(Struct, frozen=True):
    """By hand, in any state."""


class Expire(Struct, frozen=True):
    """The job's retention has ended, if its record says so too."""


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
    | Remove
    | Expire
)

"""What brokers send: this module alone knows the tags of these."""

from typing import Annotated, Literal, TypeAlias

from packhorse_protocol.fields import (
    Bounds,
    Count,
    DurationMs,
    Headers,
    Name,
    RequestId,
    Secret,
    Text,
    TimeMs,
)
from packhorse_protocol.parts import (
    ROLES,
    Batch,
    Cancellation,
    Event,
    Items,
    Limits,
    Outcome,
    Revocation,
    Role,
)
from packhorse_protocol.results import Claim
from packhorse_protocol.tags import from_broker


@from_broker("welcome")
class Welcome:
    """`resumed` false with a secret sent: the former registration is gone, claims included."""

    version: Count
    client: Name
    secret: Secret
    resumed: bool
    roles: Annotated[tuple[Role, ...], Bounds(low=0, high=len(ROLES))]
    heartbeat_ms: DurationMs
    timeout_ms: DurationMs
    limits: Limits
    features: Items[Name]
    broker: Name
    store: Text
    now_ms: TimeMs
    library: Text = ""
    kept: Text = ""
    durability: Text = ""
    replicas: Count = 0
    registered_at: TimeMs = 0


@from_broker("beat")
class BrokerBeat:
    """A heartbeat, sent when nothing else was for the announced interval."""


@from_broker("ok")
class Ok:
    """Answers a request: one entry per item, each the request's result record or a `Problem`."""

    id: RequestId
    results: tuple[object, ...]
    durability: Literal["not_met"] | None = None


@from_broker("error")
class Refused:
    """Answers a request as a whole, or (without `id`) a frame that could not be read as one.

    `closing`: the broker closes the connection after this frame.
    """

    code: Text
    message: Text
    id: RequestId | None = None
    retryable: bool = False
    retry_after_ms: DurationMs | None = None
    details: Headers | None = None
    closing: bool = False


@from_broker("claims")
class Claims:
    """Jobs for this runner, within the credit it gave."""

    claims: Batch[Claim]


@from_broker("outcomes")
class Outcomes:
    """Outcomes that this client handles: repeated after each resume until it answers `handled`."""

    outcomes: Batch[Outcome]


@from_broker("revoke")
class Revoke:
    claims: Batch[Revocation]


@from_broker("cancelling")
class Cancelling:
    """Somebody asked for the jobs of these claims to be cancelled: end them soon, in any way.

    Repeated when the runner comes back. What fails or is given back after it is CANCELLED; what
    completes is COMPLETE.
    """

    claims: Batch[Cancellation]


@from_broker("events")
class Events:
    events: Batch[Event]


@from_broker("drain")
class Drain:
    """This broker is going away: finish or release, then reconnect (to another, or to it later)."""

    grace_ms: DurationMs


BrokerMessage: TypeAlias = (
    Welcome | BrokerBeat | Ok | Refused | Claims | Outcomes | Revoke | Cancelling | Events | Drain
)

"""What a creator says of a job."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Final, TypedDict, get_args

from packhorse.durations import Duration, milliseconds
from packhorse.errors import InvalidValue
from packhorse.ids import new_job_id
from packhorse.moments import Moment, epoch_ms
from packhorse.payload import NOTHING, pack_arguments
from packhorse.quickly_made import quickly_made
from packhorse.terms import Backoff, Unique, limit_ms
from packhorse_protocol.ids import TAG, unique_tag
from packhorse_protocol.limits import MAX_LABEL_CHARS, MAX_LABELS, MAX_PRIORITY
from packhorse_protocol.messages import Backoff as BackoffMessage
from packhorse_protocol.messages import NewJob as NewJobMessage
from packhorse_protocol.messages import Timeouts
from packhorse_protocol.messages import Unique as UniqueMessage
from packhorse_protocol.parts import Durability

MAX_LOST_LIMIT: Final = 1_000
"""No job has more attempts, so none can lose more runners."""


@quickly_made
@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to create: `NewJob("thumb", {"url": "cat.png"}, attempts=3, backoff="fixed:30s")`.

    `arguments` are packed with msgpack: a map is passed as keyword arguments, any other value
    as the one positional argument, none at all as no argument. Durations are written as people
    do (`"90s"`, `"1h30m"`), or numbers of seconds, or `timedelta`.
    """

    type: str
    """The name that routes it to those who can run it."""
    arguments: object = NOTHING
    _: KW_ONLY
    payload: bytes | None = None
    """Bytes to send as they are, instead of `arguments`."""
    job_id: str | None = None
    """An id of your own makes creating repeatable across programs; else one is made."""
    key: str | None = None
    """What the job is about: a tenant, a document."""
    headers: Mapping[str, str] | None = None
    """A small map carried untouched beside the payload."""
    labels: Sequence[str] = ()
    """Small tags by which it is found: `client.list(label="nightly")`. At most 16."""
    unique: Unique | str | None = None
    """A key that one job of the type has at a time; a text stands for `Unique(text)`."""

    delay: Duration | None = None
    """It waits PENDING for so long before it is queued."""
    delay_until: Moment | None = None
    """It waits PENDING until then: an aware `datetime` or milliseconds since the epoch."""
    priority: int = 0
    """-1000 to 1000: higher ones are served first, lower ones still get their share."""

    attempts: int = 1
    """How often it may be tried in all."""
    backoff: Backoff | str | None = None
    """The wait between two attempts, as `Backoff` or as text; none: at once."""
    lost_limit: int | None = None
    """After so many lost runners it is FAILED though attempts remain. 0: no limit."""
    idle_timeout: Duration | None = None
    """The longest wait in QUEUED."""
    run_timeout: Duration | None = None
    """The longest attempt, unless its runner extends it."""
    total_timeout: Duration | None = None
    """The longest life, from when it could first run."""

    persistent: bool = False
    """Whether it stays when its last handler has handled it."""
    keep: Duration | None = None
    """How long it is kept when it has ended and nobody handles it; else its type's retention."""
    durability: Durability | None = None
    """`disk` or `replicated`: what each of its changes has before it is answered, if the broker
    asks for less."""

    def message(self) -> NewJobMessage:
        """As it is sent. Raises `InvalidValue`, which names the argument, or `PayloadError`."""
        if not self._is_plain():
            return self._whole_message()
        return _plain_message(
            self.type,
            self.arguments,
            payload=self.payload,
            job_id=self.job_id,
            key=self.key,
            headers=self.headers,
            attempts=self.attempts,
            persistent=self.persistent,
        )

    def _is_plain(self) -> bool:
        """Whether no more is said of it than of most jobs: those are to be made quickly."""
        return (
            not self.labels
            and not self.priority
            and self.unique is None
            and self.delay is None
            and self.delay_until is None
            and self.backoff is None
            and self.lost_limit is None
            and self.idle_timeout is None
            and self.run_timeout is None
            and self.total_timeout is None
            and self.keep is None
            and self.durability is None
        )

    def _whole_message(self) -> NewJobMessage:
        unique = self._unique()
        return NewJobMessage(
            type=self.type,
            payload=_packed(self.arguments, self.payload),
            id=self._id(unique),
            key=self.key,
            headers=_headers(self.headers),
            labels=self._labels(),
            unique=unique,
            delay_ms=0 if self.delay is None else milliseconds(self.delay, "delay"),
            delay_until=_moment(self.delay_until, "delay_until"),
            priority=_bounded(self.priority, -MAX_PRIORITY, MAX_PRIORITY, "priority"),
            attempts=self.attempts,
            backoff=self._backoff(),
            lost_limit=_lost_limit(self.lost_limit),
            timeouts=self._timeouts(),
            persistent=self.persistent,
            keep_ms=None if self.keep is None else milliseconds(self.keep, "keep"),
            durability=self._durability(),
        )

    def _labels(self) -> tuple[str, ...]:
        if isinstance(self.labels, str):
            raise InvalidValue(f"labels: {self.labels!r} is one text: give a list of them")
        labels = tuple(dict.fromkeys(self.labels))
        if len(labels) > MAX_LABELS:
            raise InvalidValue(f"labels: {len(labels)} are too many: at most {MAX_LABELS}")
        for label in labels:
            if not isinstance(label, str):
                raise InvalidValue(f"labels: {label!r} is no text")
            if not 1 <= len(label) <= MAX_LABEL_CHARS:
                raise InvalidValue(
                    f"labels: {label!r} must have between 1 and {MAX_LABEL_CHARS} characters"
                )
        return labels

    def _id(self, unique: UniqueMessage | None) -> str:
        """In a store with partitions a job has to be where its unique key is: its id says so."""
        if self.job_id is not None:
            return self.job_id
        if unique is None:
            return new_job_id()
        return f"{new_job_id()}{TAG}{unique_tag(self.type, unique.key)}"

    def _unique(self) -> UniqueMessage | None:
        unique = Unique(self.unique) if isinstance(self.unique, str) else self.unique
        if unique is not None and not isinstance(unique, Unique):
            raise InvalidValue(f"unique: {unique!r} is neither a text nor a Unique")
        return None if unique is None else unique.message()

    def _durability(self) -> Durability | None:
        if self.durability not in (None, *get_args(Durability)):
            raise InvalidValue(f"durability: {self.durability!r} is neither disk nor replicated")
        return self.durability

    def _backoff(self) -> BackoffMessage | None:
        backoff = Backoff.parse(self.backoff) if isinstance(self.backoff, str) else self.backoff
        if backoff is not None and not isinstance(backoff, Backoff):
            raise InvalidValue(f"backoff: {backoff!r} is neither a text nor a Backoff")
        return None if backoff is None else backoff.message

    def _timeouts(self) -> Timeouts | None:
        timeouts = Timeouts(
            idle_ms=_limit(self.idle_timeout, "idle_timeout"),
            run_ms=_limit(self.run_timeout, "run_timeout"),
            total_ms=_limit(self.total_timeout, "total_timeout"),
        )
        return None if timeouts == Timeouts() else timeouts


class JobOptions(TypedDict, total=False):
    """What may be said of a job beside its type and arguments, as keywords: see `NewJob`."""

    payload: bytes | None
    job_id: str | None
    key: str | None
    headers: Mapping[str, str] | None
    labels: Sequence[str]
    unique: Unique | str | None
    delay: Duration | None
    delay_until: Moment | None
    priority: int
    attempts: int
    backoff: Backoff | str | None
    lost_limit: int | None
    idle_timeout: Duration | None
    run_timeout: Duration | None
    total_timeout: Duration | None
    persistent: bool
    keep: Duration | None
    durability: Durability | None


_PLAIN_OPTIONS: Final = frozenset({"payload", "job_id", "key", "headers", "attempts", "persistent"})


def message_of(job_type: str, arguments: object, options: JobOptions) -> NewJobMessage:
    """`NewJob(job_type, arguments, **options).message()`, without the former for most jobs."""
    if options.keys() <= _PLAIN_OPTIONS:
        return _plain_message(job_type, arguments, **options)  # type: ignore[misc]  # all of them are known
    return NewJob(job_type, arguments, **options).message()


def _plain_message(
    job_type: str,
    arguments: object,
    *,
    payload: bytes | None = None,
    job_id: str | None = None,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    attempts: int = 1,
    persistent: bool = False,
) -> NewJobMessage:
    return NewJobMessage(
        type=job_type,
        payload=_packed(arguments, payload),
        id=new_job_id() if job_id is None else job_id,
        key=key,
        headers=_headers(headers) if headers else None,
        attempts=attempts,
        persistent=persistent,
    )


def _packed(arguments: object, payload: bytes | None) -> bytes:
    if payload is None:
        return pack_arguments(arguments)
    if arguments is not NOTHING:
        raise InvalidValue("a job has arguments or a payload of its own, not both")
    if not isinstance(payload, bytes):
        raise InvalidValue(f"payload: {type(payload).__name__} must be bytes")
    return payload


def _headers(headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    if not headers:
        return None
    if not isinstance(headers, Mapping):
        raise InvalidValue(f"headers: {headers!r} is no map")
    given: list[tuple[object, object]] = list(headers.items())
    for name, value in given:
        if not (isinstance(name, str) and isinstance(value, str)):
            raise InvalidValue(f"headers: {name!r}: {value!r} must be texts both")
    return headers


def _moment(moment: Moment | None, name: str) -> int:
    return 0 if moment is None else epoch_ms(moment, name)


def _limit(duration: Duration | None, name: str) -> int | None:
    return None if duration is None else limit_ms(duration, name)


def _lost_limit(limit: int | None) -> int | None:
    return None if limit is None else _bounded(limit, 0, MAX_LOST_LIMIT, "lost_limit")


def _bounded(value: int, low: int, high: int, name: str) -> int:
    if not isinstance(value, int):
        raise InvalidValue(f"{name}: {value!r} is no whole number")
    if not low <= value <= high:
        raise InvalidValue(f"{name}: {value} must be between {low} and {high}")
    return value

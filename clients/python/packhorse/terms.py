"""On what terms a job runs and is kept: backoff, unique key, retention."""

import re
from dataclasses import KW_ONLY, dataclass
from typing import Final, Literal, TypeAlias, get_args

from packhorse.durations import Duration, milliseconds
from packhorse.errors import InvalidValue
from packhorse_protocol.limits import MAX_BACKOFF_STEPS
from packhorse_protocol.messages import Backoff as BackoffMessage
from packhorse_protocol.messages import Retention
from packhorse_protocol.messages import Unique as UniqueMessage

Jitter: TypeAlias = Literal["none", "full", "equal"] | int
"""What chance does to a wait: `full` draws from 0 to it, `equal` from its half to it, a number
n from within n percent of it either way."""

Scope: TypeAlias = Literal["until_started", "until_finished", "window"]
OnDuplicate: TypeAlias = Literal["reject", "join", "replace"]

_MAX_FACTOR: Final = 100
_TEXT: Final = re.compile(
    r"(?P<kind>fixed|linear|exponential|list):(?P<delays>[^:*]+?)"
    r"(?:\*(?P<factor>\d+(?:\.\d+)?))?(?:\.\.(?P<max>[^:.]+))?(?::(?P<jitter>full|equal|\d+%))?"
)
_FORMS: Final = "write fixed:30s, linear:10s..5m, exponential:1s..10m:full or list:1s,10s,1m"


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a job waits between two attempts. Made by `fixed`, `linear`, `exponential`, `list`.

    `max` bounds each wait, before `jitter` changes it. All raise `InvalidValue` for what can't be.
    """

    message: BackoffMessage
    """As it is sent."""

    @classmethod
    def fixed(cls, delay: Duration, *, jitter: Jitter = "none") -> "Backoff":
        """The same wait each time."""
        return cls._made("fixed", delay, None, jitter)

    @classmethod
    def linear(
        cls,
        delay: Duration,
        *,
        max: Duration | None = None,  # noqa: A002 - keyword only
        jitter: Jitter = "none",
    ) -> "Backoff":
        """The delay, twice the delay, three times the delay..."""
        return cls._made("linear", delay, max, jitter)

    @classmethod
    def exponential(
        cls,
        delay: Duration,
        *,
        factor: float = 2,
        max: Duration | None = None,  # noqa: A002 - keyword only
        jitter: Jitter = "none",
    ) -> "Backoff":
        """The delay, then each wait `factor` times as long as the one before."""
        if not 1 <= factor <= _MAX_FACTOR:
            raise InvalidValue(f"backoff: factor {factor} must be between 1 and {_MAX_FACTOR}")
        return cls._made("exponential", delay, max, jitter, factor_percent=round(100 * factor))

    @classmethod
    def list(cls, *delays: Duration, jitter: Jitter = "none") -> "Backoff":
        """These waits in turn, and the last one again after that."""
        if not 1 <= len(delays) <= MAX_BACKOFF_STEPS:
            raise InvalidValue(
                f"backoff: {len(delays)} delays, allowed are 1 to {MAX_BACKOFF_STEPS}"
            )
        steps = tuple(milliseconds(delay, "backoff") for delay in delays)
        kind, percent = _jitter(jitter)
        return cls(
            BackoffMessage(type="list", delays_ms=steps, jitter=kind, jitter_percent=percent)
        )

    @classmethod
    def parse(cls, text: str) -> "Backoff":
        """From one line: `fixed:30s`, `linear:10s..5m`, `exponential:1s*3..10m:full`, `list:1s,1m`.

        After `..` stands the longest wait, after `*` the factor, after a second colon the jitter:
        `full`, `equal`, `20%`.
        """
        found = _TEXT.fullmatch(text.replace(" ", ""))
        if found is None:
            raise InvalidValue(f"backoff: {text!r} is none: {_FORMS}")
        kind, delays, factor, longest, said = found.group(
            "kind", "delays", "factor", "max", "jitter"
        )
        jitter = _parsed_jitter(said)
        extra = {"*": factor and kind != "exponential", "..": longest and kind in ("fixed", "list")}
        if any(extra.values()):
            signs = " or ".join(sign for sign, present in extra.items() if present)
            raise InvalidValue(f"backoff: {text!r}: {kind} takes no {signs}")
        match kind:
            case "fixed":
                return cls.fixed(delays, jitter=jitter)
            case "linear":
                return cls.linear(delays, max=longest, jitter=jitter)
            case "exponential":
                return cls.exponential(
                    delays, factor=float(factor or 2), max=longest, jitter=jitter
                )
            case _:
                return cls.list(*delays.split(","), jitter=jitter)

    @classmethod
    def _made(
        cls,
        kind: Literal["fixed", "linear", "exponential"],
        delay: Duration,
        longest: Duration | None,
        jitter: Jitter,
        factor_percent: int = 200,
    ) -> "Backoff":
        jitter_kind, percent = _jitter(jitter)
        return cls(
            BackoffMessage(
                type=kind,
                delay_ms=milliseconds(delay, "backoff"),
                factor_percent=factor_percent,
                max_ms=None if longest is None else limit_ms(longest, "backoff: max"),
                jitter=jitter_kind,
                jitter_percent=percent,
            )
        )


@dataclass(frozen=True, slots=True)
class Unique:
    """At most one job of the type has this key at a time: `Unique("invoice-7")`.

    `scope`: the key is held until the job first starts, until it has finished, or for `window`
    from its creation. `on_duplicate`, of the create that finds it held: `reject` raises
    `Duplicate`, `join` makes its creator a handler of the holder, `replace` gives the holder the
    new content, if it has not started yet.
    """

    key: str
    _: KW_ONLY
    scope: Scope | None = None
    """By default `window` where a window is given, else `until_finished`."""
    window: Duration | None = None
    on_duplicate: OnDuplicate = "reject"

    def message(self) -> UniqueMessage:
        """As it is sent. Raises `InvalidValue`."""
        scope = self.scope or ("until_finished" if self.window is None else "window")
        one_of(scope, get_args(Scope), "unique: scope")
        one_of(self.on_duplicate, get_args(OnDuplicate), "unique: on_duplicate")
        if (scope == "window") != (self.window is not None):
            raise InvalidValue("unique: the scope `window` and a window need each other")
        return UniqueMessage(
            key=self.key,
            scope=scope,
            window_ms=None if self.window is None else limit_ms(self.window, "unique: window"),
            on_duplicate=self.on_duplicate,
        )


@dataclass(frozen=True, slots=True)
class Keep:
    """How finished jobs that nobody handles are kept: for how long, and how many of a type.

    `Keep("7d", jobs=10_000)`: the oldest go first. `Keep(0)`: not at all. `Keep(jobs=10_000)`: as
    long as the broker keeps those of other types, `Keep()` likewise without a number of its own.
    """

    time: Duration | None = None
    """None: the broker's own."""
    _: KW_ONLY
    jobs: int | None = None
    """None: however many there are."""

    def message(self) -> Retention:
        """As it is sent. Raises `InvalidValue`."""
        if self.jobs is not None and self.jobs < 0:
            raise InvalidValue(f"keep: {self.jobs} jobs must be at least 0")
        keep_ms = None if self.time is None else milliseconds(self.time, "keep")
        return Retention(keep_ms=keep_ms, keep_jobs=self.jobs)


def limit_ms(duration: Duration, name: str) -> int:
    """Milliseconds of a limit, which is at least one. Raises `InvalidValue`."""
    found = milliseconds(duration, name)
    if not found:
        raise InvalidValue(f"{name}: {duration!r} must be at least 1ms")
    return found


def one_of(value: object, allowed: tuple[str, ...], name: str) -> None:
    """Raises `InvalidValue` for a word that is not among those allowed."""
    if value not in allowed:
        raise InvalidValue(f"{name}: {value!r} is none of {', '.join(allowed)}")


def _parsed_jitter(said: str | None) -> Jitter:
    match said:
        case None:
            return "none"
        case "full" | "equal":
            return said
        case _:
            return int(said.removesuffix("%"))


def _jitter(jitter: Jitter) -> tuple[Literal["none", "full", "equal", "share"], int]:
    match jitter:
        case "none" | "full" | "equal":
            return jitter, 0
        case int() if 0 <= jitter <= 100 and not isinstance(jitter, bool):
            return "share", jitter
        case _:
            raise InvalidValue(f"backoff: jitter {jitter!r} is none of none, full, equal, 0 to 100")

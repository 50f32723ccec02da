"""After which errors a job is tried again, and when."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from packhorse.durations import Duration, milliseconds
from packhorse.errors import InvalidValue

RetryRules: TypeAlias = Mapping[type[BaseException], Duration | Literal["never", "default"]]
"""What follows an error of a class or its subclasses: the wait until the next attempt, `"never"`
another one, or the job's own backoff (`"default"`)."""

NEVER: Final = "never"
DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether there is to be another attempt, if attempts remain; `in_ms` None: by the backoff."""

    retry: bool = True
    in_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Verdicts by error class. The nearest class in an error's line of ancestors decides."""

    verdicts: Mapping[type[BaseException], Verdict]

    def verdict(self, error: BaseException) -> Verdict:
        for cls in type(error).__mro__:
            if cls in self.verdicts:
                return self.verdicts[cls]
        return Verdict()

    def over(self, other: "RetryPolicy") -> "RetryPolicy":
        """This one where it says something of a class, else the other."""
        return RetryPolicy({**other.verdicts, **self.verdicts})


def retry_policy(rules: RetryRules | None, name: str) -> RetryPolicy:
    """Reads rules as people write them; `name` is for the error.

    Raises `InvalidValue` for what is no exception class or says no wait.
    """
    return RetryPolicy({cls: _verdict(cls, rule, name) for cls, rule in (rules or {}).items()})


def _is_exception(cls: object) -> bool:
    return isinstance(cls, type) and issubclass(cls, BaseException)


def _verdict(cls: type[BaseException], rule: Duration, name: str) -> Verdict:
    if not _is_exception(cls):
        raise InvalidValue(f"{name}: {cls!r} is no exception class")
    if rule == NEVER:
        return Verdict(retry=False)
    if rule == DEFAULT:
        return Verdict()
    return Verdict(in_ms=milliseconds(rule, f"{name}: {cls.__name__}"))

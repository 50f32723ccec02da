"""How one setting is described and checked, and the error that says what is wrong with it.

`count`, `size`, `duration` and `plain` annotate a field of `config.Config` with its kind, bounds
and reason; `describe` reads the annotations back as `Setting`; `check` holds a value against them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args, get_type_hints

import msgspec

from packhorse_broker.addresses import AddressError, parse_address
from packhorse_broker.durations import format_ms
from packhorse_broker.store_url import WrongParameter, check_store_url, mask_password

Kind = Literal["addresses", "bytes", "choice", "count", "duration", "path", "store", "text"]


class ConfigError(Exception):
    """A setting that can't be used. Repeating does not help: someone has to change it.

    `key` names the setting (None when a whole file is unreadable), `origin` where it was set,
    `problem` says what is allowed. The text has all of them, and never a password.
    """

    code: ClassVar[str] = "config_invalid"
    retryable: ClassVar[bool] = False

    def __init__(
        self, problem: str, *, key: str | None = None, value: str = "", origin: str = "argument"
    ) -> None:
        self.problem = problem
        self.key = key
        self.value = value
        self.origin = origin
        subject = f"{key} = {value}" if key and value else (key or "")
        super().__init__(f"{subject} ({origin}): {problem}" if subject else f"{origin}: {problem}")

    def at(self, origin: str) -> "ConfigError":
        """The same error, told where the setting came from."""
        return ConfigError(self.problem, key=self.key, value=self.value, origin=origin)


def plain(kind: Kind, about: str, allowed: str = "", **bounds: Any) -> msgspec.Meta:
    return msgspec.Meta(description=about, extra={"kind": kind, "allowed": allowed}, **bounds)


def count(least: int, most: int, about: str) -> msgspec.Meta:
    return plain("count", about, f"a whole number from {least} to {most}", ge=least, le=most)


def size(least: int, most: int, about: str) -> msgspec.Meta:
    allowed = f"a whole number of bytes from {least} to {most}"
    return plain("bytes", about, allowed, ge=least, le=most)


def duration(least_ms: int, most_ms: int, about: str) -> msgspec.Meta:
    allowed = (
        f"a duration from {format_ms(least_ms)} to {format_ms(most_ms)}, "
        "as whole milliseconds or as text such as 250ms, 30s, 1h30m"
    )
    return plain("duration", about, allowed, ge=least_ms, le=most_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is known about one field of Config."""

    name: str
    kind: Kind
    about: str
    allowed: str
    """Completes the sentence "it must be ..."."""
    type: Any
    """As annotated, with its bounds; what `msgspec.convert` checks against."""
    optional: bool

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        return f"PACKHORSE_{self.name.upper()}"

    def shown(self, value: object) -> str:
        """The value as people may see it. Takes values of any type: errors show wrong ones."""
        if value is None:
            return "unset"
        if isinstance(value, list | tuple):
            return f"[{', '.join(self.shown(part) for part in value)}]"
        if self.kind == "duration" and type(value) is int and value >= 0:
            return format_ms(value)
        if self.kind == "store":
            return mask_password(str(value))
        return str(value) or '""'


def check(setting: Setting, value: object) -> None:
    """Raises ConfigError unless `value` is of the setting's type and within its bounds."""
    try:
        msgspec.convert(value, setting.type)
        if isinstance(value, tuple):
            for address in value:
                parse_address(address)
        elif setting.kind == "store" and isinstance(value, str):
            check_store_url(value)
        elif isinstance(value, Path) and not value.is_absolute():
            raise ValueError("relative")
    except WrongParameter as error:
        shown = setting.shown(value)
        raise ConfigError(str(error), key=setting.name, value=shown) from None
    except (msgspec.ValidationError, AddressError, ValueError):
        # Neither the message nor the chain of these may be shown: they can quote a password.
        raise ConfigError(
            f"must be {setting.allowed}", key=setting.name, value=setting.shown(value)
        ) from None


def describe(struct: type[msgspec.Struct]) -> Mapping[str, Setting]:
    """The fields of a struct whose annotations were made here, in the order of definition."""
    found = {}
    for name, annotated in get_type_hints(struct, include_extras=True).items():
        meta = getattr(annotated, "__metadata__", (None,))[0]
        if not isinstance(meta, msgspec.Meta) or meta.extra is None:
            continue
        plain = get_args(annotated)[0]
        allowed = meta.extra["allowed"] or f"one of {', '.join(get_args(plain))}"
        found[name] = Setting(
            name=name,
            kind=meta.extra["kind"],
            about=meta.description or "",
            allowed=allowed,
            type=annotated,
            optional=type(None) in get_args(plain),
        )
    return MappingProxyType(found)

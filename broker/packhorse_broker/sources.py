"""Where settings come from: defaults < TOML file < environment < flags.

    loaded = load(file=Path("broker.toml"), environ=os.environ, flags={"log_level": "debug"})
    loaded.config, loaded.origins["log_level"]

The file is flat: one `name = value` for each field of Config. The variables are PACKHORSE_ and
the name in capitals; an empty one counts as unset. Every mistake is a ConfigError that names the
setting, where it was set, the value, and what is allowed.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from packhorse_broker.config import SETTINGS, Config
from packhorse_broker.durations import parse_ms
from packhorse_broker.settings import ConfigError, Setting, check

FILE_VARIABLE: Final = "PACKHORSE_CONFIG"
"""Names the TOML file when no flag does."""
VARIABLE_PREFIX: Final = "PACKHORSE_"
MAX_FILE_BYTES: Final = 1024 * 1024
"""A larger file is not a configuration, but a mistaken path."""

_NOT_OURS: Final = re.compile(
    # What the client, its command line and the tests of other clients read.
    r"PACKHORSE_(BIN|CLIENT|CONFIG|URL)"
    # What Kubernetes sets in every pod beside a service that is called "packhorse".
    r"|PACKHORSE_(SERVICE|PORT)(_.*)?"
)
_DEFAULT: Final = "default"
_LIKENESS: Final = 0.7
"""From here on a name that is unknown is taken for a slip of one that is known."""
_WHOLE_NUMBER: Final = re.compile(r"[+-]?\d{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration and where each of its settings came from."""

    config: Config
    origins: Mapping[str, str]
    """By setting: `default`, `file PATH`, `variable NAME` or `flag --NAME`."""


def load(
    *,
    file: Path | None = None,
    environ: Mapping[str, str],
    flags: Mapping[str, object] | None = None,
) -> Loaded:
    """Reads all sources; a flag whose value is None was not given. Raises ConfigError."""
    if file is None and environ.get(FILE_VARIABLE):
        file = Path(environ[FILE_VARIABLE])
    values: dict[str, Any] = {}
    origins = dict.fromkeys(SETTINGS, _DEFAULT)

    def take(name: str, raw: object, origin: str, *, is_text: bool, written: str) -> None:
        setting = SETTINGS.get(name)
        if setting is None:
            raise _unknown(name, origin, written)
        values[name] = _value(setting, raw, origin, is_text=is_text)
        origins[name] = origin

    if file is not None:
        for name, raw in _read(file).items():
            take(name, raw, f"file {file}", is_text=False, written="{}")
    for variable, text in sorted(environ.items()):
        if not variable.startswith(VARIABLE_PREFIX) or _NOT_OURS.fullmatch(variable) or not text:
            continue
        name = variable.removeprefix(VARIABLE_PREFIX).lower()
        take(name, text, f"variable {variable}", is_text=True, written="variable")
    for name, raw in (flags or {}).items():
        if raw is not None:
            flag = f"flag --{name.replace('_', '-')}"
            take(name, raw, flag, is_text=True, written="flag")
    try:
        config = Config(**values)
    except ConfigError as error:
        # Each value is good by itself, so two of them disagree; `key` is the one to change.
        raise error.at(origins[error.key or ""]) from None
    return Loaded(config=config, origins=origins)


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ConfigError(f"is larger than {MAX_FILE_BYTES} bytes", origin=f"file {file}")
        return tomllib.loads(content.decode())
    except OSError as error:
        problem = f"can't be read: {error.strerror or error}"
        raise ConfigError(problem, origin=f"file {file}") from error
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8 text", origin=f"file {file}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"is not valid TOML: {error}", origin=f"file {file}") from error


def _unknown(name: str, origin: str, written: str) -> ConfigError:
    close = difflib.get_close_matches(name, SETTINGS, n=1, cutoff=_LIKENESS)
    if not close:
        remedy = "unset it, or see" if written == "variable" else "see"
        return ConfigError(
            f"unknown setting; {remedy} `packhorse serve --help` for all", key=name, origin=origin
        )
    setting = SETTINGS[close[0]]
    proper = {"variable": setting.variable, "flag": setting.flag}.get(written, setting.name)
    return ConfigError(f"unknown setting; did you mean {proper}?", key=name, origin=origin)


def _value(setting: Setting, raw: object, origin: str, *, is_text: bool) -> object:
    """The value as Config holds it. Numbers may be text only where there is nothing but text."""
    value: object = raw
    try:
        if setting.kind == "duration" and isinstance(raw, int | str):
            value = parse_ms(raw)
        elif setting.kind in ("count", "bytes") and is_text and isinstance(raw, str):
            value = int(raw) if _WHOLE_NUMBER.fullmatch(raw.strip()) else raw
        elif setting.kind == "addresses":
            value = _addresses(raw, is_text=is_text)
        elif setting.kind == "path" and isinstance(raw, str | Path) and str(raw):
            value = Path(raw).expanduser().absolute()
    except (ValueError, RuntimeError):
        raise ConfigError(
            f"must be {setting.allowed}", key=setting.name, value=setting.shown(raw), origin=origin
        ) from None
    try:
        check(setting, value)
    except ConfigError as error:
        shown = setting.shown(raw)
        raise ConfigError(error.problem, key=error.key, value=shown, origin=origin) from None
    return value


def _addresses(raw: object, *, is_text: bool) -> object:
    """One address, an array of them, or (in a variable or a flag) several with commas."""
    if isinstance(raw, str):
        parts = raw.split(",") if is_text else [raw]
        return tuple(part.strip() for part in parts)
    return tuple(raw) if isinstance(raw, list | tuple) else raw

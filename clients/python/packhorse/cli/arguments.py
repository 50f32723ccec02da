"""`key=text` and `key:=json` on the command line -> values."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from packhorse.payload import NOTHING


def job_arguments(pairs: Sequence[str]) -> object:
    """The job's keyword arguments, `NOTHING` if there are none."""
    if not pairs:
        return NOTHING
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        is_json = key.endswith(":")
        key = key.removesuffix(":")
        if not equals or not key:
            raise click.UsageError(f"{pair!r} is no argument: write key=text or key:=json")
        if key in arguments:
            raise click.UsageError(f"argument {key!r} is given twice")
        arguments[key] = _from_json(key, value) if is_json else value
    return arguments


def headers(pairs: Sequence[str]) -> dict[str, str] | None:
    """`--header name=value`, repeated."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--header {pair!r}: write name=value")
        if name in found:
            raise click.UsageError(f"--header: {name!r} is given twice")
        found[name] = value
    return found or None


def payload(path: str | None) -> bytes | None:
    """The bytes of a file, `-` for standard input."""
    if path is None:
        return None
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise click.UsageError(f"--payload {path}: {error.strerror}") from error


def _from_json(key: str, value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise click.UsageError(f"{key}:={value}: no JSON: {error}") from error

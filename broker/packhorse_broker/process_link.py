"""What a supervisor and its broker processes say to each other: JSON lines over a socket pair.

The supervisor says one Assignment, then orders. The process says Ready or Failed. Settings go
this way, and not as arguments, because those of a process are there for everybody to read. The
end of the line means the end of the other side, however that came.
"""

from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from packhorse_broker.config import Config

MAX_LINE_BYTES: Final = 1024 * 1024
"""Far above what settings take: their file has the same bound."""


class Assignment(msgspec.Struct, frozen=True, kw_only=True, tag="assignment"):
    """What a process is to be."""

    process: int
    """Its number, from 1."""
    config: Config
    store_url: str
    sockets: dict[str, int]
    """The Unix sockets that it inherits: their descriptors by path."""


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Tell the clients and end."""


class End(msgspec.Struct, frozen=True, tag="end"):
    """End without waiting for clients."""


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """It serves clients."""

    broker: str


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """It ends for a reason that somebody can mend; `problem` is for people."""

    problem: str


Order: TypeAlias = Assignment | Drain | End
Report: TypeAlias = Ready | Failed


def write_line(message: Order | Report) -> bytes:
    return msgspec.json.encode(message, enc_hook=_text) + b"\n"


def read_order(line: bytes) -> Order:
    order: Order = msgspec.json.decode(line, type=Order, dec_hook=_path)
    return order


def read_report(line: bytes) -> Report:
    report: Report = msgspec.json.decode(line, type=Report)
    return report


def _text(value: Any) -> str:
    return str(value)


def _path(_kind: type, value: Any) -> Path:
    return Path(value)

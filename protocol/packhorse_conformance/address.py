"""Where the broker under test listens."""

from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from packhorse_protocol.limits import DEFAULT_PORT


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpAddress:
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixAddress:
    path: str


Address: TypeAlias = TcpAddress | UnixAddress


def parse(url: str) -> Address:
    """Raises `ValueError` that says what is allowed."""
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path.startswith("/"):
        return UnixAddress(path=parts.path)
    if parts.scheme == "tcp" and parts.hostname:
        return TcpAddress(host=parts.hostname, port=parts.port or DEFAULT_PORT)
    raise ValueError(f"{url!r} is none of tcp://host:port, unix:///path")

"""Where the broker under test listens."""

import socket
from dataclasses import dataclass
from typing import Final, TypeAlias
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


LOOK_S: Final = 5


def look(address: Address) -> None:
    """Connects and closes again. Raises `OSError`."""
    if isinstance(address, TcpAddress):
        socket.create_connection((address.host, address.port), LOOK_S).close()
        return
    with socket.socket(socket.AF_UNIX) as looking:
        looking.settimeout(LOOK_S)
        looking.connect(address.path)


def parse(url: str) -> Address:
    """Raises `ValueError` that says what is allowed."""
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path.startswith("/"):
        return UnixAddress(path=parts.path)
    if parts.scheme == "tcp" and parts.hostname:
        return TcpAddress(host=parts.hostname, port=parts.port or DEFAULT_PORT)
    raise ValueError(f"{url!r} is none of tcp://host:port, unix:///path")

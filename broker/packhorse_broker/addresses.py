"""Where the broker listens: `tcp://host:port` and `unix:///path`."""

import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from packhorse_protocol import DEFAULT_PORT


class AddressError(ValueError):
    """Text that is no address; the message says what is allowed."""


class ListenError(Exception):
    """An address that can't be listened on; the message names it and says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Either `path` of a Unix socket, or `host` and `port`; port 0 is any free one."""

    host: str = ""
    port: int = DEFAULT_PORT
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Raises AddressError."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise AddressError(f"{text!r} is no address: {error}") from error
    if parts.scheme == "unix" and parts.path:
        return Address(path=parts.path)
    if parts.scheme == "tcp" and parts.hostname and parts.path in ("", "/"):
        return Address(host=parts.hostname, port=DEFAULT_PORT if port is None else port)
    raise AddressError(f"{text!r} is no address: use tcp://host:port or unix:///path")


def socket_name(bound: socket.socket) -> str:
    """The address of a bound TCP socket, as text."""
    host, port = bound.getsockname()[:2]
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def restrict_socket(path: str) -> None:
    """Only this user may connect."""
    Path(path).chmod(0o600)


def free_socket_path(path: str) -> None:
    """Takes away a socket file that a broker left behind; one that answers is in use.

    Raises ListenError, also for a file that is no socket.
    """
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"can't listen on unix://{path}: there is a file that is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            Path(path).unlink()
            return
    raise ListenError(f"can't listen on unix://{path}: another broker answers there")

"""Where the broker under test listens."""

import socket
import ssl
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from packhorse_protocol.limits import DEFAULT_PORT


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpAddress:
    host: str
    port: int
    tls: ssl.SSLContext | None = None
    """How to speak TLS there, if that is spoken."""

    def __str__(self) -> str:
        return f"{'tcp' if self.tls is None else 'tls'}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixAddress:
    path: str


Address: TypeAlias = TcpAddress | UnixAddress


LOOK_S: Final = 5


def look(address: Address) -> None:
    """Connects and closes again. Raises `OSError`."""
    if isinstance(address, TcpAddress):
        with socket.create_connection((address.host, address.port), LOOK_S) as looking:
            if address.tls is not None:
                address.tls.wrap_socket(looking, server_hostname=address.host).close()
        return
    with socket.socket(socket.AF_UNIX) as looking:
        looking.settimeout(LOOK_S)
        looking.connect(address.path)


def parse(url: str, ca_file: str | None = None) -> Address:
    """`ca_file`: whom to trust at a `tls://` address, instead of whom the system trusts.

    Raises `ValueError` that says what is allowed, `OSError` for a file that holds no certificate.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path.startswith("/"):
        return UnixAddress(path=parts.path)
    if parts.scheme in ("tcp", "tls") and parts.hostname:
        tls = ssl.create_default_context(cafile=ca_file) if parts.scheme == "tls" else None
        return TcpAddress(host=parts.hostname, port=parts.port or DEFAULT_PORT, tls=tls)
    raise ValueError(f"{url!r} is none of tcp://host:port, tls://host:port, unix:///path")

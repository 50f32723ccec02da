"""Where brokers listen: one or several addresses, from an argument or the environment."""

import os
from dataclasses import dataclass
from typing import Final, TypeAlias

from packhorse.errors import InvalidValue
from packhorse_protocol.limits import DEFAULT_PORT

ENVIRONMENT_VARIABLE: Final = "PACKHORSE_URL"
DEFAULT_HOST: Final = "127.0.0.1"
MAX_ADDRESSES: Final = 64
"""More brokers than anybody runs on one store; an outage's round tries each."""

_ALLOWED: Final = "tcp://host:port, tls://host:port or unix:///path, several with commas between"


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpAddress:
    """A host name or IP address, and a port; `tls`: what listens there speaks TLS."""

    host: str
    port: int = DEFAULT_PORT
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'tcp'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixAddress:
    """The path of a Unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix://{self.path}"


Address: TypeAlias = TcpAddress | UnixAddress


def resolve(url: str | None) -> tuple[Address, ...]:
    """The addresses in `url`, else in PACKHORSE_URL, else 127.0.0.1:7225.

    Raises `InvalidValue` naming the part that is no address and where it came from.
    """
    if url is not None:
        return parse(url, source="url")
    from_environment = os.environ.get(ENVIRONMENT_VARIABLE)
    if from_environment:
        return parse(from_environment, source=ENVIRONMENT_VARIABLE)
    return (TcpAddress(host=DEFAULT_HOST),)


def parse(urls: str, *, source: str = "url") -> tuple[Address, ...]:
    """One or several addresses; a scheme or a port that is left out is `tcp`, 7225."""
    parts = [part.strip() for part in urls.split(",")]
    if len(parts) > MAX_ADDRESSES:
        raise InvalidValue(f"{source}: {len(parts)} addresses, at most {MAX_ADDRESSES} are allowed")
    return tuple(_parse_one(part, source) for part in parts)


def _parse_one(url: str, source: str) -> Address:
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "tcp", url
    if scheme == "unix":
        if not rest.startswith("/"):
            raise _invalid(source, url, "the path must be absolute")
        return UnixAddress(path=rest)
    if scheme not in ("tcp", "tls"):
        raise _invalid(source, url, f"unknown scheme {scheme!r}")
    host, port = _host_and_port(rest.removesuffix("/"), url, source)
    return TcpAddress(host=host, port=port, tls=scheme == "tls")


def _host_and_port(location: str, url: str, source: str) -> tuple[str, int]:
    if location.startswith("["):
        host, bracket, rest = location[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _invalid(source, url, "an IPv6 address is written [address]:port")
        port = rest[1:]
    elif location.count(":") > 1:
        raise _invalid(source, url, "an IPv6 address is written [address]:port")
    else:
        host, _, port = location.partition(":")
    if not host or any(character in "/?#@ " for character in host):
        raise _invalid(source, url, "it has no host name")
    if not port:
        return host, DEFAULT_PORT
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):
        raise _invalid(source, url, "the port must be 1 to 65535")
    return host, int(port)


def _invalid(source: str, url: str, why: str) -> InvalidValue:
    return InvalidValue(f"{source}: {url!r} is no address: {why} (allowed: {_ALLOWED})")

"""The store's URL as people give it: checked and read here, and never shown with its password.

    redis://user:password@host:6379/0            one server; rediss:// with TLS
    unix:///run/valkey.sock                      one server, by its socket
    sentinel://user:password@host:26379,host:26379/name/0
                                                 the primary that Sentinels know by this name;
                                                 sentinels:// with TLS
    cluster://user:password@host:6379,host:6379  a Cluster, by some of its nodes; clusters:// with
                                                 TLS

The user and password are the store's; those of the Sentinels are the parameters
`sentinel_username` and `sentinel_password`. The parameters of TLS are redis-py's, and hold for the
Sentinels, too.
"""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

_PASSWORD: Final = re.compile(r"(?<=//)([^/@:]*):.*@", re.DOTALL)
"""Greedy up to the last @: a password may contain any character, even where it should not."""
_PASSWORD_IN_QUERY: Final = re.compile(r"([?&](?:sentinel_|ssl_)?password=)[^&#]*", re.IGNORECASE)
MASK: Final = "***"

SENTINEL_PORT: Final = 26379
"""Where a Sentinel listens if the URL does not say."""

STORE_PORT: Final = 6379
"""Where a node of a Cluster listens if the URL does not say."""

_OF_ANY: Final = frozenset({"db", "username", "password"})
_OF_SENTINELS: Final = frozenset({"sentinel_username", "sentinel_password"})
_OF_TLS: Final = frozenset(
    {
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_password",
        "ssl_cert_reqs",
        "ssl_check_hostname",
        "ssl_ciphers",
    }
)

_SCHEME_OF_PRIMARY: Final = {"sentinel": "redis", "sentinels": "rediss"}
_SCHEME_OF_NODE: Final = {"cluster": "redis", "clusters": "rediss"}
_WITH_TLS: Final = ("rediss", "sentinels", "clusters")


class WrongParameter(ValueError):
    """Of a URL. The text quotes none of it: what follows a `?` may be part of a password."""


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """Sentinels, what they know the primary by, and how to connect to it."""

    sentinels: tuple[tuple[str, int], ...]
    service: str
    database: int
    tls: bool
    sentinel_user: str | None
    sentinel_password: str | None = field(repr=False)
    _credentials: str = field(repr=False)
    _query: str = field(repr=False)
    _query_of_tls: str = field(repr=False)

    def of_sentinel(self, host: str, port: int) -> str:
        """The URL by which redis-py connects to one of them."""
        scheme = "rediss" if self.tls else "redis"
        user, password = (
            quote(self.sentinel_user or "", ""),
            quote(self.sentinel_password or "", ""),
        )
        credentials = f"{user}:{password}@" if password else ""
        return f"{scheme}://{credentials}{_place(host, port)}/0{self._query_of_tls}"

    def of_primary(self, host: str, port: int) -> str:
        """The URL by which redis-py connects to the primary, once it is known."""
        scheme = "rediss" if self.tls else "redis"
        place = _place(host, port)
        return f"{scheme}://{self._credentials}{place}/{self.database}{self._query}"


@dataclass(frozen=True, slots=True)
class ClusterUrl:
    """Some nodes of a Cluster, and how to connect to any."""

    seeds: tuple[tuple[str, int], ...]
    _scheme: str
    _credentials: str = field(repr=False)
    _query: str = field(repr=False)

    def of_node(self, host: str, port: int) -> str:
        """The URL by which redis-py connects to a node."""
        return f"{self._scheme}://{self._credentials}{_place(host, port)}/0{self._query}"


def check_store_url(url: str) -> None:
    """Raises ValueError unless it is of one of the kinds above, complete enough to try."""
    _check_parameters(url)
    if read_sentinels(url) is not None or read_cluster(url) is not None:
        return
    parts = urlsplit(url)
    if parts.scheme == "unix":
        if parts.hostname or parts.path in ("", "/"):
            raise ValueError("unix:// needs the absolute path of a socket")
        return
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError("redis://, rediss://, sentinel:// or cluster:// and a host")
    if parts.port == 0:
        raise ValueError("port 0 can't be connected to")
    _database(parts.path.strip("/") or dict(parse_qsl(parts.query)).get("db", "0"))


def _check_parameters(url: str) -> None:
    parts = urlsplit(url)
    names = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if names & _OF_TLS and parts.scheme not in _WITH_TLS:
        raise WrongParameter(f"only {', '.join(_WITH_TLS)} may have the parameters of TLS, ssl_...")
    known = _OF_ANY | _OF_TLS | (_OF_SENTINELS if parts.scheme in _SCHEME_OF_PRIMARY else set())
    if names - known:
        raise WrongParameter(f"behind the ? may be {', '.join(sorted(known))}")


def read_sentinels(url: str) -> SentinelUrl | None:
    """None for a URL that names no Sentinels. Raises ValueError if it does and can't be used."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEME_OF_PRIMARY:
        return None
    credentials, at, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("sentinel:// needs the name of the primary after the hosts")
    query = parse_qsl(parts.query, keep_blank_values=True)
    about_sentinels = {key: value for key, value in query if key.startswith("sentinel_")}
    others = urlencode([(key, value) for key, value in query if key not in about_sentinels])
    of_tls = urlencode([(key, value) for key, value in query if key in _OF_TLS])
    return SentinelUrl(
        sentinels=tuple(_host_and_port(host, SENTINEL_PORT) for host in hosts.split(",")),
        service=unquote(service),
        database=_database(database or "0"),
        tls=parts.scheme == "sentinels",
        sentinel_user=about_sentinels.get("sentinel_username"),
        sentinel_password=about_sentinels.get("sentinel_password"),
        _credentials=credentials + at,
        _query=f"?{others}" if others else "",
        _query_of_tls=f"?{of_tls}" if of_tls else "",
    )


def read_cluster(url: str) -> ClusterUrl | None:
    """None for a URL that names no Cluster. Raises ValueError if it does and can't be used."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEME_OF_NODE:
        return None
    credentials, at, hosts = parts.netloc.rpartition("@")
    if _database(parts.path.strip("/") or "0"):
        raise ValueError("a Cluster has the database 0 alone")
    return ClusterUrl(
        seeds=tuple(_host_and_port(host, STORE_PORT) for host in hosts.split(",")),
        _scheme=_SCHEME_OF_NODE[parts.scheme],
        _credentials=credentials + at,
        _query=f"?{parts.query}" if parts.query else "",
    )


def _host_and_port(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.port == 0:
        raise ValueError("each server is named as host, or host:port")
    return parts.hostname, parts.port or port


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _database(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError("the database is a number")
    return int(text)


def mask_password(url: str) -> str:
    """The URL with each password in it replaced, also when it is malformed."""
    return _PASSWORD_IN_QUERY.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1:{MASK}@", url))

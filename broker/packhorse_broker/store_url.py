"""The store's URL as people give it: checked here, and never shown with its password."""

import re
from typing import Final
from urllib.parse import parse_qsl, urlsplit

_PASSWORD: Final = re.compile(r"(?<=//)([^/@:]*):.*@", re.DOTALL)
"""Greedy up to the last @: a password may contain any character, even where it should not."""
_PASSWORD_IN_QUERY: Final = re.compile(r"([?&]password=)[^&#]*", re.IGNORECASE)
MASK: Final = "***"


def check_store_url(url: str) -> None:
    """Raises ValueError unless it is redis://, rediss:// or unix://, complete enough to try."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        if parts.hostname or parts.path in ("", "/"):
            raise ValueError("unix:// needs the absolute path of a socket")
        return
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError("redis:// or rediss:// and a host")
    if parts.port == 0:
        raise ValueError("port 0 can't be connected to")
    database = parts.path.strip("/") or dict(parse_qsl(parts.query)).get("db", "0")
    if not (database.isascii() and database.isdecimal()):
        raise ValueError("the database is a number")


def mask_password(url: str) -> str:
    """The URL with each password in it replaced, also when it is malformed."""
    return _PASSWORD_IN_QUERY.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1:{MASK}@", url))

"""TLS of connections to the store: one context for many of them.

Making a context reads all certificates of the system, which takes tens of milliseconds and stops
the event loop: a broker on a Cluster opens dozens of connections at once.
"""

import time
from typing import Final, TypeAlias

from redis.asyncio.connection import AbstractConnection, RedisSSLContext, SSLConnection
from redis.exceptions import ConnectionError as LostConnection

RENEWED_S: Final = 60
"""So long a context is used for new connections: certificates may be replaced by newer ones."""

_Made: TypeAlias = tuple[float, RedisSSLContext]
_made: Final[dict[tuple[object, ...], _Made]] = {}
"""By what they are made from: when, by the monotonic clock, and the context. A process has one
store, or a few."""


def share_context(connection: AbstractConnection) -> None:
    """Before it connects. Raises LostConnection if a file that the URL names can't be used."""
    if not isinstance(connection, SSLConnection):
        return
    own = connection.ssl_context
    about = tuple(getattr(own, name) for name in own.__slots__ if name != "context")
    made_s, context = _made.get(about, (-RENEWED_S, own))
    if time.monotonic() - made_s >= RENEWED_S:
        try:
            own.get()
        except OSError as error:
            raise LostConnection(f"TLS can't be set up as the store's URL says: {error}") from error
        _made[about] = time.monotonic(), own
        context = own
    connection.ssl_context = context

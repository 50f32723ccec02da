"""Where the primary is: the address itself, or what Sentinels say now.

It is asked anew for each connection. After a failover the old primary may still answer; a server
that is a replica is refused, and the Sentinels are asked again.
"""

from typing import Any

import redis.asyncio as redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import Sentinel

from packhorse_broker.store_url import SentinelUrl, read_sentinels


async def connection_to(url: str, options: dict[str, Any]) -> AbstractConnection:
    """A connection to the primary, not made yet.

    Raises RedisError, OSError if no Sentinel answers or none knows a primary.
    """
    sentinels = read_sentinels(url)
    if sentinels is not None:
        url = sentinels.of_primary(*await _primary(sentinels, options))
    pool = redis.ConnectionPool.from_url(url, **options)
    connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    return connection


async def _primary(sentinels: SentinelUrl, options: dict[str, Any]) -> tuple[str, int]:
    asked = Sentinel(  # type: ignore[no-untyped-call]
        sentinels.sentinels,
        sentinel_kwargs={
            **options,
            "socket_timeout": options["socket_connect_timeout"],
            "username": sentinels.sentinel_user,
            "password": sentinels.sentinel_password,
            "ssl": sentinels.tls,
        },
    )
    try:
        host, port = await asked.discover_master(sentinels.service)
    finally:
        await asked.aclose()
    return str(host), int(port)

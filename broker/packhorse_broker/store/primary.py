"""Where the primary is: the address itself, or what Sentinels say now.

It is asked anew for each connection. After a failover the old primary may still answer, and a
Sentinel that was away may still name it: of those that answer the newest configuration counts. A
server that is a replica is refused, and the Sentinels are asked again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import redis.asyncio as redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError

from packhorse_broker.store_url import SentinelUrl, read_sentinels

Place = tuple[str, int]
"""Host and port."""

SHARE_OF_SENTINELS: Final = 0.5
"""Of the time for a connection, what the Sentinels have to answer: one may be away."""


async def connection_to(
    url: str, options: dict[str, Any]
) -> tuple[AbstractConnection, Place | None]:
    """A connection to the primary, not made yet, and where Sentinels say that it is.

    Raises RedisError, OSError if no Sentinel answers or none knows a primary.
    """
    place = await find_primary(url, options)
    sentinels = read_sentinels(url)
    if sentinels is not None and place is not None:
        url = sentinels.of_primary(*place)
    pool = redis.ConnectionPool.from_url(url, **options)
    connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    return connection, place


async def find_primary(url: str, options: dict[str, Any]) -> Place | None:
    """None for a URL that names the server itself. Raises as `connection_to`."""
    sentinels = read_sentinels(url)
    if sentinels is None:
        return None
    within_s = SHARE_OF_SENTINELS * options["socket_connect_timeout"]
    asked = Sentinel(  # type: ignore[no-untyped-call]
        sentinels.sentinels,
        sentinel_kwargs={
            **options,
            "socket_connect_timeout": within_s,
            "socket_timeout": within_s,
            "username": sentinels.sentinel_user,
            "password": sentinels.sentinel_password,
            "ssl": sentinels.tls,
        },
    )
    try:
        return _newest(sentinels, await _answers(asked.sentinels))
    finally:
        await asked.aclose()


async def _answers(sentinels: Sequence[redis.Redis]) -> list[Mapping[str, Any]]:
    """What more than half of them know, or all that answer. Raises the last error if none does."""
    asking = [asyncio.ensure_future(sentinel.sentinel_masters()) for sentinel in sentinels]
    answers: list[Mapping[str, Any]] = []
    lost: RedisError | OSError = LostConnection("no Sentinel answers")
    try:
        for answer in asyncio.as_completed(asking):
            try:
                known = await answer
            except (RedisError, OSError) as error:
                lost = error
                continue
            if isinstance(known, Mapping):
                answers.append(known)
            if 2 * len(answers) > len(sentinels):
                break
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    if not answers:
        raise lost
    return answers


def _newest(sentinels: SentinelUrl, answers: Sequence[Mapping[str, Any]]) -> Place:
    known = [answer[sentinels.service] for answer in answers if sentinels.service in answer]
    newest = max((int(one["config-epoch"]) for one in known), default=0)
    for one in known:
        is_up = one["is_master"] and not one["is_sdown"] and not one["is_odown"]
        if is_up and int(one["config-epoch"]) == newest:
            return str(one["ip"]), int(one["port"])
    raise LostConnection(f"no Sentinel knows a primary {sentinels.service!r}")

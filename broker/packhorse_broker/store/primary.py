"""Where the primary is: the address itself, or what Sentinels say now.

It is asked anew for each connection. After a failover the old primary may still answer, and a
Sentinel that was away may still name it: of those that answer the newest configuration counts. A
server that is a replica is refused, and the Sentinels are asked again.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis.asyncio as redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError
from redis.utils import str_if_bytes

from packhorse_broker.store_url import read_sentinels

Place = tuple[str, int]
"""Host and port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a Sentinel knows."""

    epoch: int
    """Of its configuration: the higher the newer."""
    place: Place
    is_up: bool


SHARE_OF_SENTINELS: Final = 0.5
"""Of the time for a connection, what the Sentinels have to answer: one may be away."""


async def connection_to(
    url: str, options: dict[str, Any]
) -> tuple[AbstractConnection, Place | None]:
    """A new connection to the primary, and where Sentinels say that it is.

    Raises RedisError, OSError if it can't be made, no Sentinel answers or none knows a primary.
    """
    place = await find_primary(url, options)
    sentinels = read_sentinels(url)
    if sentinels is not None and place is not None:
        url = sentinels.of_primary(*place)
    pool = redis.ConnectionPool.from_url(url, **options)
    connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
    except BaseException:
        with contextlib.suppress(RedisError, OSError):
            await connection.disconnect(nowait=True)
        raise
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
        return _newest(await _answers(asked.sentinels, sentinels.service))
    finally:
        await asked.aclose()


async def _answers(sentinels: Sequence[redis.Redis], service: str) -> list[Answer]:
    """What more than half of them know, or all that answer. Raises the last error if none does."""
    asking = [asyncio.create_task(_ask(sentinel, service)) for sentinel in sentinels]
    answers: list[Answer] = []
    lost: RedisError | OSError = LostConnection("no Sentinel answers")
    try:
        for answer in asyncio.as_completed(asking):
            try:
                answers.append(await answer)
            except (RedisError, OSError) as error:
                lost = error
            if 2 * len(answers) > len(sentinels):
                break
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    if not answers:
        raise lost
    return answers


async def _ask(sentinel: redis.Redis, service: str) -> Answer:
    """The address is asked for by itself: the Sentinel that leads a failover gives the former
    primary's in all else that it says, until the other replicas follow the new one."""
    about: Any = await sentinel.sentinel_master(service)
    place: Any = await sentinel.sentinel_get_master_addr_by_name(service)
    if place is None:
        raise LostConnection(f"a Sentinel knows no primary {service!r}")
    host, port = str_if_bytes(place[0]), int(place[1])
    leads = (host, port) != (about["ip"], about["port"])
    return Answer(
        epoch=about["config-epoch"],
        place=(host, port),
        is_up=leads or not (about["is_sdown"] or about["is_odown"]),
    )


def _newest(answers: Sequence[Answer]) -> Place:
    newest = max(answer.epoch for answer in answers)
    for answer in answers:
        if answer.is_up and answer.epoch == newest:
            return answer.place
    raise LostConnection("the Sentinels say that the primary is down")

"""Where the primary is: the address itself, what Sentinels say now, or a Cluster's nodes said.

Sentinels are asked anew for each connection. After a failover the old primary may still answer,
and a Sentinel that was away may still name it: of those that answer the newest configuration
counts. A server that is a replica is refused, and the Sentinels are asked again. What the nodes
of a Cluster said is remembered until it turns out to be wrong (cluster.py).
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

from packhorse_broker.store.cluster import ClusterMap, Place
from packhorse_broker.store_url import SentinelUrl, read_cluster, read_sentinels


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a Sentinel knows."""

    epoch: int
    """Of its configuration: the higher the newer."""
    place: Place
    is_up: bool


SHARE_OF_SENTINELS: Final = 0.5
"""Of the time for a connection, what the Sentinels have to answer: one may be away."""


class Primaries:
    """Of one store: `connect` to the primary for a slot, `find` where it is."""

    def __init__(self, url: str) -> None:
        """As `packhorse_broker.store_url` describes it."""
        self._url = url
        self._sentinels = read_sentinels(url)
        self._nodes = read_cluster(url)
        self._cluster = ClusterMap(self._nodes) if self._nodes is not None else None

    @property
    def are_several(self) -> bool:
        """Whether each has a share of the slots."""
        return self._cluster is not None

    async def connect(
        self, slot: int, options: dict[str, Any]
    ) -> tuple[AbstractConnection, Place | None]:
        """A new connection, and where it leads as far as that had to be found out.

        `options`: arguments for redis-py. Raises RedisError, OSError if it can't be made, nobody
        answers or nobody knows a primary.
        """
        place = await self.find(slot, options)
        pool = redis.ConnectionPool.from_url(self._url_of(place), **options)
        connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            self.outdated()
            with contextlib.suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)
            raise
        return connection, place

    async def find(self, slot: int, options: dict[str, Any]) -> Place | None:
        """None for a URL that names the server itself. Raises as `connect`."""
        if self._cluster is not None:
            return await self._cluster.place_of(slot, options)
        if self._sentinels is not None:
            return await _told_by_sentinels(self._sentinels, options)
        return None

    def outdated(self) -> None:
        """What was found has turned out to be wrong, or may have: it is found out anew."""
        if self._cluster is not None:
            self._cluster.outdated()

    def _url_of(self, place: Place | None) -> str:
        if place is None:
            return self._url
        if self._nodes is not None:
            return self._nodes.of_node(*place)
        assert self._sentinels is not None
        return self._sentinels.of_primary(*place)


async def _told_by_sentinels(sentinels: SentinelUrl, options: dict[str, Any]) -> Place:
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

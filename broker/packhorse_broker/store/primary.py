"""Where the primary is: the address itself, what Sentinels say now, or a Cluster's nodes said.

Sentinels are asked anew for each connection. After a failover the old primary may still answer,
and a Sentinel that was away may still name it: of those that answer the newest configuration
counts. A server that is a replica is refused, and the Sentinels are asked again. What the nodes
of a Cluster said is remembered until it turns out to be wrong (cluster.py).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError

from packhorse_broker.store.cluster import ClusterMap, Place
from packhorse_broker.store.packing import pack
from packhorse_broker.store.replies import Replies
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

    async def connect(self, slot: int, options: dict[str, Any]) -> tuple[Replies, Place | None]:
        """A new connection, and where it leads as far as that had to be found out.

        `options`: arguments for redis-py. Raises RedisError, OSError if it can't be made, nobody
        answers or nobody knows a primary.
        """
        place = await self.find(slot, options)
        try:
            return await Replies.open(self._url_of(place), options), place
        except BaseException:
            self.outdated()
            raise

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
    """What the newest of the answers says, of more than half of them or of all that answer. Raises
    the last error if none does."""
    within_s = SHARE_OF_SENTINELS * options["socket_connect_timeout"]
    asking = [
        asyncio.create_task(
            _ask(sentinels.of_sentinel(*place), sentinels.service, within_s, options)
        )
        for place in sentinels.sentinels
    ]
    answers: list[Answer] = []
    lost: RedisError | OSError = LostConnection("no Sentinel answers")
    try:
        for answer in asyncio.as_completed(asking):
            try:
                answers.append(await answer)
            except (RedisError, OSError) as error:
                lost = error
            if 2 * len(answers) > len(asking):
                break
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    if not answers:
        raise lost
    return _newest(answers)


async def _ask(url: str, service: str, within_s: float, options: dict[str, Any]) -> Answer:
    """The address is asked for by itself: the Sentinel that leads a failover gives the former
    primary's in all else that it says, until the other replicas follow the new one."""
    sentinel = await Replies.open(url, {**options, "socket_connect_timeout": within_s})
    try:
        about, place = await sentinel.exchange(
            pack(("SENTINEL", "MASTER", service))
            + pack(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)),
            2,
            within_s,
        )
    finally:
        sentinel.drop()
    if place is None:
        raise LostConnection(f"a Sentinel knows no primary {service!r}")
    words = [word.decode() for word in about]
    told = dict(zip(words[::2], words[1::2], strict=True))
    host, port = place[0].decode(), place[1].decode()
    leads = (host, port) != (told["ip"], told["port"])
    is_down = not {"s_down", "o_down"}.isdisjoint(told["flags"].split(","))
    return Answer(
        epoch=int(told["config-epoch"]), place=(host, int(port)), is_up=leads or not is_down
    )


def _newest(answers: Sequence[Answer]) -> Place:
    newest = max(answer.epoch for answer in answers)
    for answer in answers:
        if answer.is_up and answer.epoch == newest:
            return answer.place
    raise LostConnection("the Sentinels say that the primary is down")

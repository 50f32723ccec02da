"""Clients in the store: registration, resume, liveness, and the way out.

A client is removed in three steps, so that a broker that dies in between leaves nothing behind
that another would not find: `begin_removal` (no connection can resume it any more), then the
broker that began ends its claims and handler entries, then `end_removal`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from packhorse_broker.jobs.outages import Outage, united
from packhorse_broker.store.keys import ClientKeys
from packhorse_broker.store.packing import Argument, pack
from packhorse_broker.store.records import ClientRecord, CorruptRecord, decode_client, encode_client
from packhorse_broker.store.schema import SCHEMA_VERSION
from packhorse_broker.store.servers import ServerState, server_state
from packhorse_broker.store.transaction import Lane

_log = structlog.get_logger(__name__)

REMOVAL_LEASE_MS: Final = 10_000
"""How long a broker has to end what a removed client held before another may take over."""

RENEWED: Final = 1_000
"""Clients whose times are written in one command."""

MAX_OUTAGES: Final = 64
"""Outages that are remembered; longer ago matters to few."""

BROKER_TTL_MS: Final = 5_000
"""A broker that did not say for this long that it runs is no longer counted."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a hello was not accepted. `client`: the registration that is in the way."""

    client: ClientRecord
    because: str
    """`secret` (it is another one) or `leaving`."""


@dataclass(frozen=True, slots=True)
class Registered:
    client: ClientRecord
    resumed: bool


@dataclass(frozen=True, slots=True)
class LastResponse:
    """When a client was heard of last, as far as the store knows, and its timeout."""

    at_ms: int
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class LastRun:
    """What brokers have left of themselves."""

    until_ms: int
    """Until when one of them ran; 0: none ever did."""
    outages: tuple[Outage, ...] = ()
    """The newest, apart from each other and in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreState:
    """Which store answers, and the server that has the clients."""

    identity: bytes | None
    """What `schema.py` wrote there."""
    run_id: str
    """Names the process."""
    server: ServerState


class Registry:
    """Transactions on client records, one at a time. All methods raise StoreUnavailable."""

    def __init__(self, lane: Lane, keys: ClientKeys) -> None:
        self._lane = lane
        self._keys = keys
        self._turn = asyncio.Lock()

    async def register(self, wanted: ClientRecord, now_ms: int) -> Registered | Refused:
        """Registers a new client, or resumes the one of that id if the secret's hash is the same.

        A resumed client keeps when it was registered; its roles, timeout, library, connection and
        broker are the new ones.
        """
        key = self._keys.client(wanted.id)
        async with self._turn:
            while True:
                [found] = await self._lane.watch([key])
                known = decode_client(found) if found is not None else None
                refused = _refusal(known, wanted)
                if refused is not None:
                    await self._lane.forget()
                    return refused
                client = wanted
                if known is not None:
                    client = replace(wanted, registered_at=known.registered_at)
                if await self._lane.commit(self._present(client, now_ms)) is not None:
                    return Registered(client, resumed=known is not None)

    def _present(self, client: ClientRecord, now_ms: int) -> list[Argument]:
        return [
            ("SET", self._keys.client(client.id), encode_client(client)),
            ("ZADD", self._keys.alive, now_ms + client.timeout_ms, client.id),
            ("HSET", self._keys.at, client.id, client.connection),
        ]

    async def begin_removal(
        self,
        client_id: str,
        broker: str,
        now_ms: int,
        *,
        if_silent_at: int | None = None,
        if_connection: str | None = None,
    ) -> bool:
        """Gives the client up; True if it is `broker` that has to end what it held, until the
        lease is over. Repeating renews the lease.

        With `if_silent_at` only where its time was up by then, with `if_connection` only where
        that is its newest: it may have come back meanwhile.
        """
        key = self._keys.client(client_id)
        async with self._turn:
            while True:
                [found] = await self._lane.watch([key])
                client = decode_client(found) if found is not None else None
                if client is None or not await self._may_remove(
                    client, broker, now_ms, if_silent_at, if_connection
                ):
                    await self._lane.forget()
                    return False
                leaving = replace(client, broker=broker, leaving_until=now_ms + REMOVAL_LEASE_MS)
                commands: list[Argument] = [
                    ("SET", key, encode_client(leaving)),
                    ("ZREM", self._keys.alive, client_id),
                    ("HDEL", self._keys.at, client_id),
                    ("ZADD", self._keys.leaving, "NX", now_ms, client_id),
                ]
                if await self._lane.commit(commands) is not None:
                    return True

    async def _may_remove(
        self,
        client: ClientRecord,
        broker: str,
        now_ms: int,
        if_silent_at: int | None,
        if_connection: str | None,
    ) -> bool:
        if client.leaving:
            return client.broker == broker or client.leaving_until <= now_ms
        if if_connection is not None and client.connection != if_connection:
            return False
        if if_silent_at is None:
            return True
        [until] = await self._lane.ask(pack(("ZSCORE", self._keys.alive, client.id)))
        return until is not None and float(until) <= if_silent_at

    async def end_removal(self, client_id: str, broker: str) -> None:
        """Nothing of the client is left, unless another broker has taken the removal over."""
        key = self._keys.client(client_id)
        async with self._turn:
            while True:
                [found] = await self._lane.watch([key])
                client = decode_client(found) if found is not None else None
                if client is not None and not (client.leaving and client.broker == broker):
                    await self._lane.forget()
                    return
                commands: list[Argument] = [
                    ("DEL", key),
                    ("ZREM", self._keys.leaving, client_id),
                ]
                if await self._lane.commit(commands) is not None:
                    return

    async def renew(self, until_ms: Mapping[str, int]) -> None:
        """Writes when clients time out, many in one command; those that are gone stay so."""
        if not until_ms:
            return
        scores: list[str | int] = []
        for client_id, until in until_ms.items():
            scores += (until, client_id)
        await self._write(
            *(
                ("ZADD", self._keys.alive, "XX", *scores[at : at + 2 * RENEWED])
                for at in range(0, len(scores), 2 * RENEWED)
            )
        )

    async def newest_connections(self, clients: Sequence[str]) -> dict[str, str | None]:
        """Each client's newest connection, at whatever broker; None if the client is gone."""
        if not clients:
            return {}
        [found] = await self._ask(pack(("HMGET", self._keys.at, *clients)))
        return {
            client_id: connection.decode() if connection is not None else None
            for client_id, connection in zip(clients, found, strict=True)
        }

    async def last_responses(self, clients: Sequence[str]) -> dict[str, LastResponse]:
        """Of those that are registered and not being removed."""
        if not clients:
            return {}
        untils, values = await self._ask(
            pack(("ZMSCORE", self._keys.alive, *clients)),
            pack(("MGET", *map(self._keys.client, clients))),
        )
        known = {record.id: record for record in _decoded(values)}
        return {
            client: LastResponse(
                int(float(until)) - known[client].timeout_ms, known[client].timeout_ms
            )
            for client, until in zip(clients, untils, strict=True)
            if until is not None and client in known
        }

    async def silent(self, now_ms: int, limit: int) -> list[ClientRecord]:
        """Clients whose time was up at `now_ms`, longest silent first."""
        [ids] = await self._ask(
            pack(("ZRANGE", self._keys.alive, "-inf", now_ms, "BYSCORE", "LIMIT", 0, limit))
        )
        return await self._clients(ids)

    async def leaving(self, limit: int) -> dict[str, int]:
        """Clients whose removal has begun, and when."""
        [members] = await self._ask(
            pack(("ZRANGE", self._keys.leaving, 0, limit - 1, "WITHSCORES"))
        )
        return {
            member.decode(): int(float(score))
            for member, score in zip(members[::2], members[1::2], strict=True)
        }

    async def get(self, client_id: str) -> ClientRecord | None:
        [found] = await self._ask(pack(("GET", self._keys.client(client_id))))
        return decode_client(found) if found is not None else None

    async def count(self) -> int:
        """How many clients are registered."""
        [count] = await self._ask(pack(("ZCARD", self._keys.alive)))
        found: int = count
        return found

    async def last_run(self) -> LastRun:
        """Until when some broker ran, as far as it has said so."""
        ran, outages = await self._ask(
            pack(("GET", self._keys.ran)), pack(("ZRANGE", self._keys.outages, 0, -1))
        )
        return LastRun(int(ran or 0), united(map(_outage, outages)))

    async def announce_broker(
        self, broker: str, now_ms: int, outages: Sequence[Outage] = ()
    ) -> frozenset[str]:
        """Says that this broker runs, which schema it knows, and which outages have ended; which
        brokers run, this one among them.

        Outages come first: who reads that some broker ran has to know that none did before.
        """
        await self._write(
            *(
                (
                    "ZADD",
                    self._keys.outages,
                    outage.until_ms,
                    f"{outage.since_ms}-{outage.until_ms}",
                )
                for outage in outages
            ),
            *([("ZREMRANGEBYRANK", self._keys.outages, 0, -1 - MAX_OUTAGES)] if outages else ()),
            ("SET", self._keys.ran, now_ms),
            ("SET", self._keys.knows(broker), SCHEMA_VERSION, "PX", BROKER_TTL_MS),
            ("ZADD", self._keys.brokers, now_ms + BROKER_TTL_MS, broker),
            ("ZREMRANGEBYSCORE", self._keys.brokers, "-inf", now_ms),
        )
        [names] = await self._ask(pack(("ZRANGE", self._keys.brokers, 0, -1)))
        return frozenset(name.decode(errors="replace") for name in names)

    async def withdraw_broker(self, broker: str) -> None:
        await self._ask(
            pack(("ZREM", self._keys.brokers, broker)), pack(("DEL", self._keys.knows(broker)))
        )

    async def store_state(self) -> StoreState:
        """All links leave servers that are no longer the primaries of their keys."""
        await self._lane.leave_former_primaries()
        [identity] = await self._ask(pack(("GET", self._keys.store)))
        server = await server_state(self._ask)
        return StoreState(identity=identity, run_id=self._lane.run_id, server=server)

    async def time_ms(self) -> float:
        """The store's clock, exact to its microsecond."""
        [[seconds, micros]] = await self._ask(pack(("TIME",)))
        return int(seconds) * 1000 + int(micros) / 1000

    async def _write(self, *commands: Argument) -> None:
        async with self._turn:
            await self._lane.write(*commands)

    async def _ask(self, *commands: bytes) -> list[Any]:
        async with self._turn:
            return await self._lane.ask(*commands)

    async def _clients(self, ids: Sequence[bytes]) -> list[ClientRecord]:
        if not ids:
            return []
        [values] = await self._ask(
            pack(("MGET", *(self._keys.client(client_id.decode()) for client_id in ids)))
        )
        return _decoded(values)

    async def close(self) -> None:
        await self._lane.close()


def _outage(member: bytes) -> Outage:
    since, until = member.split(b"-")
    return Outage(int(since), int(until))


def _decoded(values: Sequence[bytes | None]) -> list[ClientRecord]:
    """Those that are there; what can't be read is left out, but said."""
    clients: list[ClientRecord] = []
    for value in values:
        try:
            clients += [decode_client(value)] if value is not None else []
        except CorruptRecord as error:
            _log.error("store.corrupt_client", error=str(error))
    return clients


def _refusal(known: ClientRecord | None, wanted: ClientRecord) -> Refused | None:
    if known is None:
        return None
    if known.leaving:
        return Refused(known, "leaving")
    if known.secret_hash != wanted.secret_hash:
        return Refused(known, "secret")
    return None

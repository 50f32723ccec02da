"""WATCH, read, MULTI, write, EXEC on one connection, with three outcomes told apart.

    committed   `commit` returns the replies of its commands
    conflict    `commit` returns None: a watched key changed, nothing was written
    unknown     the connection was lost around EXEC

The third is settled here. Every transaction also sets the writer's mark to its own number. After
a loss, the old connection is first killed in the store by its CLIENT ID, so that an EXEC still
on its way can't arrive later; then the mark tells whether this very transaction was applied.
Reading alone would not do: it may run before the delayed EXEC does.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Final

import structlog
from redis.exceptions import RedisError, ResponseError

from packhorse_broker.store.errors import OutcomeUnknown, StoreInconsistent, StoreUnavailable
from packhorse_broker.store.link import Argument, Link, StoreAddress, describe, pack

_log = structlog.get_logger(__name__)

_MULTI: Final = pack(("MULTI",))
_EXEC: Final = pack(("EXEC",))
_UNWATCH: Final = pack(("UNWATCH",))

MARK_TTL_S: Final = 7 * 24 * 3600
"""A writer's mark outlives any outage in which it could still be asked for, and then goes."""

RECONNECT_FIRST_MS: Final = 20
RECONNECT_MOST_MS: Final = 2_000
"""Pauses between attempts to reach the store: doubled each time, less up to a half at random."""


class Lane:
    """Runs one transaction at a time on a connection of its own; reconnects by itself.

    `watch`, then `commit` or `forget`; each raises StoreUnavailable when nothing was written
    because the store is away. Not safe for concurrent use.
    """

    def __init__(self, address: StoreAddress, mark: bytes) -> None:
        self._address = address
        self._mark = mark
        self._number = 0
        self._link: Link | None = None

    async def ask(self, *commands: bytes) -> list[Any]:
        """Plain commands outside of a transaction, all replies. Raises StoreUnavailable."""
        link = await self._connected()
        try:
            return await link.ask(*commands)
        except (RedisError, OSError, TimeoutError) as error:
            await self._drop()
            raise StoreUnavailable(describe(error)) from error
        except BaseException:
            # Cancelled between sending and reading: the answers would be taken for the next ones.
            await self._drop()
            raise

    async def watch(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Watches string keys and reads them: one value, or None, for each."""
        _, values = await self.ask(pack(("WATCH", *keys)), pack(("MGET", *keys)))
        found: list[bytes | None] = values
        return found

    async def forget(self) -> None:
        """Ends the watch: nothing is to be written."""
        await self.ask(_UNWATCH)

    async def commit(self, commands: Sequence[Argument]) -> list[Any] | None:
        """Applies all commands or none: their replies, or None if a watched key changed.

        Replies are an empty list if the transaction is known to be applied but its answer was
        lost. Raises StoreUnavailable (not applied), StoreInconsistent. An unknown outcome is
        waited for as long as the store is away: only the store can tell.
        """
        link = self._link
        if link is None:
            return None
        self._number += 1
        mark = pack(("SET", self._mark, self._number, "EX", MARK_TTL_S))
        block = b"".join([_MULTI, *map(pack, commands), mark, _EXEC])
        try:
            replies = await self._execute(link, block, len(commands) + 1)
        except OutcomeUnknown as lost:
            await self._drop()
            applied = await self._settle(link, self._number)
            _log.warning("store.outcome_settled", applied=applied, cause=str(lost))
            return [] if applied else None
        except BaseException:
            await self._drop()
            raise
        if replies is None:
            return None
        for reply in replies:
            if isinstance(reply, Exception):
                raise StoreInconsistent(describe(reply)) from reply
        return replies[:-1]

    async def _execute(self, link: Link, block: bytes, commands: int) -> list[Any] | None:
        """Sends MULTI..EXEC as one write: sent singly, a lost connection could be reopened in
        between and commands would run outside of the transaction."""
        try:
            replies = await link.exchange(block, commands + 2)
        except ResponseError as error:
            # EXECABORT, or the error while queueing that leads to it: surely not applied.
            raise StoreUnavailable(describe(error)) from error
        except (RedisError, OSError, TimeoutError) as error:
            raise OutcomeUnknown(describe(error)) from error
        result: list[Any] | None = replies[-1]
        return result

    async def _settle(self, lost: Link, number: int) -> bool:
        """Whether transaction `number`, sent on `lost`, was applied; final when it returns."""
        while True:
            link = await self._reconnected()
            try:
                if link.run_id == lost.run_id:
                    await self.ask(pack(("CLIENT", "KILL", "ID", lost.connection_id)))
                [mark] = await self.ask(pack(("GET", self._mark)))
            except StoreUnavailable:
                await asyncio.sleep(RECONNECT_MOST_MS / 1000 * random.uniform(0, 0.5))
                continue
            return mark is not None and int(mark) == number

    async def _connected(self) -> Link:
        if self._link is None:
            self._link = await Link.open(self._address)
        return self._link

    async def _reconnected(self) -> Link:
        """Tries until the store is there."""
        pause_ms = RECONNECT_FIRST_MS
        while True:
            try:
                return await self._connected()
            except StoreUnavailable as error:
                _log.warning("store.unavailable", error=str(error), retry_in_ms=pause_ms)
            await asyncio.sleep(pause_ms / 1000 * random.uniform(0.5, 1.0))
            pause_ms = min(2 * pause_ms, RECONNECT_MOST_MS)

    async def _drop(self) -> None:
        if self._link is not None:
            link, self._link = self._link, None
            await link.drop()

    async def close(self, *, forget_mark: bool = True) -> None:
        """Closes the connection; the writer's mark goes with it."""
        if self._link is not None and forget_mark:
            try:
                await self._link.ask(pack(("DEL", self._mark)))
            except (RedisError, OSError, TimeoutError):
                _log.debug("store.mark_kept", mark=self._mark)
        await self._drop()

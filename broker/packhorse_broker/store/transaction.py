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
import contextlib
import random
import time
from collections.abc import Sequence
from typing import Any, Final

import structlog
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from packhorse_broker.store.errors import (
    OutcomeUnknown,
    StoreFull,
    StoreInconsistent,
    StoreUnavailable,
)
from packhorse_broker.store.full import LOAD_SCRIPT, is_full, past_full
from packhorse_broker.store.link import Link, StoreAddress, describe
from packhorse_broker.store.packing import Argument, pack

_log = structlog.get_logger(__name__)

_MULTI: Final = pack(("MULTI",))
_EXEC: Final = pack(("EXEC",))
_UNWATCH: Final = pack(("UNWATCH",))

_ELSEWHERE: Final = (AskError, ClusterDownError, MasterDownError, ReadOnlyError)
"""Said by a node of a Cluster that does not hold the slot, or not now. ASK is not followed: it
holds for one command, and a transaction of old and new keys is refused by both nodes."""

MARK_TTL_S: Final = 7 * 24 * 3600
"""A writer's mark outlives any outage in which it could still be asked for, and then goes."""

RECONNECT_FIRST_MS: Final = 20
RECONNECT_MOST_MS: Final = 2_000
"""Pauses between attempts to reach the store: doubled each time, less up to a half at random."""

_FAR_OFF: Final = ("EXAT", 253_402_300_799)
"""The end of the year 9999: an expiry that is none, for a key that is to be changed and to stay."""

FULL_S: Final = 1.0
"""So long after it was refused for want of memory a lane writes in the way that a full store takes
too, which costs the store more."""


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
        self._ahead: dict[bytes, bytes | None] = {}
        """Keys that are watched, and have been read since, for the next transaction."""
        self.behind: list[Any] = []
        """Answers to what was asked behind the last transaction, on the connection that there
        is."""
        self.trusts = False
        """Whether what was read ahead is taken for what is there: only EXEC can tell."""
        self.in_doubt = False
        """Whether a transaction was sent of which it is not known what came of it."""
        self._written_on: Link | None = None
        """The connection of the last transaction, as long as its answer came on it."""
        self._full_until_s = 0.0
        """By the monotonic clock."""

    @property
    def run_id(self) -> str:
        """Names the store's process that was spoken to last; empty before."""
        return self._link.run_id if self._link is not None else ""

    @property
    def server(self) -> str:
        """Which one that was, where it had to be found out: host and port, else empty."""
        place = self._link.place if self._link is not None else None
        return f"{place[0]}:{place[1]}" if place is not None else ""

    async def leave_former_primaries(self) -> None:
        """Connections of all lanes to this store are made anew then."""
        if await self._address.leave_former_primaries():
            _log.warning("store.failed_over", note="the former primary is left")

    async def ask(self, *commands: bytes) -> list[Any]:
        """Plain commands outside of a transaction, all replies. Raises StoreUnavailable."""
        link = await self._connected()
        try:
            return await link.ask(*commands)
        except (RedisError, OSError, TimeoutError) as error:
            self._drop()
            raise self._failure(error) from error
        except BaseException:
            # Cancelled between sending and reading: the answers would be taken for the next ones.
            self._drop()
            raise

    async def write(self, *commands: Argument) -> list[Any]:
        """Small writes outside of a transaction that may be repeated, also into a full store."""
        if not self._is_full:
            with contextlib.suppress(StoreFull):
                return await self.ask(*map(pack, commands))
        _, *replies = await self.ask(LOAD_SCRIPT, *map(pack, map(past_full, commands)))
        return replies

    async def watch(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Watches string keys and reads them: one value, or None, for each."""
        ahead = self._ahead
        unread = [key for key in keys if key not in ahead]
        found: dict[bytes, bytes | None] = {}
        if unread:
            _, values = await self.ask(*_watched(unread))
            if len(unread) == len(keys):
                read: list[bytes | None] = values
                return read
            found = dict(zip(unread, values, strict=True))
        self.trusts = True
        return [found[key] if key in found else ahead[key] for key in keys]

    async def forget(self) -> None:
        """Ends the watch: nothing is to be written."""
        self._ahead = {}
        self.trusts = False
        await self.ask(_UNWATCH)

    def distrust(self) -> None:
        """What was read ahead may come from before the store was wiped."""
        self._ahead = {}
        self.behind = []

    def has_read(self, key: bytes) -> bool:
        """Whether the key is watched, and was read, ahead."""
        return key in self._ahead

    async def commit(
        self,
        commands: Sequence[Argument],
        *,
        grows: bool = False,
        ahead: Sequence[bytes] = (),
        absent: Sequence[bytes] = (),
        behind: Sequence[bytes] = (),
    ) -> list[Any] | None:
        """Applies all commands or none: their replies, or None if a watched key changed.

        Keys in `ahead` are watched and read at once for the next transaction; what plain commands
        find `behind` this one is then in the attribute. String keys in `absent` were not read: if
        one of them is there, None, as if it had changed.

        What `grows` a full store refuses: StoreFull. It takes the rest, though after None first.
        Replies are an empty list if the transaction is known to be applied but its answer was
        lost. Raises StoreUnavailable (not applied), StoreInconsistent. An unknown outcome is
        waited for as long as the store is away: only the store can tell.
        """
        link = self._link
        if link is None or link.is_lost:
            self._drop()
            return None
        self._ahead = {}
        self.behind = []
        self.trusts = False
        self._written_on = None
        self._number += 1
        mark: Argument = ("SET", self._mark, self._number, "EX", MARK_TTL_S)
        forced = self._is_full and not grows
        if forced:
            await self.ask(LOAD_SCRIPT)
            commands, mark = [past_full(command) for command in commands], past_full(mark)
        # If the look at what is absent is not permitted, neither is this, and EXEC does nothing.
        closing = [("GETEX", self._mark), mark] if absent else [mark]
        block = b"".join([_MULTI, *map(pack, commands), *map(pack, closing), _EXEC])
        self.in_doubt = True
        try:
            there, replies = await self._execute(
                link, block, len(commands) + len(closing), [*_watched(ahead), *behind], absent
            )
        except StoreFull:
            self._drop()
            if forced or grows:
                raise
            return None
        except OutcomeUnknown as lost:
            self._drop()
            applied = await self._settle(link, self._number)
            _log.warning("store.outcome_settled", applied=applied, cause=str(lost))
            return [] if applied else None
        except BaseException:
            self._drop()
            raise
        finally:
            self.in_doubt = False
        if ahead or behind:
            await self._read_ahead(link, ahead, len(behind))
        if there:
            await self.ask(*(pack(("PERSIST", key)) for key in there))
        if replies is None:
            return None
        for reply in replies:
            if isinstance(reply, Exception):
                raise StoreInconsistent(describe(reply)) from reply
        self._written_on = link
        return replies[: len(commands)]

    async def _read_ahead(self, link: Link, keys: Sequence[bytes], behind: int) -> None:
        """The answers that stand behind those of the transaction, whose outcome is known."""
        watched = 2 if keys else 0
        try:
            found = await link.more(watched + behind)
        except (RedisError, OSError, TimeoutError) as error:
            _log.debug("store.not_read_ahead", error=describe(error))
            self._drop()
        except BaseException:
            self._drop()
            raise
        else:
            if watched:
                self._ahead = dict(zip(keys, found[watched - 1], strict=True))
            self.behind = found[watched:]

    async def acknowledged(self, wait: bytes) -> Any:
        """The answer to WAIT or WAITAOF for the transaction just committed.

        None if it can't be had: the store counts what one connection wrote, and that is lost.
        """
        link = self._written_on
        if link is None or link is not self._link:
            return None
        try:
            [reply] = await link.ask(wait)
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("store.not_acknowledged", error=describe(error))
            self._drop()
            return None
        except BaseException:
            self._drop()
            raise
        return reply

    async def _execute(
        self,
        link: Link,
        block: bytes,
        commands: int,
        behind: Sequence[bytes],
        absent: Sequence[bytes],
    ) -> tuple[list[bytes], list[Any] | None]:
        """Sends MULTI..EXEC as one write: sent singly, a lost connection could be reopened in
        between and commands would run outside of the transaction. What stands behind it goes with
        it, and its answers are left to be read.

        Before it goes a look at keys that are thought to be absent. It changes what it finds, which
        is watched: so the transaction fails then, and nothing has to be known of it before. Returns
        the keys that were found, and the replies.
        """
        looks: list[bytes] = []
        if absent:
            looks = [pack(("WATCH", *absent)), *(pack(("GETEX", key, *_FAR_OFF)) for key in absent)]
        data = b"".join([*looks, block, *behind])
        try:
            if not looks:
                return [], (await link.exchange(data, commands + 2))[-1]
            found = await _looked(link, data, len(looks))
            replies = await link.more(commands + 2)
        except ResponseError as error:
            # EXECABORT, or the error while queueing that leads to it: surely not applied.
            raise self._failure(error) from error
        except (RedisError, OSError, TimeoutError) as error:
            raise OutcomeUnknown(describe(error)) from error
        there = [key for key, value in zip(absent, found, strict=True) if value is not None]
        return there, replies[-1]

    @property
    def _is_full(self) -> bool:
        """Whether the store lately was."""
        return time.monotonic() < self._full_until_s

    def _failure(self, error: BaseException) -> StoreUnavailable:
        """What to raise for an error after which nothing was written."""
        if isinstance(error, _ELSEWHERE):
            self._address.primaries.outdated()
        if isinstance(error, MovedError) and not self._address.primaries.are_several:
            return StoreUnavailable(
                f"{describe(error)}: this is a node of a Cluster, which is named by cluster://"
            )
        if not is_full(error):
            return StoreUnavailable(describe(error))
        self._full_until_s = time.monotonic() + FULL_S
        return StoreFull(describe(error))

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

    def _drop(self) -> None:
        self._ahead = {}
        self.behind = []
        self.trusts = False
        if self._link is not None:
            link, self._link = self._link, None
            link.drop()

    async def close(self, *, forget_mark: bool = True) -> None:
        """Closes the connection; the writer's mark goes with it."""
        if self._link is not None and forget_mark:
            try:
                await self._link.ask(pack(("DEL", self._mark)))
            except (RedisError, OSError, TimeoutError):
                _log.debug("store.mark_kept", mark=self._mark)
        self._drop()


def _watched(keys: Sequence[bytes]) -> Sequence[bytes]:
    """Commands that watch keys and read them, if there are any."""
    return (pack(("WATCH", *keys)), pack(("MGET", *keys))) if keys else ()


async def _looked(link: Link, data: bytes, looks: int) -> list[Any]:
    """Sends all, and reads what the looks found. Raises OutcomeUnknown where one was refused and
    what stands behind it may have been done: a node that is the wrong one refuses that as well."""
    try:
        _, *found = await link.exchange(data, looks)
    except _ELSEWHERE:
        raise
    except ResponseError as error:
        raise OutcomeUnknown(describe(error)) from error
    return found

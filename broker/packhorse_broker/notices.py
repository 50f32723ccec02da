"""What brokers on one store tell each other: that something changed, never what it became.

Sent within the transaction that made the change, over the store's publish/subscribe, which may
lose messages. So a notice only says where to look; whoever missed one finds the same by reading,
a little later.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgpack
import structlog
from msgspec import Struct, structs

from packhorse_broker.store.changes import Change
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.link import StoreAddress
from packhorse_broker.store.subscription import Publisher, Subscription

_log = structlog.get_logger(__name__)

RECONNECT_S: Final = 0.5
"""Pause before a lost subscription is made anew."""

MAX_NAMED: Final = 1_000
"""Jobs named in one notice; a batch has no more."""


class Notice(Struct, frozen=True):
    """What one broker tells the others. Fields are only added, at the end."""

    broker: str
    queued: tuple[str, ...] = ()
    """Types that have new jobs waiting."""
    owed: tuple[str, ...] = ()
    """Clients with new outcomes."""
    changed: tuple[str, ...] = ()
    """Jobs that somebody may watch."""
    revoked: tuple[tuple[str, str, bytes], ...] = ()
    """Claims that are over: client, job, token."""
    moved: tuple[str, ...] = ()
    """Clients that connected anew or were removed."""


class Notices:
    """Sends and receives notices. `run` until cancelled; `heard` gets each of another broker's."""

    def __init__(
        self,
        broker: str,
        address: StoreAddress,
        channel: bytes,
        publisher: Publisher,
        *,
        heard: Callable[[Notice], None],
        missed: Callable[[], None],
    ) -> None:
        self.broker = broker
        self._channel = channel
        self.peers = 0
        """Other brokers on this store: without any, changes are not published."""
        self._address = address
        self._publisher = publisher
        self._heard = heard
        self._missed = missed

    def of_changes(self, changes: Sequence[Change]) -> bytes | None:
        """The notice of a batch, or None if nobody would hear it."""
        if not self.peers:
            return None
        owed = {
            handler
            for change in changes
            if change.job.state.finished and not change.removed
            for handler in change.job.handlers
        }
        revoked = tuple(
            (runner, change.job.id, token)
            for change in changes
            if change.revoked and change.ended_claim is not None
            for runner, token in (change.ended_claim,)
        )
        return self.encode(
            Notice(
                broker=self.broker,
                queued=tuple({change.job.type for change in changes if change.queued}),
                owed=tuple(owed),
                changed=tuple(change.job.id for change in changes[:MAX_NAMED]),
                revoked=revoked,
            )
        )

    async def say_running(self) -> None:
        """Keeps the channel audible: a subscription that hears nothing is taken for dead."""
        await self._publish(Notice(broker=self.broker))

    async def say_moved(self, client: str) -> None:
        await self._publish(Notice(broker=self.broker, moved=(client,)))

    async def _publish(self, notice: Notice) -> None:
        """Outside of any transaction. Raises StoreUnavailable."""
        await self._publisher.publish(self.encode(notice))

    @staticmethod
    def encode(notice: Notice) -> bytes:
        packed: bytes = msgpack.packb(structs.astuple(notice))
        return packed

    async def run(self) -> None:
        """Listens, and says `missed` whenever something may have gone by."""
        while True:
            try:
                async with Subscription(self._address, self._channel) as messages:
                    self._missed()
                    async for data in messages:
                        self._receive(data)
            except StoreUnavailable as error:
                _log.warning("notices.lost", error=str(error))
            await asyncio.sleep(RECONNECT_S)

    def _receive(self, data: bytes) -> None:
        try:
            broker, queued, owed, changed, revoked, moved, *_ = msgpack.unpackb(data)
            notice = Notice(
                broker,
                tuple(queued),
                tuple(owed),
                tuple(changed),
                tuple((client, job, token) for client, job, token in revoked),
                tuple(moved),
            )
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            _log.error("notices.unreadable", size_bytes=len(data), error=repr(error))
            return
        if notice.broker == self.broker:
            return
        try:
            self._heard(notice)
        except Exception:  # noqa: BLE001 - the next notice is another one
            _log.exception("notices.not_followed")

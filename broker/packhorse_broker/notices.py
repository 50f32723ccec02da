"""What brokers on one store tell each other: that something changed, never what it became.

Sent within the transaction that made the change, over the store's publish/subscribe, which may
lose messages. So a notice only says where to look; whoever missed one finds the same by reading,
a little later.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from typing import Any, Final, cast, get_args

import msgpack
import structlog
from msgspec import Struct, structs

from packhorse_broker.cancelling import newly_requested
from packhorse_broker.store.changes import Change, RevokeReason
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.subscription import Channel

_log = structlog.get_logger(__name__)

RECONNECT_S: Final = 0.5
"""Pause before a lost subscription is made anew."""

MAX_NAMED: Final = 1_000
"""Jobs named in one notice; a batch has no more."""

PLAIN_REASON: Final = "removed"
"""Why a claim is over, where the notice does not say so."""


class Notice(Struct, frozen=True):
    """What one broker tells the others. Fields are only added, at the end."""

    broker: str
    queued: tuple[str, ...] = ()
    """Types that have new jobs waiting, for which no runner of the broker has a place."""
    owed: tuple[str, ...] = ()
    """Clients with new outcomes."""
    changed: tuple[str, ...] = ()
    """Jobs that somebody may watch."""
    revoked: tuple[tuple[str, str, bytes], ...] = ()
    """Claims that are over: client, job, token."""
    moved: tuple[str, ...] = ()
    """Clients that connected anew or were removed."""
    cancelled: tuple[tuple[str, str, bytes], ...] = ()
    """Claims whose jobs are to be cancelled: client, job, token."""
    due: int = 0
    """When the first of the changed jobs is due, in ms; 0: none of them is."""
    types: tuple[str, ...] = ()
    """Types of which something was set."""
    owed_groups: tuple[str, ...] = ()
    """Groups with outcomes for which no member at the broker that tells it has room."""
    reasons: tuple[str, ...] = ()
    """Why each of `revoked` is over."""
    dropped: tuple[tuple[str, str, int], ...] = ()
    """Clients that were to handle a job which was removed: client, job, its last version."""
    given_back: tuple[str, ...] = ()
    """Groups of which this broker gave back outcomes that it had taken."""

    def revocations(self) -> Iterator[tuple[str, str, bytes, RevokeReason]]:
        """Claims that are over, each with the reason: client, job, token, reason."""
        reasons = chain(self.reasons, repeat(PLAIN_REASON))
        for (client, job, token), reason in zip(self.revoked, reasons, strict=False):
            yield client, job, token, _reason(reason)


class Notices:
    """Sends and receives notices. `run` until cancelled; `heard` gets each of another broker's."""

    def __init__(
        self,
        broker: str,
        channels: Sequence[Channel],
        *,
        heard: Callable[[Notice], None],
        missed: Callable[[], None],
        earliest: Callable[[Sequence[Change]], int],
        keeps: Callable[[str, Sequence[str]], bool],
        has_room: Callable[[str], bool],
    ) -> None:
        """`channels`: one in each partition; `earliest`: when the first of some jobs is due,
        0: none is; `keeps`: whether runners at this broker can take these new jobs of a type, so
        that nobody else need know; `has_room`: whether a group's members here have room for what
        ends here."""
        self.broker = broker
        self._channels = channels
        self.peers = 0
        """Other brokers on this store: without any, changes are not published."""
        self._heard = heard
        self._missed = missed
        self._earliest = earliest
        self._keeps = keeps
        self._has_room = has_room

    def of_changes(self, changes: Sequence[Change]) -> bytes | None:
        """The notice of a batch, or None if nobody would hear it."""
        if not self.peers:
            return None
        finished = [
            change.job for change in changes if change.job.state.finished and not change.removed
        ]
        groups = {group for job in finished for group in job.groups}
        revoked = [
            (change.job.id, ended)
            for change in changes
            for ended in change.ended_claims
            if ended.revoked is not None
        ]
        return self.encode(
            Notice(
                broker=self.broker,
                queued=tuple(
                    job_type
                    for job_type, jobs in _queued(changes).items()
                    if not self._keeps(job_type, jobs)
                ),
                owed=tuple({handler for job in finished for handler in job.handlers}),
                changed=tuple(change.job.id for change in changes[:MAX_NAMED]),
                revoked=tuple((ended.runner, job, ended.token) for job, ended in revoked),
                cancelled=tuple(
                    (job.runner, job.id, job.token)
                    for job in (change.job for change in changes if newly_requested(change))
                    if job.runner is not None and job.token is not None
                ),
                due=self._earliest(changes),
                owed_groups=tuple(group for group in groups if not self._has_room(group)),
                reasons=tuple(ended.revoked or PLAIN_REASON for _, ended in revoked),
                dropped=tuple(islice(_dropped(changes), MAX_NAMED)),
            )
        )

    async def say_running(self) -> None:
        """Keeps all channels audible: a subscription that hears nothing is taken for dead."""
        data = self.encode(Notice(broker=self.broker))
        await asyncio.gather(*(channel.publish(data) for channel in self._channels))

    async def say_moved(self, client: str) -> None:
        await self._publish(Notice(broker=self.broker, moved=(client,)))

    async def say_types_changed(self, types: Sequence[str]) -> None:
        await self._publish(Notice(broker=self.broker, types=tuple(types)))

    async def say_owed(self, group: str) -> None:
        """The group is owed more than its members here have room for."""
        await self._publish(Notice(broker=self.broker, owed_groups=(group,)))

    async def say_given_back(self, group: str) -> None:
        """Others may bring what this broker had taken."""
        await self._publish(Notice(broker=self.broker, given_back=(group,)))

    async def _publish(self, notice: Notice) -> None:
        """Outside of any transaction; on any of the channels, for all are heard. Raises
        StoreUnavailable if none can be spoken on."""
        data = self.encode(notice)
        *others, last = self._channels
        for channel in others:
            with contextlib.suppress(StoreUnavailable):
                await channel.publish(data)
                return
        await last.publish(data)

    @staticmethod
    def encode(notice: Notice) -> bytes:
        packed: bytes = msgpack.packb(structs.astuple(notice))
        return packed

    async def run(self) -> None:
        """Listens, and says `missed` whenever something may have gone by."""
        async with asyncio.TaskGroup() as listening:
            for channel in self._channels:
                listening.create_task(self._listen(channel), name="packhorse-notices")

    async def _listen(self, channel: Channel) -> None:
        lost = False
        while True:
            try:
                async with channel.listen() as messages:
                    lost = False
                    self._missed()
                    async for data in messages:
                        self._receive(data)
            except StoreUnavailable as error:
                if not lost:
                    _log.warning("notices.lost", error=str(error))
                lost = True
            await asyncio.sleep(RECONNECT_S)

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()

    def _receive(self, data: bytes) -> None:
        try:
            notice = _decoded(msgpack.unpackb(data))
        except (KeyError, ValueError, TypeError, msgpack.UnpackException) as error:
            _log.error("notices.unreadable", size_bytes=len(data), error=repr(error))
            return
        if notice.broker == self.broker:
            return
        try:
            self._heard(notice)
        except Exception:  # noqa: BLE001 - the next notice is another one
            _log.exception("notices.not_followed")


def _decoded(fields: list[Any]) -> Notice:
    """Of a broker of this version, or of one that knows more or fewer fields.

    Raises KeyError, ValueError, TypeError.
    """
    told = dict(zip(Notice.__struct_fields__, fields, strict=False))
    return Notice(
        broker=told["broker"],
        queued=tuple(told["queued"]),
        owed=tuple(told["owed"]),
        changed=tuple(told["changed"]),
        revoked=_claims(told["revoked"]),
        moved=tuple(told["moved"]),
        cancelled=_claims(told.get("cancelled", ())),
        due=int(told.get("due", 0)),
        types=tuple(told.get("types", ())),
        owed_groups=tuple(told.get("owed_groups", ())),
        reasons=tuple(told.get("reasons", ())),
        dropped=tuple(
            (client, job, int(version)) for client, job, version in told.get("dropped", ())
        ),
        given_back=tuple(told.get("given_back", ())),
    )


def _queued(changes: Iterable[Change]) -> dict[str, list[str]]:
    """Jobs that wait now, by type."""
    found: dict[str, list[str]] = {}
    for change in changes:
        if change.queued:
            found.setdefault(change.job.type, []).append(change.job.id)
    return found


def _dropped(changes: Iterable[Change]) -> Iterator[tuple[str, str, int]]:
    for change in changes:
        if change.removed:
            job = change.job
            yield from ((handler, job.id, job.version) for handler in job.handlers)


def _claims(told: Iterable[Any]) -> tuple[tuple[str, str, bytes], ...]:
    return tuple((client, job, token) for client, job, token in told)


def _reason(told: str) -> RevokeReason:
    """A newer broker may know others."""
    return cast(RevokeReason, told) if told in get_args(RevokeReason) else PLAIN_REASON

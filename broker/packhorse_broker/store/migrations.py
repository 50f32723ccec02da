"""From the store's schema version to this release's, while brokers are at work.

    look    -> Progress     what is to be done, and how far it is
    run     does it, or as much as the brokers that still run allow

A release that changes what is kept adds a `Step` to `STEPS` and raises SCHEMA_VERSION. Each step
is two changes of values, and brokers of the older release, which run meanwhile, set what they
may do:

    expand    adds what this release needs and writes nothing that the older one can't read
    (open)    now brokers of this release may start; both kinds work on the store. They write
              what the older one reads, as long as the store has the older version
    contract  begins when no broker of the older release runs, and from then on none starts:
              what those wrote meanwhile is brought to the new form, what only they needed goes

A change is applied page by page, each in a transaction that watches the values it read, and how
far it came is kept in the store: after a crash it goes on from there. One process does it at a
time, by a lease. One that lost its lease without knowing (it was stopped, or cut off) does no
harm: its page fails by the watched values or brings them to the form that they are to have.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, TypeAlias

import msgpack

from packhorse_broker.store import schema
from packhorse_broker.store.errors import SchemaRefused, StoreError, StoreUnavailable
from packhorse_broker.store.keys import ClientKeys, PartitionKeys
from packhorse_broker.store.packing import Argument, pack
from packhorse_broker.store.schema import StoreIdentity
from packhorse_broker.store.transaction import Lane

PAGE: Final = 250
"""Keys that the store looks through for one page, so about the most values in a transaction: few
milliseconds, and few of them change under it."""

LEASE_MS: Final = 10_000
"""How long a process that does not finish a page keeps others from going on: far longer than a
page takes, and bearable after a crash."""

TRIES: Final = 3
"""Of a page whose values change under it, before it is cut in halves."""

TRIES_OF_ONE: Final = 1_000
"""Of one value: brokers leave far more than this between two changes of one job."""

Change: TypeAlias = Callable[[bytes, bytes], Sequence[Argument]]
"""From a key and its value to the commands that bring it to the new form; none if it has it, so
that repeating does nothing. Pure: it may be called again and again before it is committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """To `version` from the one before."""

    version: int
    about: str
    """What it does, for people."""
    prefix: Callable[[PartitionKeys], bytes]
    """What the keys of the values (strings) begin with."""
    expand: Change
    contract: Change


STEPS: Final[tuple[Step, ...]] = ()
"""All that are known, oldest first: versions follow each other up to SCHEMA_VERSION."""


class Phase(StrEnum):
    EXPAND = "expand"
    OPEN = "open"
    CONTRACT = "contract"


class MigrationHeld(StoreError):
    """Another process is doing it: look again later."""


class OlderBrokersRun(StoreError):
    """It waits for brokers of the older release to be replaced: the message names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it is; kept in the store as an array of these fields."""

    target: int
    phase: Phase = Phase.EXPAND
    version: int
    """Of the step that is being applied."""
    partition: int = 0
    """To which it is being applied."""
    cursor: int = 0
    """Where its next page begins, as the store's SCAN counts."""
    run_id: str = ""
    """The store's process that counted so: in another one it begins anew."""
    seen: int = 0
    """Values looked at in this phase, some of them perhaps twice."""
    changed: int = 0
    holder: str = ""
    until_ms: int = 0
    """When the holder's lease ends, by the store's clock."""


class Migration:
    """Of one store, by `steps`. Not safe for concurrent use; all methods raise StoreUnavailable."""

    def __init__(
        self,
        clients: Lane,
        client_keys: ClientKeys,
        jobs: Sequence[tuple[Lane, PartitionKeys]],
        steps: Sequence[Step],
        *,
        holder: str,
        lease_ms: int = LEASE_MS,
    ) -> None:
        """`jobs`: each partition."""
        self._clients = clients
        self._client_keys = client_keys
        self._jobs = jobs
        self._steps = {step.version: step for step in steps}
        self._holder = holder
        self._lease_ms = lease_ms

    async def look(self) -> tuple[StoreIdentity, Progress | None]:
        """The store, and what is to be done or goes on; None if nothing is.

        Raises SchemaRefused for a store that a newer release has begun to change, that is none of
        Packhorse's or has not been used.
        """
        identity, progress, _ = await self._look()
        return identity, progress

    async def older_brokers(self, version: int) -> list[str]:
        """Names of the brokers at work that know only versions before this one."""
        return await older_brokers(self._clients, self._client_keys, version)

    async def run(self, told: Callable[[Progress], None]) -> StoreIdentity:
        """Does all there is to do; `told` hears of each page. The store as it is then.

        Raises OlderBrokersRun when it can't go on before they are replaced, MigrationHeld if
        another process is doing it, SchemaRefused as `look`.
        """
        while True:
            progress = await self._take()
            if progress is None:
                identity, _ = await self.look()
                return identity
            try:
                await self._finish(progress, told)
            finally:
                await self._give_back()

    async def _finish(self, progress: Progress, told: Callable[[Progress], None]) -> None:
        first = progress.version
        if progress.phase is Phase.EXPAND:
            for version in range(progress.version, progress.target + 1):
                progress = await self._apply(progress, version, told)
            first = (await self.look())[0].schema + 1
            progress = replace(
                progress, phase=Phase.OPEN, version=first, partition=0, seen=0, changed=0
            )
            progress = await self._keep(progress)
            told(progress)
        await self._none_older(progress)
        if progress.phase is Phase.OPEN:
            progress = await self._keep(replace(progress, phase=Phase.CONTRACT), close=True)
            # One may have started before the door was closed, and be seen only now.
            await self._none_older(progress)
        for version in range(first, progress.target + 1):
            progress = await self._apply(progress, version, told)
        await self._keep(progress, end=True)

    # -- pages

    async def _apply(
        self, progress: Progress, version: int, told: Callable[[Progress], None]
    ) -> Progress:
        """All pages of one step's change, in all partitions."""
        if progress.version != version:
            progress = replace(progress, version=version, partition=0, cursor=0)
        for partition in range(progress.partition, len(self._jobs)):
            progress = replace(progress, partition=partition)
            progress = await self._apply_in(progress, self._steps[version], told)
        return progress

    async def _apply_in(
        self, progress: Progress, step: Step, told: Callable[[Progress], None]
    ) -> Progress:
        """In one partition."""
        lane, keys = self._jobs[progress.partition]
        change = step.expand if progress.phase is Phase.EXPAND else step.contract
        prefix = step.prefix(keys)
        while True:
            cursor = progress.cursor if progress.run_id == lane.run_id else 0
            # SCAN tells of no key that has moved to another server: asking for one by name does.
            [[following, found], _] = await lane.ask(
                pack(("SCAN", cursor, "MATCH", _escaped(prefix) + b"*", "COUNT", PAGE)),
                pack(("EXISTS", prefix)),
            )
            own = [key for key in found if key.startswith(prefix)]
            changed = await self._change(lane, own, change)
            progress = replace(
                progress,
                cursor=int(following),
                run_id=lane.run_id,
                seen=progress.seen + len(found),
                changed=progress.changed + changed,
            )
            progress = await self._keep(progress)
            told(progress)
            if not progress.cursor:
                return progress

    async def _change(self, lane: Lane, keys: Sequence[bytes], change: Change) -> int:
        """How many values were not in the new form."""
        changed, parts = 0, [keys] if keys else []
        while parts:
            part = parts.pop()
            for _ in range(TRIES if len(part) > 1 else TRIES_OF_ONE):
                values = await lane.watch(part)
                pairs = zip(part, values, strict=True)
                asked = [change(key, value) for key, value in pairs if value is not None]
                commands = [command for of_one in asked for command in of_one]
                if not commands:
                    await lane.forget()
                    break
                if await lane.commit(commands) is not None:
                    changed += sum(map(bool, asked))
                    break
            else:
                if len(part) == 1:
                    raise StoreUnavailable(f"{part[0]!r} changes all the time: try again")
                parts += [part[: len(part) // 2], part[len(part) // 2 :]]
        return changed

    # -- the lease, and how far it is

    async def _take(self) -> Progress | None:
        """Begins, or goes on with what another left; None if there is nothing to do.

        Another's lease is waited for once: if it was renewed meanwhile, that one is at work.
        """
        waited = False
        while True:
            _, progress, now_ms = await self._look(watched=True)
            if progress is None:
                await self._clients.forget()
                return None
            left_ms = progress.until_ms - now_ms
            if progress.holder not in ("", self._holder) and left_ms > 0:
                await self._clients.forget()
                if waited:
                    raise MigrationHeld(
                        f"{progress.holder} is migrating the store to schema version "
                        f"{progress.target}"
                    )
                waited = True
                await asyncio.sleep(left_ms / 1000)
                continue
            taken = replace(progress, holder=self._holder, until_ms=now_ms + self._lease_ms)
            if await self._clients.commit([self._set(taken)]) is not None:
                return taken

    async def _keep(
        self, progress: Progress, *, close: bool = False, end: bool = False
    ) -> Progress:
        """Writes how far it is and renews the lease; with `close` the store has the new version,
        with `end` nothing is left to do. Raises MigrationHeld if the lease was lost."""
        while True:
            identity, held, now_ms = await self._look(watched=True)
            if held is None or held.holder != self._holder:
                await self._clients.forget()
                raise MigrationHeld("another process has taken the migration over")
            progress = replace(progress, until_ms=now_ms + self._lease_ms)
            commands: list[Argument] = [self._set(progress)]
            if end:
                commands = [("DEL", self._client_keys.migration)]
            if close:
                closed = replace(identity, schema=progress.target)
                commands.append(("SET", self._client_keys.store, schema.packed(closed)))
            if await self._clients.commit(commands) is not None:
                return progress

    async def _give_back(self) -> None:
        """Lets the next one begin at once. If the store is away the lease runs out by itself."""
        try:
            [found] = await self._clients.watch([self._client_keys.migration])
            progress = _decoded(found) if found is not None else None
            if progress is None or progress.holder != self._holder:
                await self._clients.forget()
                return
            await self._clients.commit([self._set(replace(progress, holder="", until_ms=0))])
        except StoreUnavailable:
            return

    async def _look(self, *, watched: bool = False) -> tuple[StoreIdentity, Progress | None, int]:
        """The store, what there is to do, and the store's time."""
        keys = (self._client_keys.store, self._client_keys.migration)
        found: Sequence[bytes | None]
        if watched:
            found = await self._clients.watch(keys)
        else:
            [found] = await self._clients.ask(pack(("MGET", *keys)))
        if found[0] is None:
            raise SchemaRefused("the store has not been used: there is nothing to migrate")
        identity = schema.read(found[0])
        progress = _decoded(found[1]) if found[1] is not None else None
        known = schema.SCHEMA_VERSION
        if progress is not None and progress.target > known:
            raise SchemaRefused(
                f"the store is on its way to schema version {progress.target}, this packhorse "
                f"knows up to {known}: run the newer packhorse"
            )
        behind = identity.schema < known
        if progress is None or (progress.phase is not Phase.CONTRACT and progress.target < known):
            first = identity.schema + 1
            progress = Progress(target=known, version=first) if behind else None
        [[seconds, micros]] = await self._clients.ask(pack(("TIME",)))
        return identity, progress, int(seconds) * 1000 + int(micros) // 1000

    async def _none_older(self, progress: Progress) -> None:
        older = await self.older_brokers(progress.target)
        if older:
            raise OlderBrokersRun(
                f"brokers of the older release run: {', '.join(older)}. Replace them by brokers "
                f"of this one, which may start now beside them; then migrate again"
            )

    def _set(self, progress: Progress) -> Argument:
        values = [getattr(progress, name) for name in Progress.__dataclass_fields__]
        return ("SET", self._client_keys.migration, msgpack.packb(values))


async def older_brokers(lane: Lane, keys: ClientKeys, version: int) -> list[str]:
    """Brokers at work that know only schema versions before this one. Raises StoreUnavailable."""
    [[seconds, _]] = await lane.ask(pack(("TIME",)))
    [members] = await lane.ask(
        pack(("ZRANGE", keys.brokers, int(seconds) * 1000, "+inf", "BYSCORE"))
    )
    names = [member.decode(errors="replace") for member in members]
    if not names:
        return []
    [known] = await lane.ask(pack(("MGET", *map(keys.knows, names))))
    return sorted(
        name for name, knows in zip(names, known, strict=True) if int(knows or b"1") < version
    )


def _decoded(data: bytes) -> Progress:
    try:
        values: list[Any] = msgpack.unpackb(data, raw=False)
        progress = Progress(**dict(zip(Progress.__dataclass_fields__, values, strict=True)))
        return replace(progress, phase=Phase(progress.phase))
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise SchemaRefused(f"the record of the migration can't be read: {error!r}") from error


def _escaped(prefix: bytes) -> bytes:
    """For SCAN's pattern: the braces and colons of keys are plain there, these are not."""
    escaped = prefix
    for special in (b"\\", b"*", b"?", b"["):
        escaped = escaped.replace(special, b"\\" + special)
    return escaped

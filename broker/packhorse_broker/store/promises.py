"""What the store's own settings promise, and where they contradict what the broker is to promise.

Read once, at the start. A store that may drop jobs to make room is refused, as is one that can't
do what `durability` asks for; other doubts are said and lived with.
"""

import time
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import structlog
from redis.exceptions import ResponseError

from packhorse_broker.store.durability import Durability, Waits
from packhorse_broker.store.errors import StoreUnavailable, StoreUnsafe
from packhorse_broker.store.packing import pack
from packhorse_broker.store.transaction import Lane

_log = structlog.get_logger(__name__)

Kept: TypeAlias = Literal["unknown", "memory", "everysec", "disk"]
"""What a change that the store has answered for survives. `memory`: nothing; `everysec`: the end of
the store's process, and of what is older than a second the loss of power; `disk`: both."""

KEPT: Final[tuple[Kept, ...]] = get_args(Kept)
"""From the worst to the best."""

SETTINGS: Final = (
    "appendonly",
    "appendfsync",
    "maxmemory",
    "maxmemory-policy",
    "min-replicas-to-write",
)

HONEST_MS: Final = 500
"""A store that writes to disk once a second can't have done so twice in less than this."""

HONEST_ROUNDS: Final = 2
"""So often in a row, for one slow answer may have come from something else."""

SELF_TEST_MS: Final = 3_000
"""How long one WAITAOF of the self-test may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """As CONFIG GET tells them; empty where it may not be asked."""

    values: dict[str, str]
    replicas: int
    """Connected now."""

    def kept(self) -> Kept:
        if not self.values:
            return "unknown"
        if self.values.get("appendonly") != "yes":
            return "memory"
        match self.values.get("appendfsync"):
            case "always":
                return "disk"
            case "everysec":
                return "everysec"
            case _:
                return "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Something that is not as it should be; `grave`: jobs would be lost without a word."""

    text: str
    grave: bool = False


async def read_settings(lane: Lane) -> StoreSettings:
    """Raises StoreUnavailable."""
    [text] = await lane.ask(pack(("INFO", "replication")))
    lines = (line.partition(":") for line in text.decode().splitlines())
    replication = {name: value.strip() for name, _, value in lines}
    try:
        [pairs] = await lane.ask(pack(("CONFIG", "GET", *SETTINGS)))
    except StoreUnavailable as error:
        if not isinstance(error.__cause__, ResponseError):
            raise
        pairs = []  # A hosted store lets nobody ask.
    words = [part.decode() for part in pairs]
    return StoreSettings(
        values=dict(zip(words[::2], words[1::2], strict=True)),
        replicas=int(replication.get("connected_slaves", "0")),
    )


async def waitaof_is_honest(lane: Lane, key: bytes) -> bool:
    """Whether WAITAOF answers when the change is on the disk, and not before.

    Valkey 9.1 with `appendfsync everysec` answers within a tenth of a second; a store that waits
    takes, after the first answer, a second for each. Raises StoreUnavailable.
    """
    for number in range(1 + HONEST_ROUNDS):
        started = time.monotonic()
        try:
            await lane.write(("SET", key, number, "PX", 10 * SELF_TEST_MS))
            [reply] = await lane.ask(pack(("WAITAOF", 1, 0, SELF_TEST_MS)))
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, ResponseError):
                raise
            return False  # It has no append-only file, or does not know the command.
        if int(reply[0]) < 1:
            return False
        if number and (time.monotonic() - started) * 1000 < HONEST_MS:
            return False
    return True


def doubts(
    settings: StoreSettings, wanted: Durability, replicas: int, *, honest: bool
) -> list[Doubt]:
    """`replicas`: how many are to be waited for; `honest`: whether WAITAOF means what it says."""
    found: list[Doubt] = []
    values = settings.values
    if not values:
        found.append(Doubt(text="the store does not tell its settings: see that it has noeviction"))
    policy = values.get("maxmemory-policy", "noeviction")
    if policy != "noeviction":
        found.append(
            Doubt(
                text=f"maxmemory-policy is {policy}: the store drops jobs when it is full; "
                "set it to noeviction",
                grave=True,
            )
        )
    if values and settings.kept() == "memory":
        found.append(
            Doubt(text="the store writes nothing to disk before it answers: jobs end with it")
        )
    if values.get("appendonly") == "yes" and values.get("appendfsync") == "no":
        found.append(
            Doubt(text="appendfsync is no: the loss of power costs what the system kept back")
        )
    if wanted is Durability.DISK and settings.kept() != "disk" and not honest:
        found.append(
            Doubt(
                text="durability is disk, but this store answers before a change is on disk: "
                "set appendonly yes and appendfsync always",
                grave=True,
            )
        )
    if wanted is Durability.REPLICATED:
        found += _doubts_of_replication(settings, replicas)
    return found


def _doubts_of_replication(settings: StoreSettings, replicas: int) -> list[Doubt]:
    found: list[Doubt] = []
    if settings.replicas < replicas:
        found.append(
            Doubt(
                text=f"durability is replicated with {replicas}, but the store has "
                f"{settings.replicas} replicas now: changes are answered as not_met"
            )
        )
    if settings.values.get("min-replicas-to-write", "0") == "0":
        found.append(
            Doubt(
                text="min-replicas-to-write is 0: a primary that is cut off goes on taking "
                "changes, which are lost when it comes back as a replica"
            )
        )
    return found


async def agree(
    lane: Lane,
    key: bytes,
    wanted: Durability,
    replicas: int,
    timeout_ms: int,
    *,
    accept: bool,
    ephemeral: bool = False,
) -> tuple[Kept, Waits]:
    """What the store keeps, and how the broker waits for what it is to promise beyond that.

    `key` is written for a test; `accept`: live with a store that is not safe;
    `ephemeral`: it is meant to end with this process. Raises StoreUnsafe,
    StoreUnavailable.
    """
    settings = await read_settings(lane)
    kept = settings.kept()
    honest = kept not in ("memory", "disk") and await waitaof_is_honest(lane, key)
    where = {"server": lane.server} if lane.server else {}
    for doubt in doubts(settings, wanted, replicas, honest=honest):
        if doubt.grave and not accept:
            at = f"{lane.server}: " if lane.server else ""
            raise StoreUnsafe(f"{at}{doubt.text} (or accept it: --store-checks warn)")
        if not ephemeral:
            _log.warning("store.doubtful", doubt=doubt.text, **where)
    waits = Waits(
        least=wanted,
        replicas=replicas,
        disk=kept == "disk" or honest,
        by_waitaof=honest,
        timeout_ms=timeout_ms,
    )
    return kept, waits

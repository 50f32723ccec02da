"""What an acknowledgement stands for: what is waited for after EXEC, and whether it came.

    STORE       nothing more: the store's own settings decide what a crash of it loses
    DISK        the change is on the store's disk
    REPLICATED  so many replicas have it as well

It is waited for once for each transaction, by WAIT or WAITAOF on the connection that wrote it.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final

from packhorse_broker.store.packing import pack


class Durability(IntEnum):
    """Each includes what the one before promises, as far as the store's settings do."""

    STORE = 0
    DISK = 1
    REPLICATED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How a broker waits for what was asked for."""

    least: Durability = Durability.STORE
    """What every change is to have."""
    replicas: int = 1
    """How many have to answer for REPLICATED."""
    disk: bool = False
    """Whether DISK can be had."""
    by_waitaof: bool = False
    """Whether it takes a WAITAOF; else the store writes to disk before it answers."""
    timeout_ms: int = 1_000
    connected: int | None = None
    """Replicas that the store had when it was asked last; None: it was not asked yet."""

    def together_with(self, other: "Waits") -> "Waits":
        """For changes of which each is at one of two servers."""
        return replace(
            self, disk=self.disk and other.disk, by_waitaof=self.by_waitaof or other.by_waitaof
        )

    def hopeless(self, wanted: Durability) -> bool:
        """Whether there are too few replicas: waiting for them would only hold up others."""
        level = max(wanted, self.least)
        few = self.connected is not None and self.connected < self.replicas
        return few and level is Durability.REPLICATED

    def command(self, wanted: Durability) -> bytes | None:
        """What is sent after EXEC; None where its answer says it all."""
        level = max(wanted, self.least)
        if level is Durability.REPLICATED:
            return pack(("WAIT", self.replicas, self.timeout_ms))
        if level is Durability.DISK and self.by_waitaof:
            return pack(("WAITAOF", 1, 0, self.timeout_ms))
        return None

    def met(self, reply: Any) -> bool:
        """Of the answer to `command`; None: it was lost with its connection."""
        if isinstance(reply, int):
            return reply >= self.replicas
        return isinstance(reply, list) and bool(reply) and int(reply[0]) >= 1


AFTER_EXEC: Final = Waits()

"""The servers that a store is made of: which processes they are, and how full."""

from dataclasses import dataclass

from packhorse_broker.store.packing import pack
from packhorse_broker.store.seeking import Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """One server, which is the primary of its keys."""

    used_bytes: int
    max_bytes: int
    """0: it may take all the memory that there is."""
    replicas: int
    """Connected now."""

    def is_full(self, percent: int) -> bool:
        """Whether so much of its memory is in use."""
        return 100 * self.used_bytes >= percent * self.max_bytes > 0


async def server_state(ask: Ask) -> ServerState:
    """Raises StoreUnavailable."""
    memory, replication = await ask(pack(("INFO", "memory")), pack(("INFO", "replication")))
    lines = (line.partition(":") for line in (memory + replication).decode().splitlines())
    told = {name: value.strip() for name, _, value in lines}
    return ServerState(
        used_bytes=int(told.get("used_memory", "0")),
        max_bytes=int(told.get("maxmemory", "0")),
        replicas=int(told.get("connected_slaves", "0")),
    )

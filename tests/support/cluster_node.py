"""A server of a Cluster, and what it says of itself and of the others."""

import asyncio
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeAlias

import hiredis
from msgspec import Struct
from redis.exceptions import ResponseError

from packhorse_broker.store.packing import pack
from tests.support.replicas import HOST, READY, Server, free_port
from tests.support.tls import Tls

NODE_TIMEOUT_MS: Final = 1_000
"""After which the others take one for lost."""

ANSWER_S: Final = 0.5
"""After which one that is asked is taken to be away."""

CHUNK_BYTES: Final = 64 * 1024

AWAY: Final = (ResponseError, OSError)
"""What asking one raises that does not answer, or refuses."""

UNSOUND: Final = frozenset({"fail", "fail?", "handshake", "noaddr"})
"""Flags of a node that another has not met yet, or takes for lost."""


Place: TypeAlias = tuple[str, str, tuple[range, ...]]


class Seen(Struct, frozen=True, kw_only=True):
    """A line of CLUSTER NODES: what one node knows of another, or of itself."""

    id: str
    flags: frozenset[str]
    primary: str
    """Whom it follows; nothing for a primary."""
    epoch: int
    """Of two nodes that claim a slot the one with the higher one has it."""
    slots: tuple[range, ...]

    @property
    def is_primary(self) -> bool:
        return "master" in self.flags

    @property
    def place(self) -> Place:
        """What all nodes have to agree on."""
        return self.id, self.primary, self.slots

    def has(self, slot: int) -> bool:
        return any(slot in some for some in self.slots)


class ClusterNode(Server):
    """`start`, then `ask` it anything. It may be killed and paused, and started again on its data
    and its port."""

    def __init__(self, folder: Path, password: str, *settings: str, tls: Tls | None = None) -> None:
        self.bus_port = free_port()
        super().__init__(
            folder,
            *("--cluster-enabled", "yes", "--cluster-port", str(self.bus_port)),
            *("--cluster-announce-ip", HOST, "--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
            *("--cluster-allow-replica-migration", "no", "--repl-diskless-sync-delay", "0"),
            *("--save", "", "--appendonly", "yes"),
            *(("--requirepass", password, "--primaryauth", password) if password else ()),
            *settings,
            tls=tls,
        )
        self._password = password
        self._starts = 0
        self.id = ""
        self.is_up = False
        """Neither killed nor paused."""

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def url(self) -> str:
        if self.tls is not None:
            return super().url
        return f"redis://{f':{self._password}@' if self._password else ''}{HOST}:{self.port}"

    async def start(self) -> None:
        """Returns when it has read its data and listens; what it knows of the others may be old."""
        await super().start()
        self._starts += 1
        await self.says(READY, self._starts)
        self.is_up = True
        self.id = (await self.ask("CLUSTER", "MYID")).decode()

    async def kill(self) -> None:
        self.is_up = False
        await super().kill()

    def pause(self) -> None:
        self.is_up = False
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)
        self.is_up = True

    async def ask(self, *command: str | bytes | int) -> Any:
        """Over a connection of its own. Raises one of `AWAY`: if it does not answer in time."""
        commands = [("AUTH", self._password), command] if self._password else [command]
        # Not by redis-py, which on Python 3.11 may lose a cancellation.
        async with asyncio.timeout(ANSWER_S):
            context = self.tls.context if self.tls is not None else None
            reader, writer = await asyncio.open_connection(HOST, self.port, ssl=context)
            try:
                writer.write(b"".join(map(pack, commands)))
                *_, reply = await _replies(reader, len(commands))
            finally:
                writer.transport.abort()
        if isinstance(reply, hiredis.ReplyError):
            raise ResponseError(str(reply))
        return reply

    async def sees(self) -> list[Seen]:
        """All nodes that it knows. Raises as `ask`."""
        text: bytes = await self.ask("CLUSTER", "NODES")
        return [_seen(line) for line in text.decode().splitlines()]

    async def sees_itself(self) -> Seen:
        """Raises as `ask`."""
        [itself] = [seen for seen in await self.sees() if "myself" in seen.flags]
        return itself

    async def is_well(self) -> bool:
        """Whether it serves, and follows its primary if it is to. Raises as `ask`."""
        about: bytes = await self.ask("CLUSTER", "INFO")
        role = await self.ask("ROLE")
        follows = role[0] == b"master" or role[3] == b"connected"
        return b"cluster_state:ok" in about and follows


async def _replies(reader: asyncio.StreamReader, count: int) -> list[Any]:
    parser = hiredis.Reader()
    replies: list[Any] = []
    while len(replies) < count:
        if not (data := await reader.read(CHUNK_BYTES)):
            raise ConnectionResetError("the node ended the connection")
        parser.feed(data)
        while (reply := parser.gets()) is not False:
            replies.append(reply)
    return replies


def _seen(line: str) -> Seen:
    node, _, flags, primary, _, _, epoch, _, *slots = line.split()
    return Seen(
        id=node,
        flags=frozenset(flags.split(",")),
        primary="" if primary == "-" else primary,
        epoch=int(epoch),
        slots=tuple(_ranges(slots)),
    )


def _ranges(texts: Iterable[str]) -> Iterable[range]:
    for text in texts:
        # In brackets are those that are on their way: the others are owned.
        if not text.startswith("["):
            first, _, last = text.partition("-")
            yield range(int(first), int(last or first) + 1)

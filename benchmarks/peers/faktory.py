"""Faktory over its own protocol; each connection carries one request at a time.

It starts the store that it keeps its jobs in, with settings of its own. A wrapper before it on the
path makes that the store, with the settings, of all the others.
"""

import asyncio
import itertools
import json
import os
import shlex
import shutil
import socket
from pathlib import Path

from benchmarks.peers import store
from benchmarks.peers.marks import Mark
from benchmarks.peers.peer import README, SERVER_PATH, Command, Peer, Site, peers_dir, said_by

LONGEST_LINE_BYTES = 1 << 22
CONNECTIONS = 10
"""Of a producer."""
BEAT_S = 10


def _program() -> str | None:
    named = os.environ.get("FAKTORY_BIN") or peers_dir() / "bin" / "faktory"
    return shutil.which(named) or shutil.which("faktory", path=SERVER_PATH)


class Faktory(Peer):
    name = "faktory"
    jobs = 30_000
    concurrency = 10

    def missing(self) -> str | None:
        if _program() is None:
            return f"no server faktory: set FAKTORY_BIN; see {README}, Faktory"
        return None

    def version(self) -> str:
        return said_by(_program() or "faktory", "-v") or "faktory"

    def server(self, site: Site) -> Command:
        folder = Path(site.folder)
        for name in ("bin", "configuration"):
            (folder / name).mkdir()
        wrapper = folder / "bin" / "redis-server"
        # Flags that come last win.
        wrapper.write_text(
            f'#!/bin/sh\nexec {shlex.quote(site.store_program)} "$@" {shlex.join(store.FLAGS)}\n'
        )
        wrapper.chmod(0o755)
        return Command(
            (
                *(_program() or "faktory", "-b", f"127.0.0.1:{site.port}"),
                *("-w", f"127.0.0.1:{site.second_port}", "-l", "warn"),
                *("-d", str(folder / "data"), "-c", str(folder / "configuration")),
            ),
            {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
        )

    def store_address(self, site: Site) -> str:
        return f"{site.folder}/data/redis.sock"

    def left(self, site: Site) -> int:
        asked = (("LLEN", "q:default"), ("ZCARD", "working"))
        return sum(int(store.ask(self.store_address(site), *words)) for words in asked)


class _Connection:
    """Says hello and asks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, site: Site, **hello: object) -> "_Connection":
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", site.port, limit=LONGEST_LINE_BYTES
        )
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await reader.readline()
        connection = cls(reader, writer)
        await connection.ask("HELLO", {"v": 2, **hello})
        return connection

    async def ask(self, verb: str, argument: object) -> bytes | None:
        """The answer's body, None if it has none."""
        if not isinstance(argument, str):
            argument = json.dumps(argument, separators=(",", ":"))
        self._writer.write(f"{verb} {argument}\r\n".encode())
        line = await self._reader.readline()
        if line.startswith(b"$"):
            size = int(line[1:])
            return (await self._reader.readexactly(size + 2))[:-2] if size >= 0 else None
        if not line.startswith(b"+"):
            raise RuntimeError(f"faktory: {line!r}")
        return None


class Producer:
    """Some connections, for calls in flight."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._numbers = itertools.count()
        self._free: asyncio.Queue[_Connection] = asyncio.Queue()

    async def start(self) -> None:
        for _ in range(CONNECTIONS):
            self._free.put_nowait(await _Connection.open(self._site))

    async def put(self, payload: str) -> None:
        await self._ask("PUSH", self._job(payload))

    async def put_many(self, payloads: list[str]) -> None:
        refused = await self._ask("PUSHB", [self._job(payload) for payload in payloads])
        if refused != b"{}":
            raise RuntimeError(f"faktory: {refused!r}")

    def _job(self, payload: str) -> dict[str, object]:
        job_id = f"bench{os.getpid():08x}{next(self._numbers):012x}"
        return {"jid": job_id, "jobtype": "noop", "queue": "default", "args": [payload]}

    async def _ask(self, verb: str, argument: object) -> bytes | None:
        connection = await self._free.get()
        try:
            return await connection.ask(verb, argument)
        finally:
            self._free.put_nowait(connection)


async def worker(site: Site, mark: Mark) -> None:
    worker_id = f"worker-{os.getpid()}"
    hello = {"wid": worker_id, "hostname": "bench", "pid": os.getpid(), "labels": []}

    async def beat() -> None:
        connection = await _Connection.open(site, **hello)
        while True:
            await connection.ask("BEAT", {"wid": worker_id})
            await asyncio.sleep(BEAT_S)

    async def lane() -> None:
        connection = await _Connection.open(site, **hello)
        while True:
            fetched = await connection.ask("FETCH", "default")
            if fetched:
                job = json.loads(fetched)
                mark(job["args"][0])
                await connection.ask("ACK", {"jid": job["jid"]})

    await asyncio.gather(beat(), *(lane() for _ in range(site.concurrency)))

"""Gearman, jobs in memory, with a lean client; a worker's connection runs one job at a time."""

import asyncio
import contextlib
import socket
import struct
from typing import Final

from benchmarks.peers.marks import Mark
from benchmarks.peers.peer import Command, Peer, Site, missing_server, said_by, server_program

_HEAD: Final = struct.Struct(">4sII")
CAN_DO, PRE_SLEEP, NOOP, SUBMIT, GRAB, NO_JOB = 1, 4, 6, 7, 9, 10
ASSIGN, COMPLETE, SUBMIT_BACKGROUND = 11, 13, 18


class Gearman(Peer):
    name = "gearman"
    jobs = 60_000
    concurrency = 10
    calls_per_s = 100

    def missing(self) -> str | None:
        return missing_server("gearmand", "gearman-job-server")

    def version(self) -> str:
        return " ".join((said_by(server_program("gearmand"), "-V") or "gearmand").split()[:2])

    def server(self, site: Site) -> Command:
        log = f"{site.folder}/gearmand.log"
        return Command(
            (server_program("gearmand"), "-L", "127.0.0.1", "-p", str(site.port), "-l", log)
        )

    def left(self, site: Site) -> int:
        with (
            socket.create_connection(("127.0.0.1", site.port)) as connected,
            connected.makefile("rb") as answers,
        ):
            connected.sendall(b"status\n")
            for line in iter(answers.readline, b".\n"):
                if line.startswith(b"noop\t"):
                    return int(line.split(b"\t")[1])
        return 0


def _packet(kind: int, *parts: bytes) -> bytes:
    body = b"\0".join(parts)
    return _HEAD.pack(b"\0REQ", kind, len(body)) + body


def _submit(kind: int, payload: str) -> bytes:
    return _packet(kind, b"noop", b"", payload.encode())


class _Connection:
    def __init__(self, site: Site) -> None:
        self._socket = socket.create_connection(("127.0.0.1", site.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")

    def send(self, packets: bytes) -> None:
        self._socket.sendall(packets)

    def read(self) -> int:
        """The kind of the next packet."""
        _, kind, size = _HEAD.unpack(self._answers.read(_HEAD.size))
        self._answers.read(size)
        return int(kind)


class Producer:
    """One connection, and one for each call that waits at the same time."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._connection = _Connection(site)
        self._spare: list[_Connection] = []

    def put(self, payload: str) -> None:
        self._connection.send(_submit(SUBMIT_BACKGROUND, payload))
        self._connection.read()

    def put_many(self, payloads: list[str]) -> None:
        """There is no such call: submits without waiting for each other's answer."""
        self._connection.send(b"".join(_submit(SUBMIT_BACKGROUND, one) for one in payloads))
        for _ in payloads:
            self._connection.read()

    def call(self, payload: str) -> None:
        connection: _Connection | None = None
        with contextlib.suppress(IndexError):  # Of several threads each takes another one.
            connection = self._spare.pop()
        if connection is None:
            connection = _Connection(self._site)
        connection.send(_submit(SUBMIT, payload))
        while connection.read() != COMPLETE:
            pass
        self._spare.append(connection)


async def worker(site: Site, mark: Mark) -> None:
    async def lane() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(_packet(CAN_DO, b"noop") + _packet(GRAB))
        while True:
            _, kind, size = _HEAD.unpack(await reader.readexactly(_HEAD.size))
            body = await reader.readexactly(size)
            if kind == ASSIGN:
                handle, _, payload = body.split(b"\0", 2)
                mark(payload)
                writer.write(_packet(COMPLETE, handle, b"") + _packet(GRAB))
            elif kind == NO_JOB:
                writer.write(_packet(PRE_SLEEP))
            elif kind == NOOP:
                writer.write(_packet(GRAB))

    await asyncio.gather(*(lane() for _ in range(site.concurrency)))

"""beanstalkd, jobs in memory, with a lean client; a worker's connection runs one job at a time."""

import asyncio
import socket

from benchmarks.peers.marks import Mark
from benchmarks.peers.peer import Command, Peer, Site, missing_server, said_by, server_program

LEASE_S = 60


class Beanstalkd(Peer):
    name = "beanstalkd"
    jobs = 80_000
    concurrency = 10

    def missing(self) -> str | None:
        return missing_server("beanstalkd", "beanstalkd")

    def version(self) -> str:
        return said_by(server_program("beanstalkd"), "-v") or "beanstalkd"

    def server(self, site: Site) -> Command:
        return Command((server_program("beanstalkd"), "-l", "127.0.0.1", "-p", str(site.port)))

    def left(self, site: Site) -> int:
        with (
            socket.create_connection(("127.0.0.1", site.port)) as connected,
            connected.makefile("rb") as answers,
        ):
            connected.sendall(b"stats\r\n")
            size = int(answers.readline().split()[1])
            lines = answers.read(size).decode().splitlines()
        stats = dict(line.split(": ") for line in lines if ": " in line)
        return int(stats["current-jobs-ready"]) + int(stats["current-jobs-reserved"])


def _put(payload: str) -> bytes:
    return f"put 0 0 {LEASE_S} {len(payload)}\r\n{payload}\r\n".encode()


class Producer:
    """One connection."""

    def __init__(self, site: Site) -> None:
        self._socket = socket.create_connection(("127.0.0.1", site.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")

    def put(self, payload: str) -> None:
        self._socket.sendall(_put(payload))
        self._inserted()

    def put_many(self, payloads: list[str]) -> None:
        """There is no such call: puts without waiting for each other's answer."""
        self._socket.sendall(b"".join(map(_put, payloads)))
        for _ in payloads:
            self._inserted()

    def _inserted(self) -> None:
        if not (line := self._answers.readline()).startswith(b"INSERTED"):
            raise RuntimeError(f"beanstalkd: {line!r}")


async def worker(site: Site, mark: Mark) -> None:
    async def lane() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        while True:
            writer.write(b"reserve\r\n")
            _, job, size = (await reader.readline()).split()
            mark((await reader.readexactly(int(size) + 2)).decode())
            writer.write(b"delete %s\r\n" % job)
            await reader.readline()

    await asyncio.gather(*(lane() for _ in range(site.concurrency)))

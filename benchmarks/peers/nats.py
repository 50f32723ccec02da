"""NATS JetStream: a work queue in files, a pull consumer, each job acknowledged (nats-py)."""

import http.client
import json
from typing import Any

from benchmarks.peers.marks import Mark
from benchmarks.peers.peer import (
    Command,
    PythonPeer,
    Site,
    missing_server,
    said_by,
    server_program,
)

STREAM = "bench"


class Nats(PythonPeer):
    name = "nats"
    library = "nats"
    jobs = 30_000
    concurrency = 50

    def missing(self) -> str | None:
        return missing_server("nats-server", "nats-server") or self.missing_library()

    def version(self) -> str:
        return f"{said_by(server_program('nats-server'), '-v')}, {self.library_version()}"

    def server(self, site: Site) -> Command:
        return Command(
            (
                *(server_program("nats-server"), "-js", "-sd", f"{site.folder}/jetstream"),
                *("-a", "127.0.0.1", "-p", str(site.port), "-m", str(site.second_port)),
            )
        )

    def left(self, site: Site) -> int:
        asking = http.client.HTTPConnection("127.0.0.1", site.second_port, timeout=10)
        try:
            asking.request("GET", "/jsz")
            return int(json.loads(asking.getresponse().read())["messages"])
        finally:
            asking.close()


async def _stream(site: Site) -> Any:
    import nats

    connected = await nats.connect(f"nats://127.0.0.1:{site.port}")
    stream = connected.jetstream()
    await stream.add_stream(name=STREAM, subjects=[STREAM], retention="workqueue", storage="file")
    return stream


class Producer:
    """One connection. JetStream's client has no call for many."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._stream: Any = None

    async def start(self) -> None:
        self._stream = await _stream(self._site)

    async def put(self, payload: str) -> None:
        await self._stream.publish(STREAM, payload.encode())


async def worker(site: Site, mark: Mark) -> None:
    stream = await _stream(site)
    jobs = await stream.pull_subscribe(STREAM, durable="worker")
    while True:
        try:
            for job in await jobs.fetch(site.concurrency, timeout=5):
                mark(job.data)
                await job.ack()
        except TimeoutError:
            pass

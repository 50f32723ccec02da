"""Packhorse with its Python client: one broker process with its embedded store."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers import store
from benchmarks.peers.marks import Mark
from benchmarks.peers.peer import Command, Peer, Site
from packhorse import Client, NewJob, PackhorseError, Worker, connect, sync
from packhorse_broker.store.process import find_server

TYPE = "noop"


class Packhorse(Peer):
    name = "packhorse"
    jobs = 40_000
    concurrency = 50
    calls_per_s = 100

    def missing(self) -> str | None:
        return None

    def version(self) -> str:
        return f"packhorse {version('packhorse')}, {store.version(str(find_server()))}"

    def server(self, site: Site) -> Command:
        return Command(
            (
                *(str(Path(sys.executable).with_name("packhorse")), "serve"),
                *("--listen", f"tcp://127.0.0.1:{site.port}", "--data-dir", site.folder),
                *("--log-level", "warning"),
            )
        )

    def store_address(self, site: Site) -> str:
        found: str = json.loads((Path(site.folder) / "store.lock").read_text())["socket"]
        return found

    def left(self, site: Site) -> int:
        try:
            with sync.connect(_url(site)) as client:
                return sum(sum(states.values()) for states in client.counts(TYPE).types.values())
        except PackhorseError as error:
            raise RuntimeError(f"packhorse: {error}") from error


def _url(site: Site) -> str:
    return f"tcp://127.0.0.1:{site.port}"


class Producer:
    """One client."""

    _client: Client

    def __init__(self, site: Site) -> None:
        self._url = _url(site)

    async def start(self) -> None:
        self._client = await connect(self._url).__aenter__()

    async def put(self, payload: str) -> None:
        await self._client.create(TYPE, payload)

    async def put_many(self, payloads: list[str]) -> None:
        await self._client.create_many([NewJob(TYPE, payload) for payload in payloads])

    async def call(self, payload: str) -> None:
        await self._client.run(TYPE, payload)


async def worker(site: Site, mark: Mark) -> None:
    await work(site, mark)


async def work(site: Site, mark: Mark, *, prefetch: int = 0) -> None:
    runner = Worker(_url(site), concurrency=site.concurrency, prefetch=prefetch)

    @runner.job(TYPE)
    async def noop(payload: str) -> None:
        mark(payload)

    await runner.run()

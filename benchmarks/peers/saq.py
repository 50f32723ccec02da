"""SAQ on the store."""

from typing import Any

from benchmarks.peers import store
from benchmarks.peers.marks import Mark
from benchmarks.peers.peer import PythonPeer, Site

QUEUE = "bench"


class Saq(PythonPeer):
    name = "saq"
    library = "saq"
    jobs = 8_000
    concurrency = 50
    calls_per_s = 100
    on_store = True

    def left(self, site: Site) -> int:
        return store.number(site, "ZCARD", f"saq:{QUEUE}:incomplete")


async def _queue(site: Site) -> Any:
    from saq import Queue

    queue = Queue.from_url(site.store_url, name=QUEUE)
    await queue.connect()
    return queue


class Producer:
    """One client."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._queue: Any = None

    async def start(self) -> None:
        self._queue = await _queue(self._site)

    async def put(self, payload: str) -> None:
        await self._queue.enqueue("noop", payload=payload)

    async def call(self, payload: str) -> None:
        """`apply` polls: `refresh(until_complete=...)` subscribes after it has read the state, so
        it waits out its time for a job that ends in between."""
        await self._queue.apply("noop", timeout=10, payload=payload)


async def worker(site: Site, mark: Mark) -> None:
    from saq import Worker

    async def noop(_: Any, *, payload: str) -> int:
        mark(payload)
        return 1

    queue = await _queue(site)
    await Worker(queue, [("noop", noop)], concurrency=site.concurrency).start()

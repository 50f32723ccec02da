"""RQ on the store: SimpleWorker, which runs jobs in its own process, one at a time."""

import logging
from typing import Any

from benchmarks.peers import store
from benchmarks.peers.marks import Mark
from benchmarks.peers.peer import PythonPeer, Site

QUEUE = "bench"
ANSWER_S = 10

_marks: list[Mark] = []
"""The worker's: RQ finds its function by name, so nothing can be bound to it."""


class RQ(PythonPeer):
    name = "rq"
    library = "rq"
    jobs = 1_500
    concurrency = 1
    calls_per_s = 50
    on_store = True

    def left(self, site: Site) -> int:
        waiting = store.number(site, "LLEN", f"rq:queue:{QUEUE}")
        return waiting + store.number(site, "ZCARD", f"rq:wip:{QUEUE}")


def noop(payload: str) -> None:
    """The job, in the worker's process."""
    _marks[0](payload)


def _connection(site: Site) -> Any:
    import redis

    return redis.Redis(host="127.0.0.1", port=site.store_port)


class Producer:
    """One queue."""

    def __init__(self, site: Site) -> None:
        import rq

        self._queue: Any = rq.Queue(QUEUE, connection=_connection(site))

    def put(self, payload: str) -> None:
        self._queue.enqueue(noop, payload)

    def put_many(self, payloads: list[str]) -> None:
        self._queue.enqueue_many([self._queue.prepare_data(noop, (one,)) for one in payloads])

    def call(self, payload: str) -> None:
        if self._queue.enqueue(noop, payload).latest_result(timeout=ANSWER_S) is None:
            raise RuntimeError(f"rq: no result in {ANSWER_S} s")


def worker(site: Site, mark: Mark) -> None:
    import rq

    _marks.append(mark)
    logging.getLogger("rq.worker").setLevel(logging.WARNING)
    rq.SimpleWorker([QUEUE], connection=_connection(site)).work(logging_level="WARNING")

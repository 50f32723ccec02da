"""Celery on the store: threads in one process; results are kept for calls only."""

from typing import Any

from benchmarks.peers import store
from benchmarks.peers.marks import Mark, marker
from benchmarks.peers.peer import PythonPeer, Site

ANSWER_S = 10


class Celery(PythonPeer):
    name = "celery"
    library = "celery"
    jobs = 6_000
    concurrency = 10
    calls_per_s = 100
    on_store = True

    def left(self, site: Site) -> int:
        return store.number(site, "LLEN", "celery") + store.number(site, "HLEN", "unacked")


class _Tasks:
    """The application, as producer and worker both have it."""

    def __init__(self, site: Site, mark: Mark) -> None:
        import celery

        def echo(payload: str) -> int:
            mark(payload)
            return 1

        self.app: Any = celery.Celery("bench", broker=site.store_url, backend=site.store_url)
        self.app.conf.update(
            worker_hijack_root_logger=False, broker_connection_retry_on_startup=True
        )
        self.noop: Any = self.app.task(mark, name="noop", ignore_result=True)
        self.echo: Any = self.app.task(echo, name="echo")


class Producer:
    """One application."""

    def __init__(self, site: Site) -> None:
        self._tasks = _Tasks(site, marker(site.marks))

    def put(self, payload: str) -> None:
        self._tasks.noop.delay(payload)

    def call(self, payload: str) -> None:
        self._tasks.echo.delay(payload).get(timeout=ANSWER_S)


def worker(site: Site, mark: Mark) -> None:
    _Tasks(site, mark).app.worker_main(
        [
            *("worker", "-P", "threads", "-c", str(site.concurrency), "-l", "WARNING"),
            *("--without-gossip", "--without-mingle"),
        ]
    )

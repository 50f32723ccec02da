"""Packhorse with a worker that fetches ahead: four jobs for each place, as Celery's does."""

from typing import Final

from benchmarks.peers import packhorse
from benchmarks.peers.marks import Mark
from benchmarks.peers.packhorse import Packhorse, Producer
from benchmarks.peers.peer import Site

__all__ = ["PackhorsePrefetch", "Producer"]

AHEAD: Final = 4
"""Jobs fetched for each place."""


class PackhorsePrefetch(Packhorse):
    name = "packhorse_prefetch"


async def worker(site: Site, mark: Mark) -> None:
    await packhorse.work(site, mark, prefetch=AHEAD * site.concurrency)

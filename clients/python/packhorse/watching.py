"""Events of watched jobs, merged for a reader who is slower than they come."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from copy import copy
from functools import partial
from typing import Final

from packhorse.errors import NotFound, PackhorseError
from packhorse.requests import Requests, quietly
from packhorse_protocol.messages import Event, Watched

MAX_MERGED_LOG_ENTRIES: Final = 1_000
"""Log entries of one job kept for a slow reader; `offset` shows the gap, `logs` fills it."""

FINISHED: Final = ("COMPLETE", "FAILED")


class Subscription:
    """One reader of some jobs' events: iterate with `next`."""

    def __init__(self, jobs: Sequence[str]) -> None:
        self.jobs = frozenset(jobs)
        self._merged: dict[str, Event] = {}
        self._log_ends: dict[str, int] = {}
        self._versions: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._error: Callable[[], Exception] | None = None

    async def next(self) -> Event:
        """The next event, or several of one job merged into one."""
        while not self._merged:
            if self._error is not None:
                raise self._error()
            self._changed.clear()
            await self._changed.wait()
        return self._merged.pop(next(iter(self._merged)))

    def log_end(self, job: str) -> int:
        """The offset that a job's next log entry gets, as far as is known."""
        return self._log_ends.get(job, 0)

    def add(self, event: Event, *, log_end: int = 0) -> None:
        """What happened to a job. Old news counts only for its log.

        An event and the answer that says how the job stands may overtake each other.
        """
        job = event.job
        if event.log:
            log_end = event.log[-1].offset + 1
        self._log_ends[job] = max(self.log_end(job), log_end)
        newest = self._versions.get(job, -1)
        if event.version <= newest and not event.removed:
            event = Event(job=job, version=newest, log=event.log)
            if not event.log:
                return
        self._versions[job] = max(newest, event.version)
        earlier = self._merged.get(job)
        self._merged[job] = event if earlier is None else merged(earlier, event)
        self._changed.set()

    def end(self, error: Callable[[], Exception]) -> None:
        self._error = error
        self._changed.set()


class Watches:
    """Which jobs are watched on behalf of whom; watched anew on each connection."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._readers: dict[str, set[Subscription]] = {}
        self._end: Callable[[], Exception] | None = None

    @asynccontextmanager
    async def subscribed(self, jobs: Sequence[str]) -> AsyncIterator[Subscription]:
        """Events of these jobs from now on; the first one of each says how it stands.

        Raises `NotFound` if one is not there.
        """
        if self._end is not None:
            raise self._end()
        subscription = Subscription(jobs)
        for job in subscription.jobs:
            self._readers.setdefault(job, set()).add(subscription)
        try:
            # Each reader asks, also where another one watches already: the answer is its start.
            views = {job: self._requests.watch.submit(job) for job in subscription.jobs}
            await asyncio.gather(*views.values())
            for job, view in views.items():
                _begin(subscription, job, view.result())
            yield subscription
        finally:
            self._leave(subscription)

    def pushed(self, events: Sequence[Event]) -> None:
        for event in events:
            readers = self._readers.get(event.job)
            if readers is None:
                # The last reader left while this event, or the watch itself, was on its way.
                if not event.removed:
                    quietly(self._requests.unwatch.submit(event.job))
                continue
            for reader in readers:
                reader.add(event)

    def connected_again(self) -> None:
        """Watches end with their connection: all are asked for again."""
        for job in self._readers:
            again = self._requests.watch.submit(job)
            again.add_done_callback(partial(self._caught_up, job))

    def end(self, error: Callable[[], Exception]) -> None:
        """The session is over: who reads is told."""
        self._end = error
        for readers in self._readers.values():
            for reader in readers:
                reader.end(error)

    def _caught_up(self, job: str, done: "asyncio.Future[Watched]") -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, NotFound):
            self.pushed([Event(job=job, version=0, removed=True)])
        elif isinstance(error, PackhorseError):
            for reader in self._readers.get(job, ()):
                reader.end(partial(copy, error))
        elif not done.cancelled():
            for reader in self._readers.get(job, ()):
                _begin(reader, job, done.result())

    def _leave(self, subscription: Subscription) -> None:
        for job in subscription.jobs:
            readers = self._readers[job]
            readers.discard(subscription)
            if not readers:
                del self._readers[job]
                quietly(self._requests.unwatch.submit(job))


def merged(earlier: Event, later: Event) -> Event:
    """Both in one: the newest state and progress, the newest of the log."""
    log = (*earlier.log, *later.log)[-MAX_MERGED_LOG_ENTRIES:]
    return Event(
        job=later.job,
        version=max(earlier.version, later.version),
        state=later.state or earlier.state,
        progress=later.progress or earlier.progress,
        log=log,
        removed=earlier.removed or later.removed,
    )


def over(event: Event) -> bool:
    """Whether nothing more will happen to the job."""
    return event.removed or event.state in FINISHED


def _begin(subscription: Subscription, job: str, watched: Watched) -> None:
    """How the job stands when its watch begins."""
    event = Event(job=job, version=watched.version, state=watched.state, progress=watched.progress)
    subscription.add(event, log_end=watched.log_end)

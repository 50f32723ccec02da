"""What the broker can be asked to do, in its own terms: one method for each use case.

Each names the jobs concerned and the command for each; deciding is the machine's, writing the
store's. Results come to `done` after the commit, in the order asked.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog

from packhorse_broker.clock import StoreClock
from packhorse_broker.contents import fingerprint, on_duplicate_of, pack_body, terms_of
from packhorse_broker.jobs.commands import Command, Create, HandlerGone, RunnerGone
from packhorse_broker.jobs.model import Applied
from packhorse_broker.store.backlog import CREATES_BESIDE
from packhorse_broker.store.committers import Committing
from packhorse_broker.store.homes import Homes
from packhorse_broker.store.readers import Reading
from packhorse_broker.store.records import CorruptRecord
from packhorse_broker.store.registry import Registry
from packhorse_broker.store.work import Failed, Result, Submission
from packhorse_protocol.ids import TAG, unique_tag
from packhorse_protocol.messages import NewJob

_log = structlog.get_logger(__name__)

ID_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
ID_CHARS: Final = 16
"""Crockford's base 32: 80 random bits, and no prefix in common that people would have to type."""

LEAVING_PAGE: Final = 500
"""Jobs of a leaving client that one batch sees to."""

IDLE_ROUNDS: Final = 3
"""Index entries that are still there after so many rounds belong to no job: fsck mends them."""

NEVER_MS: Final = 0
"""Before any time: a client that is registered is not removed."""

Done = Callable[[list[Result], bool], None]


class Operations:
    """Use cases over the store."""

    def __init__(
        self,
        committer: Committing,
        reader: Reading,
        registry: Registry,
        clock: StoreClock,
        homes: Homes,
        *,
        broker: str,
        leaving_ms: int,
        close_session: Callable[[str], None],
        has_peers: Callable[[], bool],
    ) -> None:
        self._committer = committer
        self._reader = reader
        self._registry = registry
        self._clock = clock
        self._homes = homes
        self._broker = broker
        self._leaving_ms = leaving_ms
        self._close_session = close_session
        self._has_peers = has_peers
        self._removing: set[str] = set()

    def apply(self, items: Sequence[tuple[str, Command]], done: Done) -> None:
        """Commands for jobs, in one batch."""
        self._committer.submit(Submission(items, done))

    async def applied(self, items: Sequence[tuple[str, Command]]) -> list[Result]:
        """The same, waited for."""
        settled: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()

        def done(results: list[Result], _: bool) -> None:
            if not settled.done():
                settled.set_result(results)

        self.apply(items, done)
        return await settled

    @property
    def behind(self) -> bool:
        """Whether what was asked last may have to wait for more than the next batch."""
        return self._committer.waiting > CREATES_BESIDE

    @staticmethod
    def creation(
        job: NewJob, client: str, *, handle: bool, group: str | None = None
    ) -> tuple[str, Create]:
        """The command that creates a job; its id is made here unless it was chosen."""
        terms = terms_of(job)
        if job.id is None:
            job_id, digest = new_job_id(job), None
        else:
            job_id, digest = job.id, fingerprint(job, terms)
        command = Create(
            id=job_id,
            type=job.type,
            body=pack_body(job.payload, job.headers),
            created_by=client,
            key=job.key,
            attempts=job.attempts,
            persistent=job.persistent,
            handler=client if handle else None,
            fingerprint=digest,
            group=group,
            delay_ms=job.delay_ms,
            delay_until=job.delay_until,
            terms=terms,
            on_duplicate=on_duplicate_of(job),
        )
        return job_id, command

    def home_of(self, job_id: str) -> int:
        """The job's partition."""
        return self._homes.of(job_id)

    def is_at_home(self, job: NewJob) -> bool:
        """Whether the job, by the id that was chosen for it, may have its unique key."""
        if job.id is None or job.unique is None:
            return True
        return self._homes.fits(job.id, job.type, job.unique.key)

    async def remove_client(
        self, client: str, *, if_silent_at: int | None = None, if_connection: str | None = None
    ) -> bool:
        """Ends a client's claims and handler entries, and its registration.

        With `if_silent_at` only if its time was up by then, with `if_connection` only if that is
        its newest. False: there was nothing to remove, or another broker is at it. Raises
        StoreError; what was not done then is found again by `finish_removal`.
        """
        with self._alone(client) as alone:
            if not alone or not await self._registry.begin_removal(
                client,
                self._broker,
                self._clock.now_ms(),
                if_silent_at=if_silent_at,
                if_connection=if_connection,
            ):
                return False
            self._close_session(client)
            await self._end_all(client)
            if not self._has_peers():
                await self._registry.end_removal(client, self._broker)
        return True

    async def finish_removal(self, client: str, since_ms: int) -> None:
        """Goes on with a removal that was begun, by this broker or by one that is gone.

        A broker that still had a connection of the client may have claimed for it until it heard;
        so the last look comes some time after the first.
        """
        now_ms = self._clock.now_ms()
        with self._alone(client) as alone:
            if not alone or not await self._registry.begin_removal(
                client, self._broker, now_ms, if_silent_at=NEVER_MS
            ):
                return
            await self._end_all(client)
            if now_ms >= since_ms + self._leaving_ms:
                await self._registry.end_removal(client, self._broker)

    @contextmanager
    def _alone(self, client: str) -> Iterator[bool]:
        """Whether nobody else in this broker is removing the client; keeps others away."""
        if client in self._removing:
            yield False
            return
        self._removing.add(client)
        try:
            yield True
        finally:
            self._removing.discard(client)

    async def _end_all(self, client: str) -> None:
        await self.applied([])  # what was drawn for the client before is committed now
        idle = 0
        while True:
            held = await self._reader.held_by(client, LEAVING_PAGE)
            handled = await self._reader.handled_by(client, LEAVING_PAGE)
            if not held and not handled:
                return
            items: list[tuple[str, Command]] = [(job, RunnerGone(client)) for job in held]
            items += [(job, HandlerGone(client)) for job in handled]
            results = await self.applied(items)
            failed = next((result for result in results if isinstance(result, Failed)), None)
            if failed is not None and not isinstance(failed.error, CorruptRecord):
                raise failed.error
            if not any(isinstance(result, Applied) and result.changed for result in results):
                idle += 1
                if idle == IDLE_ROUNDS:
                    _log.error("client.entries_left", client=client, held=held, handled=handled)
                    return


def new_id() -> str:
    """An id made by the broker."""
    bits = secrets.randbits(5 * ID_CHARS)
    return "".join([ID_ALPHABET[(bits >> shift) & 31] for shift in range(0, 5 * ID_CHARS, 5)])


def new_job_id(job: NewJob) -> str:
    """One by which the job is where its unique key is."""
    if job.unique is None:
        return new_id()
    return f"{new_id()}{TAG}{unique_tag(job.type, job.unique.key)}"

"""What the broker can be asked to do, in its own terms: one method for each use case.

Each names the jobs concerned and the command for each; deciding is the machine's, writing the
store's. Results come to `done` after the commit, in the order asked.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from packhorse_broker.clock import StoreClock
from packhorse_broker.contents import fingerprint, pack_body
from packhorse_broker.jobs.commands import Command, Create, Expire, HandlerGone, RunnerGone
from packhorse_broker.jobs.model import Applied
from packhorse_broker.store.committer import Committer
from packhorse_broker.store.errors import StoreError
from packhorse_broker.store.reader import Reader
from packhorse_broker.store.registry import Registry
from packhorse_broker.store.work import Failed, Result, Submission
from packhorse_protocol.messages import NewJob

_log = structlog.get_logger(__name__)

ID_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
ID_CHARS: Final = 16
"""Crockford's base 32: 80 random bits, and no prefix in common that people would have to type."""

LEAVING_PAGE: Final = 500
"""Jobs of a leaving client that one batch sees to."""

Done = Callable[[list[Result]], None]


class Operations:
    """Use cases over the store."""

    def __init__(
        self,
        committer: Committer,
        reader: Reader,
        registry: Registry,
        clock: StoreClock,
        *,
        broker: str,
        leaving_ms: int,
        close_session: Callable[[str], None],
    ) -> None:
        self._committer = committer
        self._reader = reader
        self._registry = registry
        self._clock = clock
        self._broker = broker
        self._leaving_ms = leaving_ms
        self._close_session = close_session

    def apply(self, items: Sequence[tuple[str, Command]], done: Done) -> None:
        """Commands for jobs, in one batch."""
        self._committer.submit(Submission(items, done))

    async def applied(self, items: Sequence[tuple[str, Command]]) -> list[Result]:
        """The same, waited for."""
        settled: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()

        def done(results: list[Result]) -> None:
            if not settled.done():
                settled.set_result(results)

        self.apply(items, done)
        return await settled

    @staticmethod
    def creation(job: NewJob, client: str, *, handle: bool) -> tuple[str, Create]:
        """The command that creates a job; its id is made here unless it was chosen."""
        job_id = job.id if job.id is not None else new_id()
        command = Create(
            id=job_id,
            type=job.type,
            body=pack_body(job.payload, job.headers),
            created_by=client,
            key=job.key,
            attempts=job.attempts,
            persistent=job.persistent,
            handler=client if handle else None,
            fingerprint=fingerprint(job) if job.id is not None else None,
        )
        return job_id, command

    async def expire(self, jobs: Sequence[str]) -> None:
        """Removes those whose retention is over."""
        await self.applied([(job_id, Expire()) for job_id in jobs])

    async def remove_client(self, client: str, *, if_silent_at: int | None = None) -> bool:
        """Ends a client's claims and handler entries, and its registration.

        With `if_silent_at` only if its time was up by then. False: there was nothing to remove.
        Raises StoreError; what was not done then is found again by `finish_removal`.
        """
        leaving = await self._registry.mark_leaving(
            client, self._clock.now_ms(), if_silent_at=if_silent_at
        )
        if leaving is None:
            return False
        self._close_session(client)
        await self._end_all(client)
        if leaving.broker == self._broker:
            await self._registry.forget(client)
        return True

    async def finish_removal(self, client: str, since_ms: int) -> None:
        """Goes on with a removal that was begun, here or by another broker.

        A broker that still had a connection of the client may have claimed for it until it heard;
        so the last look comes some time after the first.
        """
        settled = self._clock.now_ms() >= since_ms + self._leaving_ms
        await self._end_all(client)
        if settled:
            await self._registry.forget(client)

    async def _end_all(self, client: str) -> None:
        await self.applied([])  # what was drawn for the client before is committed now
        while True:
            held = await self._reader.held_by(client, LEAVING_PAGE)
            handled = await self._reader.handled_by(client, LEAVING_PAGE)
            if not held and not handled:
                return
            items: list[tuple[str, Command]] = [(job, RunnerGone(client)) for job in held]
            items += [(job, HandlerGone(client)) for job in handled]
            results = await self.applied(items)
            failed = next((result for result in results if isinstance(result, Failed)), None)
            if failed is not None:
                raise failed.error
            if not any(isinstance(result, Applied) and result.changed for result in results):
                _log.error("client.entries_left", client=client, held=len(held))
                raise StoreError(f"indexes name jobs of {client} that are not: run packhorse fsck")


def new_id() -> str:
    """A job id made by the broker."""
    bits = secrets.randbits(5 * ID_CHARS)
    return "".join([ID_ALPHABET[(bits >> shift) & 31] for shift in range(0, 5 * ID_CHARS, 5)])

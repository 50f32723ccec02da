"""A handle on one job."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import Any, Final, Literal

from packhorse.durations import Duration, milliseconds, seconds
from packhorse.errors import NotFound, NotHandler, OutcomeTimeout
from packhorse.filters import states_of
from packhorse.kinds import ForGroup
from packhorse.kinds_by_hand import Cancelled, Hurried, Removed, Retried
from packhorse.kinds_to_read import LogWanted
from packhorse.outcome import Outcome
from packhorse.outcomes import Ticket
from packhorse.requests import quietly
from packhorse.session import Session
from packhorse.watching import over
from packhorse_protocol.messages import (
    AttemptList,
    Event,
    JobView,
    LogEntry,
    Progress,
    State,
    Why,
)

LOG_PAGE_ENTRIES: Final = 500
"""Log entries read at once: half of what the protocol allows."""


class Job:
    """A job, by its id: made by `client.create` and `client.job`, valid while the client is open.

    `outcome()` or `result()` to wait for it, `progress()`, `logs()` and `events()` to look on,
    `get()`, `attempts()` and `why()` to read it, `cancel()`, `retry()`, `run_now()` and
    `remove()` to steer it.
    """

    def __init__(
        self,
        session: Session,
        job_id: str,
        *,
        job_type: str | None = None,
        duplicate: Literal["joined", "replaced"] | None = None,
        handling: bool = False,
        fleeting: bool = False,
        durable: bool = True,
    ) -> None:
        self._session = session
        self._known_ticket: Ticket | None = None
        if handling or not fleeting:
            # From now on, for outcomes that come before anybody waits.
            self._known_ticket = session.outcomes.ticket(job_id, handling=handling)
        self._fleeting = fleeting
        self.id: Final[str] = job_id
        self.type: Final[str | None] = job_type
        """None where only the id is known."""
        self.duplicate: Final[Literal["joined", "replaced"] | None] = duplicate
        """Set where it held the unique key of the job to be created, and was taken instead."""
        self.durable: Final[bool] = durable
        """Whether what was waited for after its creation, a disk or replicas, came in time."""

    @property
    def _ticket(self) -> Ticket:
        if self._known_ticket is None:
            self._known_ticket = self._session.outcomes.ticket(self.id)
        return self._known_ticket

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.type or ''}>".replace(" >", ">")

    async def outcome(
        self,
        *,
        timeout: Duration | None = None,  # noqa: ASYNC109 - takes durations as people write them
        handled: bool = True,
    ) -> Outcome:
        """Waits for the job to end, and returns how it did, COMPLETE or FAILED.

        With `handled` the broker is told that the outcome has been dealt with as soon as it is
        returned: **a job that nobody else handles is gone then**, also a FAILED one that was being
        kept, unless it is persistent. Without, call `await outcome.handled()` when you are done;
        until then it comes again after a reconnect.

        This client has to be a handler of the job: create it with `handle=True`. For a job that
        was created elsewhere it becomes one first, which comes too late for a job that is gone.

        Raises `OutcomeTimeout` (the job goes on), `NotFound` if the job is not there or was
        removed, `NotHandler` if it was created here without `handle=True`.
        """
        if self._fleeting and not self._ticket.handling:
            raise NotHandler(
                "it was created without handle=True, so its outcome is kept for nobody",
                subject=self.id,
            )
        try:
            async with asyncio.timeout(None if timeout is None else seconds(timeout, "timeout")):
                outcome = await self._session.outcomes.wait(self._ticket)
        except TimeoutError:
            raise OutcomeTimeout(f"job {self.id} has not ended within {timeout}") from None
        if handled:
            quietly(outcome.acknowledge())
        return outcome

    async def result(
        self,
        *,
        timeout: Duration | None = None,  # noqa: ASYNC109 - as in `outcome`
    ) -> Any:
        """Waits for the job to end, and returns the value that its function returned.

        Raises `JobFailed` if it did not complete, `PayloadError` for a result that can't be
        unpacked, and what `outcome` raises.
        """
        return (await self.outcome(timeout=timeout)).result()

    async def handle(self, *, group: str | None = None) -> None:
        """Becomes a handler: the outcome is kept until this client has handled it.

        With `group` that group of handlers does instead. Raises `NotFound` if the job is not
        there (any more).
        """
        if group is None:
            await self._session.outcomes.handle(self._ticket)
        else:
            await self._session.requests.handle_for_group.submit(ForGroup(self.id, group))

    async def get(self) -> JobView:
        """The job as it is now. Raises `NotFound`."""
        return await self._session.requests.get.submit(self.id)

    async def attempts(self) -> AttemptList:
        """How each attempt of the job ended, oldest first. Raises `NotFound`."""
        return await self._session.requests.attempts.submit(self.id)

    async def why(self) -> Why:
        """Why the job does not run. Raises `NotFound`."""
        return await self._session.requests.why.submit(self.id)

    async def cancel(self, *, grace: Duration | None = None, why: str = "") -> State:
        """Ends the job as CANCELLED: at once if it waits, else its runner has the grace time.

        Returns the state that the job is in now. Raises `NotFound`, `WrongState` if it ended
        otherwise.
        """
        grace_ms = None if grace is None else milliseconds(grace, "grace")
        asked = Cancelled(self.id, grace_ms, why)
        return (await self._session.requests.cancel.submit(asked)).state

    async def retry(self, *, attempts: int = 1, why: str = "") -> State:
        """Queues the FAILED job again, with so many more attempts.

        Raises `NotFound`, `WrongState`, `Duplicate` if another job holds its unique key now.
        """
        asked = Retried(self.id, attempts, why)
        return (await self._session.requests.retry.submit(asked)).state

    async def run_now(self, *, why: str = "") -> State:
        """Queues the PENDING job at once. Raises `NotFound`, `WrongState`."""
        return (await self._session.requests.run_now.submit(Hurried(self.id, why))).state

    async def remove(self, *, states: State | Iterable[State] = (), why: str = "") -> None:
        """Removes the job in whatever state, or only in these; a runner that holds it is told.

        Raises `NotFound`, `WrongState`.
        """
        asked = Removed(self.id, states_of(states), why)
        await self._session.requests.remove.submit(asked)

    async def events(self) -> AsyncGenerator[Event, None]:
        """What happens to the job: first how it stands, then every change until its end.

        Each event has what changed: `state`, `progress`, `log` entries, `removed`. To a slow
        reader several come as one. Raises `NotFound`.
        """
        async with self._session.watches.subscribed((self.id,)) as events:
            while True:
                event = await events.next()
                yield event
                if over(event):
                    return

    async def progress(self) -> AsyncGenerator[Progress, None]:
        """The newest progress and each one after it, until the job ends.

        A reader who is slower than the runner gets the newest, not each. Raises `NotFound`.
        """
        newest: Progress | None = None
        async with self._session.watches.subscribed((self.id,)) as events:
            while True:
                event = await events.next()
                if event.progress is not None and event.progress != newest:
                    newest = event.progress
                    yield newest
                if over(event):
                    return

    async def logs(
        self, *, offset: int = 0, follow: bool = False
    ) -> AsyncGenerator[LogEntry, None]:
        """The log from an offset on, each entry once and in order.

        With `follow` it goes on until the job ends, across reconnects. Offsets that are missing
        were dropped by the broker's bound on a job's log. Progress has entries too (`type`).
        Raises `NotFound`.
        """
        if not follow:
            async for entry in self._read_log(offset):
                yield entry
            return
        async with self._session.watches.subscribed((self.id,)) as events:
            while True:
                event = await events.next()
                for entry in event.log:
                    if entry.offset == offset:
                        yield entry
                        offset += 1
                if events.log_end(self.id) > offset or over(event):
                    try:
                        async for entry in self._read_log(offset):
                            yield entry
                            offset = entry.offset + 1
                    except NotFound:
                        # It ended and is gone; all that was pushed before has been yielded.
                        return
                if over(event):
                    return

    async def _read_log(self, offset: int) -> AsyncGenerator[LogEntry, None]:
        while True:
            wanted = LogWanted(self.id, offset, LOG_PAGE_ENTRIES)
            page = await self._session.requests.read_log.submit(wanted)
            for entry in page.entries:
                yield entry
                offset = entry.offset + 1
            if not page.entries or offset >= page.end:
                return

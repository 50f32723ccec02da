"""Lanes, readers and committers for a test, and a caller that counts how often it is answered."""

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Final

from packhorse_broker.jobs.commands import Claim, Command
from packhorse_broker.jobs.model import Applied, Retention, Rules
from packhorse_broker.store.changes import Change
from packhorse_broker.store.committer import Committer
from packhorse_broker.store.committers import Committing
from packhorse_broker.store.durability import AFTER_EXEC, Waits
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.link import StoreAddress
from packhorse_broker.store.reader import Reader
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store.types import TypeBook
from packhorse_broker.store.work import Draw, Result, Submission
from packhorse_broker.store.writer import Publish
from tests.support.clock import ManualClock

RULES: Final = Rules(
    retention=Retention(failed_ms=60_000),
    max_log_entries=5,
    max_log_bytes=1_000_000,
    lost_limit=3,
    cancel_grace_ms=1_000,
)

TIMEOUT_MS: Final = 20_000
"""Longer than any healthy answer takes on a busy machine; tests of timeouts name their own."""


class Caller:
    """Submits to a committer. `check`: everything was answered, and once."""

    def __init__(self, committer: Committing) -> None:
        self.committer = committer
        self.answers: list[int] = []
        """For each submission so far, how often it was answered."""

    def submit(self, *items: tuple[str, Command]) -> "asyncio.Future[list[Result]]":
        """Commands for jobs, in one submission."""
        settled: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        place = self._place()

        def done(results: list[Result], _: bool) -> None:
            self.answers[place] += 1
            if not settled.done():
                settled.set_result(results)

        self.committer.submit(Submission(items, done))
        return settled

    def draw(
        self, job_type: str, claims: Sequence[Claim], *, of_created: bool = False
    ) -> "asyncio.Future[tuple[list[Applied], bool]]":
        """Claims from a queue: what they got, and whether it may hold more."""
        settled: asyncio.Future[tuple[list[Applied], bool]]
        settled = asyncio.get_running_loop().create_future()
        place = self._place()

        def done(drawn: list[Applied], more: bool) -> None:
            self.answers[place] += 1
            if not settled.done():
                settled.set_result((drawn, more))

        self.committer.submit(Draw(job_type, claims, done, of_created))
        return settled

    async def ask(self, job_id: str, command: Command) -> Result:
        """One command, and its result."""
        [result] = await self.submit((job_id, command))
        return result

    async def applied(self, job_id: str, command: Command) -> Applied:
        """One command that has to be applied."""
        result = await self.ask(job_id, command)
        assert isinstance(result, Applied), result
        return result

    def check(self) -> None:
        assert set(self.answers) <= {1}

    def _place(self) -> int:
        self.answers.append(0)
        return len(self.answers) - 1


class Opener:
    """Makes what a test asks for, on the store at `url` unless another is named."""

    def __init__(self, url: str, keys: PartitionKeys) -> None:
        self.url = url
        self.keys = keys
        self.clock = ManualClock()
        self.types = TypeBook()
        self.committed: list[Change] = []
        """What committers told of, in order."""
        self._writers = count(1)
        self._lanes: list[Lane] = []
        self._callers: list[Caller] = []

    def address(self, url: str | None = None, timeout_ms: int = TIMEOUT_MS) -> StoreAddress:
        return StoreAddress(url=url or self.url, timeout_ms=timeout_ms, client_name="test")

    def lane(self, url: str | None = None, *, timeout_ms: int = TIMEOUT_MS) -> Lane:
        """A lane with a mark of its own, see `mark`."""
        mark = self.mark(next(self._writers))
        lane = Lane(self.address(url, timeout_ms), mark)
        self._lanes.append(lane)
        return lane

    def mark(self, number: int = 1) -> bytes:
        """The key of the mark of the lane that was made as so manieth."""
        return self.keys.writer(f"writer-{number}")

    def reader(self, url: str | None = None) -> Reader:
        return Reader(self.lane(url), self.keys)

    def committer(
        self,
        url: str | None = None,
        *,
        timeout_ms: int = TIMEOUT_MS,
        wait_ms: int = TIMEOUT_MS,
        rules: Rules = RULES,
        publish: Publish = lambda _: None,
        waits: Waits = AFTER_EXEC,
    ) -> Caller:
        """A committer that runs; all share one clock."""
        committer = Committer(
            self.lane(url, timeout_ms=timeout_ms),
            self.keys,
            rules,
            self.clock,
            types=self.types,
            wait_ms=wait_ms,
            waits=lambda: waits,
            publish=publish,
            committed=self.committed.extend,
        )
        committer.start()
        caller = Caller(committer)
        self._callers.append(caller)
        return caller

    async def close(self) -> None:
        """Closes all, and checks that every submission was answered once."""
        await asyncio.gather(*(caller.committer.close() for caller in self._callers))
        for lane in self._lanes:
            await lane.close()
        for caller in self._callers:
            caller.check()

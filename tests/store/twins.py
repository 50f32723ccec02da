"""Two stores in which the same was done, one of them with several partitions."""

from typing import Final

from packhorse_broker.jobs.commands import (
    Command,
    Complete,
    Fail,
    ReportProgress,
    WriteLog,
)
from packhorse_broker.jobs.model import Progress
from packhorse_broker.jobs.terms import Backoff, Growth, Terms
from tests.support.commands import claim, create, first_token
from tests.support.partitioned import PartitionedStores

TYPES: Final = ("mail", "post")


class Twins:
    """The same is done with several partitions and with one."""

    def __init__(self, stores: PartitionedStores) -> None:
        self.several = stores.open(3)
        self.one = stores.open(1)

    async def do(self, job_id: str, command: Command) -> None:
        for store in (self.several, self.one):
            await store.caller.applied(job_id, command)

    def forward(self, ms: int) -> None:
        for store in (self.several, self.one):
            store.clock.forward(ms)

    async def fill(self) -> list[str]:
        """Jobs in every state, with logs, bodies and outcomes of all sizes: their ids."""
        for number in range(40):
            job_id = f"job-{number:02}"
            terms = Terms(
                priority=number % 3,
                run_ms=5_000 if number % 5 == 0 else 0,
                backoff=Backoff(Growth.FIXED, delay_ms=2_000),
            )
            _, created = create(
                job_id,
                TYPES[number % 2],
                bytes(700 * (number % 4)),
                handler="eve" if number % 2 else None,
                group="shop" if number % 3 else None,
                delay_until=self.one.clock.now_ms() + 9_000 if number % 8 == 7 else 0,
                terms=terms,
                attempts=2,
            )
            await self.do(job_id, created)
            self.forward(10)
            if number % 8 in (0, 5, 7):
                continue
            runner = "ann" if number % 3 else "bob"
            claimed = claim(runner)
            token = first_token(claimed)
            await self.do(job_id, claimed)
            await self.do(job_id, WriteLog(runner, token, ("a", "b")))
            if number % 8 in (1, 2):
                continue
            await self.do(job_id, ReportProgress(runner, token, Progress(50, "half")))
            outcome = bytes(700 * (number % 3))
            if number % 8 == 3:
                await self.do(job_id, Fail(runner, token, outcome))
            elif number % 8 == 4:
                await self.do(job_id, Fail(runner, token, outcome, False))
            else:
                await self.do(job_id, Complete(runner, token, outcome))
        return [f"job-{number:02}" for number in range(40)]

"""Committers and reader against the plain model, through two brokers' writers in turn."""

import asyncio
import os
from itertools import count
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from packhorse_broker.jobs.commands import Claim, Command
from packhorse_broker.jobs.model import Applied, Job, LogEntry, Refusal, Rules
from packhorse_broker.store.fsck import Checker
from packhorse_broker.store.keys import PartitionKeys, job_of_member
from packhorse_broker.store.work import Result
from tests.jobs.asking import CLIENTS, TYPES, Draft, asked, clients, jobs, types
from tests.jobs.model import Model, plain
from tests.support.inspection import Contents, Raw
from tests.support.opening import Caller, Opener

RULES: Final = Rules(failed_retention_ms=1_000, max_log_entries=3)
SIZES: Final = st.sampled_from((0, 512, 513, 2_000))
"""Of bodies and outcomes, on both sides of where they live apart."""

_RUNS: Final = count(1)

Asked = tuple[str, Command | Draft | str]
"""A job and what is asked of it; a bare text is a claim by that client."""

batches: Final = st.lists(asked(SIZES) | st.tuples(jobs, clients), min_size=1, max_size=6)


class Jobs(RuleBasedStateMachine):
    """Every batch is one submission; each is decided here too, and the store is read after it."""

    url: str
    """The store."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = PartitionKeys(f"stateful-{os.getpid()}-{next(_RUNS)}", 0)
        self.model = Model(retention_ms=RULES.failed_retention_ms, log_cap=RULES.max_log_entries)
        self.nonces = count()
        self.tokens: dict[str, list[bytes]] = {}
        self.loop = asyncio.Runner()
        self.loop.run(self._open())

    async def _open(self) -> None:
        self.opener = Opener(self.url, self.keys)
        self.brokers = [self.opener.committer(rules=RULES) for _ in range(2)]
        self.reader = self.opener.reader()
        self.raw = await Raw.open(self.url)

    def teardown(self) -> None:
        with self.loop:
            self.loop.run(self._close())

    # -- what is asked

    @rule(batch=batches)
    def ask(self, batch: list[Asked]) -> None:
        broker = self._next_broker()
        now_ms = self.opener.clock.now_ms()
        items: list[tuple[str, Command]] = []
        expected: list[str] = []
        for job_id, said in batch:
            command = self._command(job_id, said)
            items.append((job_id, command))
            expected.append(self.model.apply(job_id, command, now_ms))
            self._note_token(job_id)
        results = self.loop.run(self._submit(broker, items))
        assert [told(result) for result in results] == expected
        self.loop.run(self._check())

    @rule(job_type=types, runners=st.lists(clients, min_size=1, max_size=3))
    def draw(self, job_type: str, runners: list[str]) -> None:
        broker = self._next_broker()
        claims = [self._claim(client) for client in runners]
        waiting = len(self.model.queue(job_type))
        expected = self.model.draw(job_type, claims, self.opener.clock.now_ms())
        drawn, more = self.loop.run(self._draw(broker, job_type, claims))
        assert [applied.job.id for applied in drawn] == expected
        for applied in drawn:
            assert applied.job.body == self.model.jobs[applied.job.id]["body"]
            self._note_token(applied.job.id)
        assert more or waiting == len(expected)
        self.loop.run(self._check())

    @rule(ms=st.sampled_from((1, 999, 1_000)))
    def time_passes(self, ms: int) -> None:
        self.opener.clock.forward(ms)

    # -- how

    def _next_broker(self) -> Caller:
        self.brokers.reverse()
        return self.brokers[0]

    def _command(self, job_id: str, said: Command | Draft | str) -> Command:
        if isinstance(said, str):
            return self._claim(said)
        if isinstance(said, Draft):
            job = self.model.jobs.get(job_id)
            return said.command(job["runner"] if job else None, self.tokens.get(job_id, []))
        return said

    def _claim(self, client: str) -> Claim:
        return Claim(client, next(self.nonces).to_bytes(8, "big"))

    def _note_token(self, job_id: str) -> None:
        job = self.model.jobs.get(job_id)
        known = self.tokens.setdefault(job_id, [])
        if job is not None and job["token"] is not None and job["token"] not in known:
            known.append(job["token"])

    @staticmethod
    async def _submit(broker: Caller, items: list[tuple[str, Command]]) -> list[Result]:
        return await broker.submit(*items)

    @staticmethod
    async def _draw(
        broker: Caller, job_type: str, claims: list[Claim]
    ) -> tuple[list[Applied], bool]:
        return await broker.draw(job_type, claims)

    # -- what is there afterwards

    async def _check(self) -> None:
        await self._check_contents()
        await self._check_reader()

    async def _check_reader(self) -> None:
        """All jobs in full, queues and clients' lists, as the model has them."""
        names = sorted(self.model.jobs)
        found = {job.id: job for job in await self.reader.jobs(names) if isinstance(job, Job)}
        assert sorted(found) == names
        for name, job in found.items():
            assert plain(job, await self._log(job)) == self.model.jobs[name]
        for job_type in TYPES:
            queue = await self.raw("ZRANGE", self.keys.queue(job_type), 0, -1)
            assert list(map(job_of_member, queue)) == self.model.queue(job_type)
        for client in CLIENTS:
            held = [
                name
                for name, job in self.model.jobs.items()
                if (job["state"], job["runner"]) == ("STARTED", client)
            ]
            assert sorted(await self.reader.held_by(client, 100)) == sorted(held)

    async def _log(self, job: Job) -> list[LogEntry]:
        page = await self.reader.log(job.id, 0, 100)
        assert page is not None
        assert (page.first, page.end) == (job.log_first, job.log_end)
        return list(page.entries)

    async def _check_contents(self) -> None:
        """Every key in the store, the index entries among them, is one that a record asks for."""
        found = await Contents.read(self.raw, self.keys)
        assert set(found.jobs) == set(self.model.jobs)
        found.check(self.keys)

    async def _close(self) -> None:
        report = await Checker(self.opener.lane(), self.keys).check()
        assert (report.jobs, report.findings) == (len(self.model.jobs), [])
        await self.opener.close()
        await self.raw.clear(self.keys.base)
        await self.raw.close()


def told(result: Result) -> str:
    """A result in the model's words."""
    if isinstance(result, Refusal):
        return result.code.value
    assert isinstance(result, Applied), result
    return "gone" if result.removed else "changed" if result.changed else "same"


def test_committers_do_as_the_model_says(store_url: str) -> None:
    class Here(Jobs):
        url = store_url

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )

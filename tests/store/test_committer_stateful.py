"""Committers and reader against the plain model, through two brokers' writers in turn."""

import asyncio
import os
from itertools import count
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from msgspec.structs import replace

from packhorse_broker.jobs.commands import Claim, Command, Create, Due, OnDuplicate
from packhorse_broker.jobs.model import Applied, Job, LogEntry, Refusal, Retention, Rules
from packhorse_broker.jobs.terms import Scope, Terms, Unique
from packhorse_broker.store import candidates, draws
from packhorse_broker.store.fsck import Checker
from packhorse_broker.store.keys import PartitionKeys, job_of_member
from packhorse_broker.store.link import StoreAddress
from packhorse_broker.store.transaction import Lane
from packhorse_broker.store.work import Result
from tests.jobs.asking import CLIENTS, TYPES, Draft, asked, clients, jobs, types
from tests.jobs.plainly import plain
from tests.store.keyed_model import KeyedModel
from tests.support.clock import ManualClock
from tests.support.inspection import Contents, Raw
from tests.support.opening import TIMEOUT_MS, Caller
from tests.support.partitioned import PartitionedStore

RULES: Final = Rules(
    retention=Retention(failed_ms=1_000),
    max_log_entries=3,
    max_log_bytes=24,
    lost_limit=2,
    cancel_grace_ms=1_000,
)
UNIQUES: Final = (
    Unique("started", Scope.UNTIL_STARTED),
    Unique("finished", Scope.UNTIL_FINISHED),
    Unique("window", Scope.WINDOW, 3_600_000),
)
SIZES: Final = st.sampled_from((0, 512, 513, 2_000))
"""Of bodies and outcomes, on both sides of where they live apart."""

START_MS: Final = ManualClock().now_ms()

_RUNS: Final = count(1)

Asked = tuple[str, Command | Draft | str]
"""A job and what is asked of it; a bare text is a claim by that client."""


def keyed(what: tuple[str, Command | Draft], unique: Unique, how: OnDuplicate) -> Asked:
    """The same, but a create asks for a unique key."""
    job_id, command = what
    if isinstance(command, Create):
        terms = replace(command.terms or Terms(), unique=unique)
        command = replace(command, terms=terms, on_duplicate=how)
    return job_id, command


of_all: Final = asked(SIZES, from_ms=START_MS)
batches: Final = st.lists(
    st.one_of(
        of_all,
        st.builds(keyed, of_all, st.sampled_from(UNIQUES), st.sampled_from(OnDuplicate)),
        st.tuples(jobs, clients),
    ),
    min_size=1,
    max_size=6,
)


class Jobs(RuleBasedStateMachine):
    """Every batch is one submission; each is decided here too, and the store is read after it."""

    url: str
    """The store."""
    partitions: int

    def __init__(self) -> None:
        super().__init__()
        self.prefix = f"stateful-{os.getpid()}-{next(_RUNS)}"
        self.model = KeyedModel(RULES)
        self.nonces = count()
        self.tokens: dict[str, list[bytes]] = {}
        self.clock = ManualClock()
        self.loop = asyncio.Runner()
        self.loop.run(self._open())

    async def _open(self) -> None:
        self.stores = [
            PartitionedStore(self.url, self.prefix, self.partitions, clock=self.clock, rules=RULES)
            for _ in range(2)
        ]
        self.brokers = [store.caller for store in self.stores]
        self.keys = self.stores[0].keys
        self.homes = self.stores[0].partitions.homes
        self.reader = self.stores[0].partitions.reader
        self.raw = await Raw.open(self.url)

    def teardown(self) -> None:
        with self.loop:
            self.loop.run(self._close())

    # -- what is asked

    @rule(batch=batches)
    def ask(self, batch: list[Asked]) -> None:
        broker = self._next_broker()
        now_ms = self.clock.now_ms()
        items: list[tuple[str, Command]] = []
        expected: list[str] = []
        for job_id, said in batch:
            command = self._at_home(self._command(job_id, said))
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
        queue = self.model.inner.queue(job_type)
        drawn, more = self.loop.run(self._draw(broker, job_type, claims))
        assert [applied.job.id for applied in drawn] == queue[: len(claims)]
        by_nonce = {claim.nonce: claim for claim in claims}
        for applied in drawn:
            assert applied.job.token is not None
            claim = by_nonce.pop(applied.job.token[-len(claims[0].nonce) :])
            assert self.model.apply(applied.job.id, claim, self.clock.now_ms()) == "changed"
            assert applied.job.body == self.model.jobs[applied.job.id]["body"]
            self._note_token(applied.job.id)
        assert more or len(queue) == len(drawn)
        self.loop.run(self._check())

    @rule(ms=st.sampled_from((1, 999, 1_000)))
    def time_passes(self, ms: int) -> None:
        self.clock.forward(ms)

    @rule()
    def timers_run(self) -> None:
        """Whatever is due is moved on, by whichever broker looks first."""
        broker = self._next_broker()
        now_ms = self.clock.now_ms()
        due, _ = self.loop.run(self.reader.due(now_ms, 100))
        self.loop.run(self._submit(broker, [(job_id, Due()) for job_id in due]))
        for job_id in due:
            assert self.model.apply(job_id, Due(), now_ms) != "same", f"{job_id} was not due"
        again, next_ms = self.loop.run(self.reader.due(now_ms, 100))
        assert again == []
        assert not next_ms or next_ms > now_ms
        self.loop.run(self._check())

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

    def _at_home(self, command: Command) -> Command:
        """A create only asks for a unique key that is where the job is: others do not come here."""
        terms = command.terms if isinstance(command, Create) else None
        if not isinstance(command, Create) or terms is None or terms.unique is None:
            return command
        if self.homes.fits(command.id, command.type, terms.unique.key):
            return command
        return replace(command, terms=replace(terms, unique=None))

    async def _submit(self, broker: Caller, items: list[tuple[str, Command]]) -> list[Result]:
        """At once; with several partitions singly, as the order between these is anybody's."""
        if self.partitions == 1:
            return await broker.submit(*items)
        return [await broker.ask(*item) for item in items]

    async def _draw(
        self, broker: Caller, job_type: str, claims: list[Claim]
    ) -> tuple[list[Applied], bool]:
        """A broker has heard of what another one has queued."""
        broker.committer.passed_on(list(self.model.jobs), (job_type,), "another")
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
            assert await self._queue(job_type) == self.model.inner.queue(job_type)
        for client in CLIENTS:
            held = [
                name
                for name, job in self.model.jobs.items()
                if (job["state"], job["runner"]) == ("STARTED", client)
            ]
            assert sorted(await self.reader.held_by(client, 100)) == sorted(held)

    async def _queue(self, job_type: str) -> list[str]:
        """Of all partitions together."""
        entries: list[tuple[float, bytes]] = []
        for keys in self.keys:
            found = await self.raw("ZRANGE", keys.queue(job_type), 0, -1, "WITHSCORES")
            entries += zip(map(float, found[1::2]), found[::2], strict=True)
        return [job_of_member(member) for _, member in sorted(entries)]

    async def _log(self, job: Job) -> list[LogEntry]:
        page = await self.reader.log(job.id, 0, 100)
        assert page is not None
        assert (page.first, page.end) == (job.log_first, job.log_end)
        return list(page.entries)

    async def _check_contents(self) -> None:
        """Every key in the store, the index entries among them, is one that a record asks for."""
        for keys in self.keys:
            found = await Contents.read(self.raw, keys)
            assert set(found.jobs) == self._at(keys)
            found.check(keys)

    def _at(self, keys: PartitionKeys) -> set[str]:
        return {name for name in self.model.jobs if self.homes.of(name) == keys.partition}

    async def _close(self) -> None:
        address = StoreAddress(url=self.url, timeout_ms=TIMEOUT_MS, client_name="test")
        for keys in self.keys:
            lane = Lane(address, keys.writer("checker"))
            report = await Checker(lane, keys).check()
            assert (report.jobs, report.findings) == (len(self._at(keys)), [])
            await lane.close()
        for store in self.stores:
            await store.close()
        for keys in self.keys:
            await self.raw.clear(keys.base)
        await self.raw.close()


def told(result: Result) -> str:
    """A result in the model's words."""
    if isinstance(result, Refusal):
        return result.code.value
    assert isinstance(result, Applied), result
    return "gone" if result.removed else "changed" if result.changed else "same"


@pytest.mark.parametrize(("count", "examples"), [(1, 80), (2, 60)])
def test_committers_do_as_the_model_says(
    store_url: str, monkeypatch: pytest.MonkeyPatch, count: int, examples: int
) -> None:
    """But for fair turns, which the model does not know."""
    monkeypatch.setattr(candidates, "FAIR_EVERY", 1_000_000)
    monkeypatch.setattr(draws, "FAIR_EVERY", 1_000_000)

    class Here(Jobs):
        url = store_url
        partitions = count

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )

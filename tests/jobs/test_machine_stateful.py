"""The state machine against the plain model, whatever clients do to jobs in whatever order."""

from itertools import count
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from packhorse_broker.jobs.commands import Claim, Command
from packhorse_broker.jobs.machine import decide
from packhorse_broker.jobs.model import End, Job, LogEntry, Now, Refusal, Rules, State
from packhorse_broker.store.indexes import entries
from packhorse_broker.store.keys import PartitionKeys
from tests.jobs.asking import TYPES, Draft, asked, clients, jobs, types
from tests.jobs.model import Model, plain

RULES: Final = Rules(failed_retention_ms=1_000, max_log_entries=4)
KEYS: Final = PartitionKeys("ph", 0)


class Jobs(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.model = Model(retention_ms=RULES.failed_retention_ms, log_cap=RULES.max_log_entries)
        self.records: dict[str, Job] = {}
        self.logs: dict[str, list[LogEntry]] = {}
        self.tokens: dict[str, list[bytes]] = {}
        self.now_ms = 1_000_000
        self.orders = count()
        self.nonces = count()

    def apply(self, job_id: str, command: Command) -> None:
        before = self.records.get(job_id)
        decision = decide(before, command, Now(self.now_ms, next(self.orders)), RULES)
        told = self.model.apply(job_id, command, self.now_ms)
        if isinstance(decision, Refusal):
            assert decision.code == told
            return
        assert decision.before is before
        assert told == ("gone" if decision.removed else "changed" if decision.changed else "same")
        self._check_version(before, decision.job, changed=decision.changed)
        if decision.removed:
            del self.records[job_id]
            del self.logs[job_id]
            return
        job = decision.job
        self.records[job_id] = job
        log = self.logs.setdefault(job_id, [])
        log += decision.entries
        log[:] = [entry for entry in log if entry.offset >= job.log_first]
        if isinstance(command, Claim):
            assert job.token is not None
            self.tokens.setdefault(job_id, []).append(job.token)

    @staticmethod
    def _check_version(before: Job | None, after: Job, *, changed: bool) -> None:
        if before is None:
            assert (after.version, after.fence) == (1, 0)
            return
        assert after.version == before.version + changed
        assert after.fence >= before.fence

    @rule(what=asked(st.sampled_from((0, 3))))
    def ask(self, what: tuple[str, Command | Draft]) -> None:
        job_id, command = what
        if isinstance(command, Draft):
            job = self.records.get(job_id)
            runner = job.runner if job is not None else None
            command = command.command(runner, self.tokens.get(job_id, []))
        self.apply(job_id, command)

    @rule(job_id=jobs, client=clients)
    def claim(self, job_id: str, client: str) -> None:
        self.apply(job_id, Claim(client, next(self.nonces).to_bytes(8, "big")))

    @rule(job_type=types, client=clients)
    def claim_next(self, job_type: str, client: str) -> None:
        for job_id in self.model.queue(job_type)[:1]:
            self.claim(job_id, client)

    @rule(ms=st.sampled_from((1, 999, 1_000)))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @invariant()
    def all_jobs_are_as_the_model_says(self) -> None:
        told = {job_id: plain(job, self.logs[job_id]) for job_id, job in self.records.items()}
        assert told == self.model.jobs

    @invariant()
    def queues_are_in_the_models_order(self) -> None:
        for job_type in TYPES:
            waiting = [
                job
                for job in self.records.values()
                if job.state is State.QUEUED and job.type == job_type
            ]
            waiting.sort(key=lambda job: job.order)
            assert [job.id for job in waiting] == self.model.queue(job_type)

    @invariant()
    def a_started_job_has_a_runner_and_a_token(self) -> None:
        for job in self.records.values():
            if job.state is State.STARTED:
                assert job.runner is not None
                assert job.token is not None
                assert int.from_bytes(job.token[:8], "big") == job.fence
                assert job.end is End.NONE
                assert 1 <= job.current_attempt <= job.attempts

    @invariant()
    def tokens_are_unique(self) -> None:
        tokens = [token for of_job in self.tokens.values() for token in of_job]
        assert len(set(tokens)) == len(tokens)

    @invariant()
    def a_finished_job_has_an_end_and_somebody_or_something_to_remove_it(self) -> None:
        for job in self.records.values():
            assert job.state.finished == (job.finished_at > 0)
            if job.state.finished:
                assert job.end is not End.NONE
                assert job.handlers or job.persistent or job.expires_at
            else:
                assert job.outcome is None
                assert job.reason is None
                assert not job.expires_at

    @invariant()
    def an_unfinished_job_is_in_the_one_index_that_moves_it_on(self) -> None:
        for job in self.records.values():
            found = entries(KEYS, job)
            keys = [key for key, _, _ in found]
            assert len(set(keys)) == len(keys)
            handlers = {KEYS.handlers(client) for client in job.handlers}
            assert handlers <= set(keys)
            moving = set(keys) - handlers
            if job.state is State.QUEUED:
                assert moving == {KEYS.queue(job.type)}
            elif job.state is State.STARTED:
                assert job.runner is not None
                assert moving == {KEYS.started(job.type), KEYS.claims(job.runner)}
            else:
                assert (KEYS.timers in moving) == bool(job.expires_at)
                assert not moving & {KEYS.queue(job.type), KEYS.started(job.type)}


TestJobs = Jobs.TestCase
TestJobs.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)

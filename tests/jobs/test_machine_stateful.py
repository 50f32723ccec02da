"""The state machine against the plain model, whatever clients do to jobs in whatever order."""

from itertools import count
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from packhorse_broker.jobs.commands import (
    Claim,
    Command,
    Create,
    Due,
    Handled,
    HandlerGone,
    RunnerGone,
)
from packhorse_broker.jobs.deadlines import due_at
from packhorse_broker.jobs.logs import MARKS
from packhorse_broker.jobs.machine import decide
from packhorse_broker.jobs.model import (
    PLAIN_COURSE,
    ActionRecord,
    Applied,
    AttemptRecord,
    End,
    Job,
    LogEntry,
    Now,
    Reason,
    Refusal,
    Retention,
    Rules,
    State,
)
from packhorse_broker.store.indexes import entries, mover
from packhorse_broker.store.keys import PartitionKeys
from tests.jobs.asking import CLIENTS, TYPES, Draft, asked, clients, creates, drafts, jobs, types
from tests.jobs.model import Model
from tests.jobs.plainly import plain, plain_action, plain_attempt

RULES: Final = Rules(
    retention=Retention(complete_ms=0, failed_ms=1_000),
    max_log_entries=7,
    max_log_bytes=24,
    lost_limit=2,
    cancel_grace_ms=1_000,
)
KEYS: Final = PartitionKeys("ph", 0)
START_MS: Final = 1_000_000
SIZES: Final = st.sampled_from((0, 3))
CHANCES: Final = st.sampled_from((0.0, 0.3, 0.999))


class Jobs(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.model = Model(RULES)
        self.records: dict[str, Job] = {}
        self.logs: dict[str, list[LogEntry]] = {}
        self.attempts: dict[str, list[AttemptRecord]] = {}
        self.actions: list[ActionRecord] = []
        self.tokens: dict[str, list[bytes]] = {}
        self.now_ms = START_MS
        self.orders = count()
        self.nonces = count()

    # -- what is asked

    def apply(self, job_id: str, command: Command, chance: float = 0.0) -> None:
        before = self.records.get(job_id)
        decision = decide(before, command, Now(self.now_ms, next(self.orders), chance), RULES)
        told = self.model.apply(job_id, command, self.now_ms, chance)
        if isinstance(decision, Refusal):
            assert decision.code == told
            return
        assert decision.before is before
        assert told == ("gone" if decision.removed else "changed" if decision.changed else "same")
        self._check_version(before, decision.job, changed=decision.changed)
        self._check_counters(before, decision.job)
        if decision.action is not None:
            self.actions.append(decision.action)
        if decision.removed:
            del self.records[job_id]
            self.logs.pop(job_id, None)
            self.attempts.pop(job_id, None)
            return
        self._keep(job_id, command, decision)

    def _keep(self, job_id: str, command: Command, decision: Applied) -> None:
        job = decision.job
        self.records[job_id] = job
        log = self.logs.setdefault(job_id, [])
        log += decision.entries
        log[:] = [entry for entry in log if entry.offset >= job.log_first]
        attempts = self.attempts.setdefault(job_id, [])
        if decision.attempt is not None:
            attempts.append(decision.attempt)
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

    @staticmethod
    def _check_counters(before: Job | None, after: Job) -> None:
        if before is not None:
            assert after.failed >= before.failed
            assert after.lost >= before.lost
            assert after.released >= before.released
            assert (after.course or PLAIN_COURSE).timed_out >= (
                before.course or PLAIN_COURSE
            ).timed_out

    @initialize(
        first=st.lists(creates(SIZES, jitter=True, from_ms=START_MS), min_size=2, max_size=3)
    )
    def create_some(self, first: list[Create]) -> None:
        for command in first:
            self.apply(command.id, command)

    @rule(what=asked(SIZES, jitter=True, from_ms=START_MS), chance=CHANCES)
    def ask(self, what: tuple[str, Command | Draft], chance: float) -> None:
        job_id, command = what
        if isinstance(command, Draft):
            job = self.records.get(job_id)
            runner = job.runner if job is not None else None
            command = command.command(runner, self.tokens.get(job_id, []))
        self.apply(job_id, command, chance)

    @precondition(lambda self: self._started())
    @rule(draft=drafts(SIZES), which=st.integers(0, 2), chance=CHANCES)
    def a_runner_says(self, draft: Draft, which: int, chance: float) -> None:
        started = self._started()
        job = started[which % len(started)]
        self.apply(job.id, draft.command(job.runner, self.tokens[job.id]), chance)

    @precondition(lambda self: self._started())
    @rule(which=st.integers(0, 2), chance=CHANCES)
    def a_runner_leaves(self, which: int, chance: float) -> None:
        """And all that it holds is lost."""
        started = self._started()
        client = started[which % len(started)].runner
        assert client is not None
        for job in started:
            self.apply(job.id, RunnerGone(client), chance)

    @precondition(lambda self: any(job.state.finished for job in self.records.values()))
    @rule(which=st.integers(0, 2), leaves=st.booleans())
    def a_handler_answers_or_leaves(self, which: int, leaves: bool) -> None:
        finished = [job for job in self.records.values() if job.state.finished]
        job = finished[which % len(finished)]
        for client in job.handlers[:1]:
            self.apply(job.id, HandlerGone(client) if leaves else Handled(client))

    def _started(self) -> list[Job]:
        return [job for job in self.records.values() if job.state is State.STARTED]

    @rule(job_id=jobs, client=clients)
    def claim(self, job_id: str, client: str) -> None:
        self.apply(job_id, Claim(client, next(self.nonces).to_bytes(8, "big")))

    @rule(job_type=types, client=clients)
    def claim_next(self, job_type: str, client: str) -> None:
        for job_id in self.model.queue(job_type)[:1]:
            self.claim(job_id, client)

    @rule(ms=st.sampled_from((1, 499, 1_000)))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @precondition(lambda self: any(map(next_time, self.records.values())))
    @rule(chance=CHANCES)
    def the_next_time_comes(self, chance: float) -> None:
        """What is due first is asked for at its very moment, or now if that is past."""
        times = [(next_time(job), job.id) for job in self.records.values()]
        due, job_id = min(time for time in times if time[0])
        self.now_ms = max(self.now_ms, due)
        self.apply(job_id, Due(), chance)

    # -- what holds at any time

    @invariant()
    def all_jobs_are_as_the_model_says(self) -> None:
        told = {job_id: plain(job, self.logs[job_id]) for job_id, job in self.records.items()}
        assert told == self.model.jobs
        attempts = {
            job_id: list(map(plain_attempt, ended)) for job_id, ended in self.attempts.items()
        }
        assert attempts == self.model.attempts
        assert list(map(plain_action, self.actions)) == self.model.actions

    @invariant()
    def queues_are_in_the_models_order(self) -> None:
        for job_type in TYPES:
            waiting = [
                job
                for job in self.records.values()
                if job.state is State.QUEUED and job.type == job_type
            ]
            waiting.sort(key=lambda job: (-job.priority, job.order))
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
    def a_waiting_job_has_an_attempt_left(self) -> None:
        for job in self.records.values():
            if job.state in (State.PENDING, State.QUEUED):
                assert job.current_attempt < job.attempts

    @invariant()
    def tokens_are_unique(self) -> None:
        tokens = [token for of_job in self.tokens.values() for token in of_job]
        assert len(set(tokens)) == len(tokens)

    @invariant()
    def a_finished_job_has_an_end_and_somebody_or_something_to_remove_it(self) -> None:
        for job in self.records.values():
            assert job.state.finished == (job.finished_at > 0)
            assert (job.reason is not None) == (job.state is State.FAILED)
            if job.state.finished:
                waited = job.reason in (Reason.CANCELLED, Reason.JOB_TIMEOUT)
                assert job.end is not End.NONE or waited
                assert bool(job.expires_at) != bool(job.awaited or job.persistent)
            else:
                assert job.outcome is None
                assert not job.expires_at

    @invariant()
    def the_course_holds_what_the_state_needs_and_plain_jobs_have_none(self) -> None:
        for job in self.records.values():
            assert job.course != PLAIN_COURSE
            course = job.course or PLAIN_COURSE
            assert (course.delayed_until > 0) == (job.state is State.PENDING)
            assert not course.run_until or job.state is State.STARTED
            assert course.cancel is None or job.state is State.STARTED or job.state.finished
            assert job.reason is not Reason.CANCELLED or course.cancel is not None
            assert job.attempt_records or not self.attempts[job.id]
            assert job.ended_attempts == len(self.attempts[job.id])

    @invariant()
    def logs_have_no_gap_and_few_marks(self) -> None:
        for job in self.records.values():
            offsets = [entry.offset for entry in self.logs[job.id]]
            assert offsets == list(range(job.log_first, job.log_end))
            assert (job.log_tail is not None) == (job.log_end > 0)
            if job.log_tail is not None:
                kept = sum(len(entry.message.encode()) for entry in self.logs[job.id])
                known = job.log_tail.size_bytes - job.log_tail.dropped_bytes
                assert kept <= known <= RULES.max_log_bytes
                assert len(job.log_tail.marks) <= MARKS
                marks = [offset for offset, _ in job.log_tail.marks]
                assert marks == sorted(set(marks))
                assert all(job.log_first < mark <= job.log_end for mark in marks)

    @invariant()
    def an_unfinished_job_is_in_the_one_index_that_moves_it_on(self) -> None:
        for job in self.records.values():
            found = entries(KEYS, job)
            keys = [key for key, _, _ in found]
            assert len(set(keys)) == len(keys)
            movers = [KEYS.queue(job.type), KEYS.pending]
            movers += [KEYS.claims(client) for client in CLIENTS]
            moving = [entry for entry in found if entry[0] in movers]
            moved = mover(KEYS, job)
            assert moving == ([] if moved is None else [moved])
            assert (moved is None) == job.state.finished
            timers = [entry for entry in found if entry[0] == KEYS.timers]
            due = due_at(job)
            assert timers == ([(KEYS.timers, job.id.encode(), due)] if due else [])

    @invariant()
    def time_alone_gets_every_job_to_an_end_or_to_somebody(self) -> None:
        for job in self.records.values():
            left_to(job)


def next_time(job: Job) -> int:
    """When time moves the job: the store finds it by the same two; 0: never."""
    times = (job.delayed_until, due_at(job))
    return min((time for time in times if time), default=0)


def left_to(job: Job) -> None:
    """Let each time come that the record names: every one moves the job, and in the end there is
    somebody to move it, or it is over."""
    for _ in range(5):
        due = next_time(job)
        if not due:
            break
        early = decide(job, Due(), Now(due - 1, 1), RULES)
        assert isinstance(early, Applied)
        assert not early.changed
        decision = decide(job, Due(), Now(due, 1), RULES)
        assert isinstance(decision, Applied)
        assert decision.changed
        if decision.removed:
            return
        job = decision.job
    assert not next_time(job)
    if job.state.finished:
        assert job.awaited or job.persistent
    else:
        assert job.state in (State.QUEUED, State.STARTED)


TestJobs = Jobs.TestCase
TestJobs.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)

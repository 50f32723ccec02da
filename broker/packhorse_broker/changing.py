"""Requests that change jobs: each is answered after the transaction that did it.

What only the session knows (room, limits) is checked here and the commands are named; what they
make of a job is the state machine's.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from packhorse_broker import views
from packhorse_broker.clock import StoreClock
from packhorse_broker.config import Config
from packhorse_broker.contents import pack_error, pack_result
from packhorse_broker.delivery import Delivery
from packhorse_broker.feeder import NONCE_BYTES, Feeder
from packhorse_broker.jobs import commands
from packhorse_broker.jobs.commands import Command
from packhorse_broker.jobs.model import Applied, RefusalCode, State
from packhorse_broker.jobs.model import Progress as JobProgress
from packhorse_broker.jobs.model import Refusal as JobRefusal
from packhorse_broker.operations import Operations
from packhorse_broker.outages import Outages
from packhorse_broker.sessions import Session
from packhorse_broker.store.work import Failed, Result
from packhorse_broker.store_watch import StoreWatch
from packhorse_protocol import NO_ROOM, Code
from packhorse_protocol.ids import TAG, unique_tag
from packhorse_protocol.messages import (
    Cancel,
    Claim,
    ClaimJobs,
    Complete,
    Create,
    Done,
    Extend,
    Extended,
    Fail,
    Handle,
    Handled,
    Join,
    LogReport,
    NewJob,
    Ok,
    Problem,
    Refused,
    Release,
    Remove,
    ReportProgress,
    Request,
    Retry,
    RunNow,
    Take,
    Unique,
    WriteLog,
)

CLAIM_OVERHEAD_BYTES: Final = 2_048
"""More than a claim takes in a frame beside its payload and headers."""

Asked = TypeVar("Asked", bound=Command)

Items: TypeAlias = Sequence[tuple[str, Asked]]
"""What is asked of which job."""

Settled: TypeAlias = Iterable[tuple[tuple[str, Asked], Result]]
"""The same, and what came of it."""

Problems: TypeAlias = Mapping[int, Problem]
"""Items of a request that nothing is asked for, by their places in it: they are refused at once."""

Ending: TypeAlias = commands.Release | commands.Complete | commands.Fail

_CLAIM_IS_OVER: Final = (RefusalCode.STALE_CLAIM, RefusalCode.NOT_FOUND)

Reply: TypeAlias = Callable[[Ok | Refused], None]
"""Takes the one answer to a request."""


class Changing:
    """A method for each request; `reply` is called once, after the commit."""

    def __init__(
        self,
        config: Config,
        operations: Operations,
        feeder: Feeder,
        delivery: Delivery,
        clock: StoreClock,
        outages: Outages,
        store: StoreWatch,
    ) -> None:
        self._config = config
        self._store = store
        self._operations = operations
        self._feeder = feeder
        self._delivery = delivery
        self._clock = clock
        self._outages = outages

    def requests(self) -> dict[type, Callable[[Session, Any, Reply], None]]:
        """What it answers."""
        return {
            Create: self.create,
            Cancel: self.cancel,
            Retry: self.retry,
            RunNow: self.run_now,
            Remove: self.remove,
            Take: self.take,
            ClaimJobs: self.claim,
            Release: self.release,
            Extend: self.extend,
            ReportProgress: self.progress,
            WriteLog: self.write_log,
            Complete: self.complete,
            Fail: self.fail,
            Handle: self.handle,
            Handled: self.handled,
            Join: self.join,
        }

    # -- creating and removing

    def create(self, session: Session, request: Create, reply: Reply) -> None:
        items: list[tuple[str, commands.Create]] = []
        problems: dict[int, Problem] = {}
        due: defaultdict[str, int] = defaultdict(int)
        for place, job in enumerate(request.jobs):
            problem = self._not_creatable(job, session)
            if problem is not None:
                problems[place] = problem
            else:
                item = self._operations.creation(
                    job, session.client, handle=request.handle, group=request.group
                )
                items.append(item)
            if not (job.delay_ms or job.delay_until):
                due[job.type] += 1
        self._apply(request, items, views.created, reply, problems)
        if not self._operations.behind:
            for job_type, jobs in due.items():
                self._feeder.coming(job_type, jobs)

    def _not_creatable(self, job: NewJob, session: Session) -> Problem | None:
        """It is too large, or what the store, as it is now, is not good for, or held wrongly."""
        most = self._config.max_payload_bytes
        if len(job.payload) > most:
            return _too_large("payload", len(job.payload), most)
        if self._store.full:
            return views.problem(
                Code.STORE_FULL, "the store's memory is nearly full: let jobs end first"
            )
        if job.durability == "disk" and not self._store.waits.disk:
            return views.problem(
                Code.NOT_DURABLE, "this store does not say when a change is on its disk"
            )
        return self._wrong_unique(job, job.unique, session) if job.unique is not None else None

    def _wrong_unique(self, job: NewJob, unique: Unique, session: Session) -> Problem | None:
        if unique.scope == "window" and unique.window_ms is None:
            return views.problem(Code.MALFORMED, "unique: the scope window needs a window_ms")
        if unique.on_duplicate == "join" and "handle" not in session.roles:
            return views.problem(Code.FORBIDDEN, "this client lacks the role 'handle'")
        if self._operations.is_at_home(job):
            return None
        tag = unique_tag(job.type, unique.key)
        return views.problem(
            Code.MALFORMED,
            f"id: in a store with several partitions the id of a job with this unique key has to "
            f"end in {TAG}{tag}",
            path="id",
        )

    # -- by hand

    def cancel(self, session: Session, request: Cancel, reply: Reply) -> None:
        command = commands.Cancel(session.client, request.grace_ms, request.why)
        self._apply(request, [(job, command) for job in request.jobs], views.ended, reply)

    def retry(self, session: Session, request: Retry, reply: Reply) -> None:
        command = commands.Retry(session.client, request.attempts, request.why)
        self._apply(request, [(job, command) for job in request.jobs], views.ended, reply)

    def run_now(self, session: Session, request: RunNow, reply: Reply) -> None:
        command = commands.RunNow(session.client, request.why)
        self._apply(request, [(job, command) for job in request.jobs], views.ended, reply)

    def remove(self, session: Session, request: Remove, reply: Reply) -> None:
        states = tuple(State[name] for name in request.states)
        command = commands.Remove(session.client, request.why, states)
        self._apply(request, [(job, command) for job in request.jobs], _done, reply)

    # -- running

    def take(self, session: Session, request: Take, reply: Reply) -> None:
        def answer() -> None:
            reply(Ok(id=request.id, results=(Done(),)))

        session.part(None)
        self._feeder.take(session, dict(request.types), request.credit, request.weights)
        if request.credit:
            answer()
        else:
            session.part(answer)

    def claim(self, session: Session, request: ClaimJobs, reply: Reply) -> None:
        client = session.client
        items = [(job, commands.Claim(client, os.urandom(NONCE_BYTES))) for job in request.jobs]
        room = self._config.max_frame_bytes

        def claimed(applied: Applied, _: Command) -> Claim | Problem:
            nonlocal room
            job = applied.job
            assert job.token is not None
            if job.body is None:
                self._feeder.give(applied)
                return views.problem(Code.INTERNAL, "the store has lost the payload")
            room -= len(job.body) + CLAIM_OVERHEAD_BYTES
            if room < 0:
                self._feeder.take_back(applied)
                return NO_ROOM
            if session.closed:
                self._feeder.give(applied)
            else:
                session.hold(job.id, job.type, job.token)
            return views.claim_view(job, self._clock.now_ms(), self._outages.known)

        self._apply(request, items, claimed, reply)

    def release(self, session: Session, request: Release, reply: Reply) -> None:
        """What is given back is drawn before all that came after it, so it has to be back before
        its place is given out."""
        client = session.client
        items = [(claim.job, commands.Release(client, claim.token)) for claim in request.claims]
        self._end(session, request, items, reply)

    def complete(self, session: Session, request: Complete, reply: Reply) -> None:
        most = self._config.max_result_bytes
        items: list[tuple[str, commands.Complete]] = []
        problems: dict[int, Problem] = {}
        for place, job in enumerate(request.jobs):
            if len(job.result) > most:
                problems[place] = _too_large("result", len(job.result), most)
            else:
                session.ends(job.job, job.token)
                command = commands.Complete(session.client, job.token, pack_result(job.result))
                items.append((job.job, command))
        self._end(session, request, items, reply, problems)

    def fail(self, session: Session, request: Fail, reply: Reply) -> None:
        items: list[tuple[str, commands.Fail]] = []
        for job in request.jobs:
            session.ends(job.job, job.token)
            command = commands.Fail(
                session.client, job.token, pack_error(job.error), job.retry, job.retry_in_ms
            )
            items.append((job.job, command))
        self._end(session, request, items, reply)

    def _end(
        self,
        session: Session,
        request: Request,
        items: Items[Ending],
        reply: Reply,
        problems: Problems | None = None,
    ) -> None:
        """A claim that ends makes room for one that is drawn in the same transaction."""
        over = partial(self._over, session)
        self._apply(request, items, views.ended, reply, problems, over)
        self._feeder.offer_at_once(session)

    def _over(self, session: Session, settled: Settled[Ending]) -> None:
        made_room = False
        for (job, command), result in settled:
            if isinstance(result, Applied):
                continue
            session.goes_on(job, command.token)
            if isinstance(result, JobRefusal) and result.code in _CLAIM_IS_OVER:
                made_room |= session.let_go(job, command.token)
        if made_room:
            self._feeder.offer(session)

    def extend(self, session: Session, request: Extend, reply: Reply) -> None:
        items = [
            (claim.job, commands.Extend(session.client, claim.token, claim.run_ms))
            for claim in request.claims
        ]

        def extended(applied: Applied, _: Command) -> Extended:
            now_ms = self._clock.now_ms()
            return Extended(
                remaining_ms=views.remaining_ms(applied.job, now_ms, self._outages.known)
            )

        self._apply(request, items, extended, reply)

    def progress(self, session: Session, request: ReportProgress, reply: Reply) -> None:
        items = [
            (
                report.job,
                commands.ReportProgress(
                    session.client, report.token, JobProgress(report.percent, report.text)
                ),
            )
            for report in request.reports
        ]
        self._apply(request, items, _done, reply)

    def write_log(self, session: Session, request: WriteLog, reply: Reply) -> None:
        items: list[tuple[str, commands.WriteLog]] = []
        problems: dict[int, Problem] = {}
        for place, report in enumerate(request.reports):
            problem = self._not_loggable(report)
            if problem is not None:
                problems[place] = problem
            else:
                command = commands.WriteLog(session.client, report.token, report.messages)
                items.append((report.job, command))
        self._apply(request, items, _done, reply, problems)

    def _not_loggable(self, report: LogReport) -> Problem | None:
        most_bytes, most = self._config.max_log_message_bytes, self._config.max_log_entries
        longest = max(len(message.encode()) for message in report.messages)
        if longest > most_bytes:
            return _too_large("log message", longest, most_bytes)
        if len(report.messages) > most:
            return views.problem(
                Code.TOO_MANY,
                f"{len(report.messages)} messages at once, at most {most}",
                limit=str(most),
            )
        return None

    # -- handling

    def handle(self, session: Session, request: Handle, reply: Reply) -> None:
        command = commands.Handle(session.client, request.group)
        self._apply(request, [(job, command) for job in request.jobs], views.ended, reply)

    def handled(self, session: Session, request: Handled, reply: Reply) -> None:
        command = commands.Handled(session.client, request.group)

        def room(settled: Settled[Command]) -> None:
            jobs = [job for (job, _), result in settled if not isinstance(result, Failed)]
            self._delivery.handled(session, jobs, request.group)

        self._apply(request, [(job, command) for job in request.jobs], _done, reply, settled=room)

    def join(self, session: Session, request: Join, reply: Reply) -> None:
        reply(Ok(id=request.id, results=(_DONE,)))
        self._delivery.groups.join(session, request.groups)

    def _apply(
        self,
        request: Request,
        items: Items[Asked],
        view: Callable[[Applied, Asked], object],
        reply: Reply,
        problems: Problems | None = None,
        settled: Callable[[Settled[Asked]], None] | None = None,
    ) -> None:
        """Asks the commands of their jobs and answers each with the view of what came of it."""
        done = partial(_answer, request, items, view, reply, problems, settled)
        if items:
            self._operations.apply(items, done)
        else:
            done([], True)


def _answer(
    request: Request,
    items: Items[Asked],
    view: Callable[[Applied, Asked], object],
    reply: Reply,
    problems: Problems | None,
    settled: Callable[[Settled[Asked]], None] | None,
    results: list[Result],
    durable: bool,
) -> None:
    answers = [
        view(result, command) if isinstance(result, Applied) else views.problem_of(result)
        for (_, command), result in zip(items, results, strict=True)
    ]
    if problems:
        for place, problem in problems.items():
            answers.insert(place, problem)
    ok = Ok(id=request.id, results=tuple(answers), durability=None if durable else "not_met")
    reply(ok)
    if settled is not None:
        settled(zip(items, results, strict=True))


def _too_large(what: str, size: int, most: int) -> Problem:
    return views.problem(
        Code.TOO_LARGE, f"the {what} has {size} bytes, at most {most}", limit=str(most)
    )


def _done(_: Applied, __: Command) -> Done:
    return _DONE


_DONE: Final = Done()

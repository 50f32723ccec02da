"""Requests that change jobs: each is answered after the transaction that did it.

What only the session knows (room, limits) is checked here and the commands are named; what they
make of a job is the state machine's.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

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

Entry: TypeAlias = Problem | tuple[str, Command]
"""An item of a request: refused before it was asked of a job, or what is asked of which job."""

Ending: TypeAlias = commands.Release | commands.Complete | commands.Fail

Settled: TypeAlias = Iterable[tuple[tuple[str, Command], Result]]
"""What was asked of each job, and what came of it."""

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
        entries: list[Entry] = [
            self._too_large("payload", len(job.payload), self._config.max_payload_bytes)
            or self._not_offered(job)
            or (self._wrong_unique(job, job.unique, session) if job.unique is not None else None)
            or self._operations.creation(
                job, session.client, handle=request.handle, group=request.group
            )
            for job in request.jobs
        ]
        self._apply(request, entries, views.created, reply)
        if not self._operations.behind:
            due = (job.type for job in request.jobs if not (job.delay_ms or job.delay_until))
            for job_type, jobs in Counter(due).items():
                self._feeder.coming(job_type, jobs)

    def _not_offered(self, job: NewJob) -> Problem | None:
        """What the store, as it is now, is not good for."""
        if self._store.full:
            return views.problem(
                Code.STORE_FULL, "the store's memory is nearly full: let jobs end first"
            )
        if job.durability == "disk" and not self._store.waits.disk:
            return views.problem(
                Code.NOT_DURABLE, "this store does not say when a change is on its disk"
            )
        return None

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
        entries: list[Entry] = [
            (job, commands.Claim(client, os.urandom(NONCE_BYTES))) for job in request.jobs
        ]

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

        self._apply(request, entries, claimed, reply)

    def release(self, session: Session, request: Release, reply: Reply) -> None:
        entries: list[Problem | tuple[str, Ending]] = [
            (claim.job, commands.Release(session.client, claim.token)) for claim in request.claims
        ]
        self._end(session, request, entries, reply)

    def complete(self, session: Session, request: Complete, reply: Reply) -> None:
        entries: list[Problem | tuple[str, Ending]] = [
            self._too_large("result", len(job.result), self._config.max_result_bytes)
            or (
                job.job,
                commands.Complete(session.client, job.token, pack_result(job.result)),
            )
            for job in request.jobs
        ]
        self._end(session, request, entries, reply)

    def fail(self, session: Session, request: Fail, reply: Reply) -> None:
        entries: list[Problem | tuple[str, Ending]] = [
            (
                job.job,
                commands.Fail(
                    session.client,
                    job.token,
                    pack_error(job.error),
                    job.retry,
                    job.retry_in_ms,
                ),
            )
            for job in request.jobs
        ]
        self._end(session, request, entries, reply)

    def _end(
        self,
        session: Session,
        request: Request,
        entries: Sequence[Problem | tuple[str, Ending]],
        reply: Reply,
    ) -> None:
        """A claim that ends makes room for one that is drawn in the same transaction; but what is
        given back is drawn before all that came after it, so it has to be back first."""
        ends = [entry for entry in entries if not isinstance(entry, Problem)]
        for job, command in ends:
            if not isinstance(command, commands.Release):
                session.ends(job, command.token)

        def over(settled: Settled) -> None:
            made_room = False
            for (job, command), (_, result) in zip(ends, settled, strict=True):
                if isinstance(result, Applied):
                    continue
                session.ended(command.token)
                if isinstance(result, JobRefusal) and result.code in _CLAIM_IS_OVER:
                    made_room |= session.let_go(job, command.token)
            if made_room:
                self._feeder.offer(session)

        self._apply(request, entries, views.ended, reply, settled=over)
        self._feeder.offer_at_once(session)

    def extend(self, session: Session, request: Extend, reply: Reply) -> None:
        entries: list[Entry] = [
            (claim.job, commands.Extend(session.client, claim.token, claim.run_ms))
            for claim in request.claims
        ]

        def extended(applied: Applied, _: Command) -> Extended:
            now_ms = self._clock.now_ms()
            return Extended(
                remaining_ms=views.remaining_ms(applied.job, now_ms, self._outages.known)
            )

        self._apply(request, entries, extended, reply)

    def progress(self, session: Session, request: ReportProgress, reply: Reply) -> None:
        entries: list[Entry] = [
            (
                report.job,
                commands.ReportProgress(
                    session.client, report.token, JobProgress(report.percent, report.text)
                ),
            )
            for report in request.reports
        ]
        self._apply(request, entries, _done, reply)

    def write_log(self, session: Session, request: WriteLog, reply: Reply) -> None:
        most = self._config.max_log_message_bytes
        entries: list[Entry] = [
            self._too_large("log message", max(map(_text_bytes, report.messages)), most)
            or self._too_many_lines(report)
            or (
                report.job,
                commands.WriteLog(session.client, report.token, report.messages),
            )
            for report in request.reports
        ]
        self._apply(request, entries, _done, reply)

    # -- handling

    def handle(self, session: Session, request: Handle, reply: Reply) -> None:
        command = commands.Handle(session.client, request.group)
        self._apply(request, [(job, command) for job in request.jobs], views.ended, reply)

    def handled(self, session: Session, request: Handled, reply: Reply) -> None:
        command = commands.Handled(session.client, request.group)

        def room(settled: Settled) -> None:
            jobs = [job for (job, _), result in settled if not isinstance(result, Failed)]
            self._delivery.handled(session, jobs, request.group)

        self._apply(request, [(job, command) for job in request.jobs], _done, reply, settled=room)

    def join(self, session: Session, request: Join, reply: Reply) -> None:
        reply(Ok(id=request.id, results=(_DONE,)))
        self._delivery.groups.join(session, request.groups)

    def _apply(
        self,
        request: Request,
        entries: Sequence[Entry],
        view: Callable[[Applied, Command], object],
        reply: Reply,
        *,
        settled: Callable[[Settled], None] | None = None,
    ) -> None:
        """Asks the commands of their jobs and answers each entry with its view or its problem."""
        items = [entry for entry in entries if not isinstance(entry, Problem)]

        def done(results: list[Result], durable: bool) -> None:
            answers = [
                view(result, command) if isinstance(result, Applied) else views.problem_of(result)
                for (_, command), result in zip(items, results, strict=True)
            ]
            if len(items) < len(entries):
                left = iter(answers)
                answers = [entry if isinstance(entry, Problem) else next(left) for entry in entries]
            reply(
                Ok(
                    id=request.id,
                    results=tuple(answers),
                    durability=None if durable else "not_met",
                )
            )
            if settled is not None:
                settled(zip(items, results, strict=True))

        if items:
            self._operations.apply(items, done)
        else:
            done([], True)

    # -- limits

    @staticmethod
    def _too_large(what: str, size: int, most: int) -> Problem | None:
        if size <= most:
            return None
        return views.problem(
            Code.TOO_LARGE, f"the {what} has {size} bytes, at most {most}", limit=str(most)
        )

    def _too_many_lines(self, report: LogReport) -> Problem | None:
        most = self._config.max_log_entries
        if len(report.messages) <= most:
            return None
        return views.problem(
            Code.TOO_MANY,
            f"{len(report.messages)} messages at once, at most {most}",
            limit=str(most),
        )


def _done(_: Applied, __: Command) -> Done:
    return _DONE


_DONE: Final = Done()


def _text_bytes(text: str) -> int:
    return len(text.encode())

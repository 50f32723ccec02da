"""From a message to the operation it asks for, and from the result back to a message.

One method for each request. Each checks what only the session knows (role, credit, limits),
names the commands, and says how a result looks on the wire. No rule about jobs is here.
"""

import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Protocol, TypeAlias, cast

import structlog

from packhorse_broker import views
from packhorse_broker.config import Config
from packhorse_broker.contents import pack_error, pack_result
from packhorse_broker.delivery import Delivery
from packhorse_broker.feeder import NONCE_BYTES, Feeder
from packhorse_broker.jobs import commands
from packhorse_broker.jobs.commands import Command
from packhorse_broker.jobs.model import Applied, RefusalCode
from packhorse_broker.jobs.model import Progress as JobProgress
from packhorse_broker.jobs.model import Refusal as JobRefusal
from packhorse_broker.operations import Operations
from packhorse_broker.sessions import Session
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.reader import Reader
from packhorse_broker.store.work import Result
from packhorse_broker.watching import Watching
from packhorse_protocol import NO_ROOM, Code, limits
from packhorse_protocol.messages import (
    BrokerInfo,
    Bye,
    Claim,
    ClaimJobs,
    Complete,
    CountJobs,
    Counts,
    Create,
    Created,
    Done,
    Fail,
    Get,
    Handle,
    Handled,
    Info,
    LogPage,
    LogReport,
    Ok,
    Problem,
    ReadLog,
    Refused,
    Release,
    Remove,
    ReportProgress,
    Request,
    Role,
    Take,
    Unwatch,
    Watch,
    WriteLog,
)

_log = structlog.get_logger(__name__)

MAX_WATCHED: Final = 10_000
"""Jobs that one connection watches at once."""

GET_PAGE: Final = 20
"""Jobs read at once for `get`, each perhaps two megabytes: no more is read than can be answered."""

Entry: TypeAlias = Problem | tuple[str, Command]
"""An item of a request: refused before it was asked of a job, or what is asked of which job."""

Reply = Callable[[Ok | Refused], None]
Spawn = Callable[[Coroutine[Any, Any, None]], None]

ROLE_OF: Final[dict[type, Role]] = {
    Create: "create",
    Take: "run",
    ClaimJobs: "run",
    Release: "run",
    ReportProgress: "run",
    WriteLog: "run",
    Complete: "run",
    Fail: "run",
    Handle: "handle",
    Handled: "handle",
    Get: "read",
    ReadLog: "read",
    Watch: "read",
    Unwatch: "read",
    CountJobs: "read",
    Info: "read",
    Remove: "admin",
}

REFUSED_WHILE_DRAINING: Final = (Create, ClaimJobs, Take)


class Status(Protocol):
    """What `info` tells of this broker beside the store."""

    draining: bool

    async def info(self) -> BrokerInfo: ...


class Dispatch:
    """`handle` answers one request through `reply`, exactly once, now or later."""

    def __init__(
        self,
        config: Config,
        operations: Operations,
        reader: Reader,
        feeder: Feeder,
        delivery: Delivery,
        watching: Watching,
        status: Status,
        spawn: Spawn,
    ) -> None:
        self._config = config
        self._operations = operations
        self._reader = reader
        self._feeder = feeder
        self._delivery = delivery
        self._watching = watching
        self._status = status
        self._spawn = spawn
        self._now: dict[type, Callable[[Session, Any, Reply], None]] = {
            Create: self._create,
            Take: self._take,
            ClaimJobs: self._claim,
            Release: self._release,
            ReportProgress: self._progress,
            WriteLog: self._write_log,
            Complete: self._complete,
            Fail: self._fail,
            Handle: self._handle,
            Handled: self._handled,
            Remove: self._remove,
            Unwatch: self._unwatch,
        }
        self._later: dict[type, Callable[[Session, Any], Awaitable[Sequence[object]]]] = {
            Get: self._get,
            ReadLog: self._read_log,
            Watch: self._watch,
            CountJobs: self._counts,
            Info: self._info,
            Bye: self._bye,
        }

    def handle(self, session: Session, request: Request, reply: Reply) -> None:
        """Raises nothing: what goes wrong is answered."""
        refused = self._refusal(session, request)
        if refused is not None:
            reply(refused)
            return
        now = self._now.get(type(request))
        if now is not None:
            now(session, request, reply)
        else:
            self._spawn(self._answer_later(session, request, reply))

    def _refusal(self, session: Session, request: Request) -> Refused | None:
        role = ROLE_OF.get(type(request))
        if role is not None and role not in session.roles:
            return views.refused(request, Code.FORBIDDEN, f"this client lacks the role {role!r}")
        if isinstance(request, Create) and request.handle and "handle" not in session.roles:
            return views.refused(request, Code.FORBIDDEN, "this client lacks the role 'handle'")
        if self._status.draining and isinstance(request, REFUSED_WHILE_DRAINING):
            return views.refused(request, Code.DRAINING, "this broker is going away")
        items = _items(request)
        if len(items) > self._config.max_batch:
            return views.refused(
                request,
                Code.TOO_MANY,
                f"{len(items)} items in one request, at most {self._config.max_batch}",
            )
        return None

    async def _answer_later(self, session: Session, request: Request, reply: Reply) -> None:
        try:
            results = await self._later[type(request)](session, request)
        except StoreUnavailable as error:
            reply(views.refused(request, Code.UNAVAILABLE, f"the store is unavailable: {error}"))
        except Exception:  # noqa: BLE001 - one failure costs one request
            _log.exception("request.failed", request=type(request).__name__)
            reply(views.refused(request, Code.INTERNAL, "the broker failed; its log says why"))
        else:
            reply(Ok(id=request.id, results=tuple(results)))

    def _apply(
        self,
        request: Request,
        entries: Sequence[Entry],
        view: Callable[[Applied], object],
        reply: Reply,
        *,
        settled: Callable[[Sequence[tuple[tuple[str, Command], Result]]], None] | None = None,
    ) -> None:
        """Asks the commands of their jobs and answers each entry with its view or its problem."""
        items = [entry for entry in entries if not isinstance(entry, Problem)]

        def done(results: list[Result]) -> None:
            left = iter(results)
            answers = tuple(
                entry if isinstance(entry, Problem) else _answer(next(left), view)
                for entry in entries
            )
            reply(Ok(id=request.id, results=answers))
            if settled is not None:
                settled(list(zip(items, results, strict=True)))

        if items:
            self._operations.apply(items, done)
        else:
            done([])

    # -- creating and removing

    def _create(self, session: Session, request: Create, reply: Reply) -> None:
        entries: list[Entry] = [
            self._too_large("payload", len(job.payload), self._config.max_payload_bytes)
            or self._operations.creation(job, session.client, handle=request.handle)
            for job in request.jobs
        ]

        def created(applied: Applied) -> Created:
            return Created(
                job=applied.job.id,
                state=views.state_name(applied.job.state),
                existed=applied.before is not None,
            )

        self._apply(request, entries, created, reply)

    def _remove(self, session: Session, request: Remove, reply: Reply) -> None:
        self._apply(request, [(job, commands.Remove()) for job in request.jobs], _done, reply)

    # -- running

    def _take(self, session: Session, request: Take, reply: Reply) -> None:
        reply(Ok(id=request.id, results=(Done(),)))
        self._feeder.take(session, dict(request.types), request.credit)

    def _claim(self, session: Session, request: ClaimJobs, reply: Reply) -> None:
        client = session.client
        entries: list[Entry] = [
            (job, commands.Claim(client, os.urandom(NONCE_BYTES))) for job in request.jobs
        ]

        def claimed(applied: Applied) -> Claim | Problem:
            job = applied.job
            assert job.token is not None
            if session.closed:
                self._feeder.give(applied)
            else:
                session.hold(job.id, job.type, job.token)
            if job.body is None:
                return views.problem(Code.INTERNAL, "the store has lost the payload")
            return views.claim_view(job)

        self._apply(request, entries, claimed, reply)

    def _release(self, session: Session, request: Release, reply: Reply) -> None:
        entries: list[Entry] = [
            (claim.job, commands.Release(session.client, claim.token)) for claim in request.claims
        ]
        self._end(session, request, entries, reply)

    def _complete(self, session: Session, request: Complete, reply: Reply) -> None:
        entries: list[Entry] = [
            self._too_large("result", len(job.result), self._config.max_result_bytes)
            or (
                job.job,
                commands.Complete(session.client, job.token, pack_result(job.result)),
            )
            for job in request.jobs
        ]
        self._end(session, request, entries, reply)

    def _fail(self, session: Session, request: Fail, reply: Reply) -> None:
        entries: list[Entry] = [
            (
                job.job,
                commands.Fail(session.client, job.token, pack_error(job.error), job.retry),
            )
            for job in request.jobs
        ]
        self._end(session, request, entries, reply)

    def _end(
        self, session: Session, request: Request, entries: Sequence[Entry], reply: Reply
    ) -> None:
        """Claims that end, or turn out to be over, make room for others."""

        def over(settled: Sequence[tuple[tuple[str, Command], Result]]) -> None:
            made_room = False
            for (job, command), result in settled:
                assert isinstance(command, commands.Release | commands.Complete | commands.Fail)
                if isinstance(result, Applied) or _claim_is_over(result):
                    made_room |= session.let_go(job, command.token)
            if made_room:
                self._feeder.offer(session)

        self._apply(request, entries, views.ended, reply, settled=over)

    def _progress(self, session: Session, request: ReportProgress, reply: Reply) -> None:
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

    def _write_log(self, session: Session, request: WriteLog, reply: Reply) -> None:
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

    def _handle(self, session: Session, request: Handle, reply: Reply) -> None:
        command = commands.Handle(session.client)
        self._apply(request, [(job, command) for job in request.jobs], views.ended, reply)

    def _handled(self, session: Session, request: Handled, reply: Reply) -> None:
        command = commands.Handled(session.client)

        def room(settled: Sequence[tuple[tuple[str, Command], Result]]) -> None:
            self._delivery.handled(session, request.jobs)

        self._apply(request, [(job, command) for job in request.jobs], _done, reply, settled=room)

    # -- looking

    async def _get(self, session: Session, request: Get) -> list[object]:
        room = self._config.max_frame_bytes
        answers: list[object] = []
        while room > 0 and len(answers) < len(request.jobs):
            page = request.jobs[len(answers) : len(answers) + GET_PAGE]
            for job in await self._reader.jobs(page):
                if job is None:
                    answers.append(views.problem(Code.NOT_FOUND, "there is no such job"))
                else:
                    answers.append(views.job_view(job))
                    room -= len(job.body or b"") + len(job.outcome or b"")
        return answers + [NO_ROOM] * (len(request.jobs) - len(answers))

    async def _read_log(self, session: Session, request: ReadLog) -> list[object]:
        page = await self._reader.log(request.job, request.offset, request.limit)
        if page is None:
            return [views.problem(Code.NOT_FOUND, "there is no such job")]
        entries = tuple(map(views.entry_view, page.entries))
        return [LogPage(entries=entries, first=page.first, end=page.end)]

    async def _watch(self, session: Session, request: Watch) -> list[object]:
        if self._watching.count(session) + len(request.jobs) > MAX_WATCHED:
            refused = views.problem(
                Code.TOO_MANY, f"at most {MAX_WATCHED} jobs are watched at once"
            )
            return [refused] * len(request.jobs)
        return [
            views.watched(job)
            if job is not None
            else views.problem(Code.NOT_FOUND, "there is no such job")
            for job in await self._watching.watch(session, request.jobs)
        ]

    def _unwatch(self, session: Session, request: Unwatch, reply: Reply) -> None:
        self._watching.unwatch(session, request.jobs)
        reply(Ok(id=request.id, results=(Done(),) * len(request.jobs)))

    async def _counts(self, session: Session, request: CountJobs) -> list[object]:
        types = list(request.types) or await self._reader.types()
        told = types[: limits.MAX_MAP_ITEMS]
        counts = await self._reader.counts(told)
        return [
            Counts(
                types={
                    job_type: {views.state_name(state): n for state, n in by_state.items()}
                    for job_type, by_state in counts.items()
                },
                more=len(types) > len(told),
            )
        ]

    async def _info(self, session: Session, request: Info) -> list[object]:
        return [await self._status.info()]

    async def _bye(self, session: Session, request: Bye) -> list[object]:
        session.outlet.end_session()
        await self._operations.remove_client(session.client)
        return [Done()]

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


def _items(request: Request) -> Sequence[object]:
    """The items of a batch request; none of any other."""
    for name in ("jobs", "claims", "reports"):
        items = getattr(request, name, None)
        if items is not None:
            return cast("Sequence[object]", items)
    return ()


def _answer(result: Result, view: Callable[[Applied], object]) -> object:
    return view(result) if isinstance(result, Applied) else views.problem_of(result)


def _done(applied: Applied) -> Done:
    return _DONE


_DONE: Final = Done()


def _claim_is_over(result: Result) -> bool:
    return isinstance(result, JobRefusal) and result.code in (
        RefusalCode.STALE_CLAIM,
        RefusalCode.NOT_FOUND,
    )


def _text_bytes(text: str) -> int:
    return len(text.encode())

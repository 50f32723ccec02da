"""From a request to what answers it: role, drain and batch size are checked for all alike.

Requests that change jobs are in `changing.py`, those that only look in `looking.py`. No rule
about jobs is here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

import structlog

from packhorse_broker import views
from packhorse_broker.changing import Changing, Reply
from packhorse_broker.config import Config
from packhorse_broker.looking import Looking
from packhorse_broker.operations import Operations
from packhorse_broker.sessions import Session
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.weights import items_of
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    Bye,
    ClaimJobs,
    Complete,
    CountJobs,
    Create,
    Done,
    Fail,
    Get,
    Handle,
    Handled,
    Info,
    Ok,
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


class Going(Protocol):
    """Whether the broker goes away."""

    draining: bool


class Dispatch:
    """`handle` answers one request through `reply`, exactly once, now or later."""

    def __init__(
        self,
        config: Config,
        operations: Operations,
        changing: Changing,
        looking: Looking,
        broker: Going,
        spawn: Spawn,
    ) -> None:
        self._max_batch = config.max_batch
        self._operations = operations
        self._broker = broker
        self._spawn = spawn
        self._changing: dict[type, Callable[[Session, Any, Reply], None]] = {
            Create: changing.create,
            Take: changing.take,
            ClaimJobs: changing.claim,
            Release: changing.release,
            ReportProgress: changing.progress,
            WriteLog: changing.write_log,
            Complete: changing.complete,
            Fail: changing.fail,
            Handle: changing.handle,
            Handled: changing.handled,
            Remove: changing.remove,
        }
        self._looking: dict[type, Callable[[Session, Any], Awaitable[Sequence[object]]]] = {
            Get: looking.get,
            ReadLog: looking.read_log,
            Watch: looking.watch,
            Unwatch: looking.unwatch,
            CountJobs: looking.counts,
            Info: looking.info,
            Bye: self._bye,
        }

    def handle(self, session: Session, request: Request, reply: Reply) -> None:
        """Raises nothing: what goes wrong is answered."""
        refused = self._refusal(session, request)
        if refused is not None:
            reply(refused)
            return
        change = self._changing.get(type(request))
        if change is not None:
            change(session, request, reply)
        else:
            self._spawn(self._look(session, request, reply))

    def _refusal(self, session: Session, request: Request) -> Refused | None:
        role = ROLE_OF.get(type(request))
        if role is not None and role not in session.roles:
            return views.refused(request, Code.FORBIDDEN, f"this client lacks the role {role!r}")
        if isinstance(request, Create) and request.handle and "handle" not in session.roles:
            return views.refused(request, Code.FORBIDDEN, "this client lacks the role 'handle'")
        if self._broker.draining and isinstance(request, REFUSED_WHILE_DRAINING):
            return views.refused(request, Code.DRAINING, "this broker is going away")
        items = items_of(request)
        if items > self._max_batch:
            return views.refused(
                request,
                Code.TOO_MANY,
                f"{items} items in one request, at most {self._max_batch}",
            )
        return None

    async def _look(self, session: Session, request: Request, reply: Reply) -> None:
        """One at a time for each client, and each when the client has read the one before."""
        async with session.looking:
            await session.outlet.room()
            await self._answer(session, request, reply)
            # The answer is on its way when others of this turn of the loop have had theirs.
            await asyncio.sleep(0)

    async def _answer(self, session: Session, request: Request, reply: Reply) -> None:
        try:
            results = await self._looking[type(request)](session, request)
        except StoreUnavailable as error:
            reply(views.refused(request, Code.UNAVAILABLE, f"the store is unavailable: {error}"))
        except Exception:  # noqa: BLE001 - one failure costs one request
            _log.exception("request.failed", request=type(request).__name__)
            reply(views.refused(request, Code.INTERNAL, "the broker failed; its log says why"))
        else:
            reply(Ok(id=request.id, results=tuple(results)))

    async def _bye(self, session: Session, request: Bye) -> list[object]:
        session.outlet.end_session()
        await self._operations.remove_client(session.client, if_connection=session.connection)
        return [Done()]

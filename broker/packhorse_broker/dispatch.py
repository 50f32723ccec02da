"""From a request to what answers it: role, drain and batch size are checked for all alike.

Requests that change jobs are in `changing.py`; `looking.py` and its like have those that look,
and those that concern types. Each says which requests it answers. No rule about jobs is here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

import structlog

from packhorse_broker import views
from packhorse_broker.changing import Reply
from packhorse_broker.config import Config
from packhorse_broker.operations import Operations
from packhorse_broker.sessions import Session
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_protocol import Code
from packhorse_protocol import messages as wire
from packhorse_protocol.messages import Bye, Done, Ok, Refused, Request, Role

_log = structlog.get_logger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None]], None]

Change: TypeAlias = Callable[[Session, Any, Reply], None]
"""Asks for a change; its reply comes after the commit."""
Look: TypeAlias = Callable[[Session, Any], Awaitable[Sequence[object]]]
"""Reads; returns the entries of the `ok`."""

ROLE_OF: Final[dict[type, Role]] = {
    wire.Create: "create",
    wire.Cancel: "create",
    wire.Take: "run",
    wire.ClaimJobs: "run",
    wire.Release: "run",
    wire.Extend: "run",
    wire.ReportProgress: "run",
    wire.WriteLog: "run",
    wire.Complete: "run",
    wire.Fail: "run",
    wire.Publish: "run",
    wire.Handle: "handle",
    wire.Handled: "handle",
    wire.Join: "handle",
    wire.Get: "read",
    wire.ReadLog: "read",
    wire.Watch: "read",
    wire.Unwatch: "read",
    wire.CountJobs: "read",
    wire.Info: "read",
    wire.ListJobs: "read",
    wire.ListAttempts: "read",
    wire.AskWhy: "read",
    wire.ListTypes: "read",
    wire.GetSchema: "read",
    wire.CountMinutes: "read",
    wire.ListActions: "read",
    wire.Remove: "admin",
    wire.Retry: "admin",
    wire.RunNow: "admin",
    wire.Configure: "admin",
}

REFUSED_WHILE_DRAINING: Final = (wire.Create, wire.ClaimJobs, wire.Take)


class Going(Protocol):
    """Whether the broker goes away."""

    draining: bool


class Dispatch:
    """`handle` answers one request through `reply`, exactly once, now or later."""

    def __init__(
        self,
        config: Config,
        operations: Operations,
        changing: Mapping[type, Change],
        looking: Mapping[type, Look],
        broker: Going,
        spawn: Spawn,
    ) -> None:
        self._max_batch = config.max_batch
        self._operations = operations
        self._broker = broker
        self._spawn = spawn
        self._changing = changing
        self._looking: dict[type, Look] = {**looking, Bye: self._bye}

    def handle(self, session: Session, request: Request, items: int, reply: Reply) -> None:
        """`items`: how many it has. Raises nothing: what goes wrong is answered."""
        refused = self._refusal(session, request, items)
        if refused is not None:
            reply(refused)
            return
        change = self._changing.get(type(request))
        if change is not None:
            change(session, request, reply)
        else:
            self._spawn(self._look(session, request, reply))

    def _refusal(self, session: Session, request: Request, items: int) -> Refused | None:
        roles = session.roles
        role = ROLE_OF.get(type(request))
        if role is not None and role not in roles:
            return views.refused(request, Code.FORBIDDEN, f"this client lacks the role {role!r}")
        if (
            "handle" not in roles
            and isinstance(request, wire.Create)
            and (request.handle or request.group is not None)
        ):
            return views.refused(request, Code.FORBIDDEN, "this client lacks the role 'handle'")
        if self._broker.draining and isinstance(request, REFUSED_WHILE_DRAINING):
            return views.refused(request, Code.DRAINING, "this broker is going away")
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
        except views.RequestRefused as error:
            reply(views.refused(request, error.code, error.message, **error.details))
        except Exception:  # noqa: BLE001 - one failure costs one request
            _log.exception("request.failed", request=type(request).__name__)
            reply(views.refused(request, Code.INTERNAL, "the broker failed; its log says why"))
        else:
            reply(Ok(id=request.id, results=tuple(results)))

    async def _bye(self, session: Session, request: Bye) -> list[object]:
        session.outlet.end_session()
        await self._operations.remove_client(session.client, if_connection=session.connection)
        return [Done()]

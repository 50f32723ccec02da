"""Clients of a recorded session: the Python client's own session, with what is pushed to it."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final, TypeVar

from packhorse import address, dialing
from packhorse.errors import Refused
from packhorse.link import Identity, Patience
from packhorse.requests import Requests
from packhorse.session import RunnerHooks, Session
from packhorse_protocol.messages import Cancellation, Claim, Event, Outcome, Revocation, Role
from tests.protocol.recording import Recorder

WAIT_S: Final = 30
LIBRARY: Final = "packhorse-python recorded"
SECRET: Final = bytes(range(32))
"""Of every client that brings one."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Actor:
    """One client. Requests are submitted to the library's own lanes."""

    def __init__(
        self,
        recorder: Recorder,
        name: str,
        *,
        roles: tuple[Role, ...] | None = None,
        secret: bytes | None = SECRET,
        timeout_ms: int = 30_000,
    ) -> None:
        self.name = name
        self.claims: asyncio.Queue[Claim] = asyncio.Queue()
        self.revoked: asyncio.Queue[Revocation] = asyncio.Queue()
        self.cancelling: asyncio.Queue[Cancellation] = asyncio.Queue()
        self.outcomes: asyncio.Queue[Outcome] = asyncio.Queue()
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._recorder = recorder
        self.session = Session(
            dialing.endpoints(address.parse(recorder.url)),
            Identity(id=name, secret=secret, roles=roles, timeout_ms=timeout_ms, library=LIBRARY),
            Patience(first_s=0.0, outage_s=0.0),
        )
        self.session.attach(
            RunnerHooks(
                connected=lambda _: None,
                claimed=_into(self.claims),
                cancelling=_into(self.cancelling),
                revoked=_into(self.revoked),
                ended=lambda _: self._ended(),
            )
        )
        # Nothing is answered or asked behind the scene: what is pushed is only noted.
        self.session.outcomes.pushed = _into(self.outcomes)  # type: ignore[method-assign]
        self.session.groups.pushed = _into(self.outcomes)  # type: ignore[method-assign]
        self.session.watches.pushed = _into(self.events)  # type: ignore[method-assign]
        self.session.outcomes.removed = _dropped  # type: ignore[method-assign]

    @property
    def requests(self) -> Requests:
        return self.session.requests

    async def open(self) -> "Actor":
        self._recorder.begin(self.name)
        await within(self.session.open())
        return self

    async def bye(self) -> None:
        await within(self.session.close(bye=True))

    def _ended(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    async def next(self, pushed: "asyncio.Queue[Item]") -> Item:
        """The next thing that was pushed; nothing else is."""
        found = await within(pushed.get())
        assert pushed.empty(), pushed
        return found


async def within(awaited: Awaitable[Result]) -> Result:
    """What it comes to, in good time."""
    async with asyncio.timeout(WAIT_S):
        return await awaited


async def refused(awaited: Awaitable[Any]) -> str:
    """The code with which something is refused."""
    try:
        found = await within(awaited)
    except Refused as error:
        return str(error.code)
    raise AssertionError(f"not refused: {found}")


def _dropped(jobs: Sequence[str]) -> None:
    """Nobody waits for these jobs."""


def _into(queue: "asyncio.Queue[Item]") -> Any:
    def put(items: Sequence[Item]) -> None:
        for item in items:
            queue.put_nowait(item)

    return put

"""Everything one client has with its broker: the link, the requests, and where pushes go."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from packhorse.dialing import Endpoint
from packhorse.errors import ClientClosed
from packhorse.groups import GroupBook
from packhorse.link import Identity, Link, MakeError, Patience, Pushed
from packhorse.outcomes import OutcomeBook
from packhorse.overtaking import Overtaking
from packhorse.requests import Requests
from packhorse.watching import Watches
from packhorse_protocol.messages import (
    Cancellation,
    Cancelling,
    Claim,
    Claims,
    Events,
    Limits,
    Outcome,
    Outcomes,
    Revocation,
    Revoke,
    Welcome,
)

SETTLE_S: Final = 5.0
"""Seconds that a client which leaves waits until the broker knows what it has handled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerHooks:
    """What a session tells the runner that lives in it, if one does."""

    connected: Callable[[bool], None]
    """A connection began; true: the broker had forgotten this client and its claims."""
    claimed: Callable[[Sequence[Claim]], None]
    cancelling: Callable[[Sequence[Cancellation]], None]
    revoked: Callable[[Sequence[Revocation]], None]
    ended: Callable[[MakeError], None]


class Session:
    """Made by `connect` and `Worker`; `open` it once, then use its parts."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        identity: Identity,
        patience: Patience,
    ) -> None:
        self.requests = Requests(retry_s=patience.outage_s)
        self.outcomes = OutcomeBook(self.requests)
        self.groups = GroupBook(self.requests)
        self.overtaking = Overtaking(self._deliver)
        self.watches = Watches(self.requests)
        self._runner: RunnerHooks | None = None
        self._link = Link(
            endpoints,
            identity,
            patience,
            self.requests,
            started=self._started,
            pushed=self._pushed,
            ended=self._ended,
        )

    @property
    def welcome(self) -> Welcome:
        """What the broker said last: this client's id and secret, limits, intervals."""
        if self._link.welcome is None:
            raise ClientClosed("the client has not been opened: use it inside `async with`")
        return self._link.welcome

    @property
    def limits(self) -> Limits:
        return self.welcome.limits

    def check_open(self) -> None:
        """Raises `ClientClosed` if it has not been opened."""
        _ = self.welcome

    @property
    def connected(self) -> bool:
        return self._link.connected

    def attach(self, runner: RunnerHooks) -> None:
        """Before `open`: the runner that gets claims."""
        self._runner = runner

    async def open(self) -> None:
        """Connects. Raises `BrokerUnavailable`, or `Refused` if a broker wants no such client."""
        await self._link.open()

    async def close(self, *, bye: bool) -> None:
        """Waits for what was handled to be known, then leaves. Never raises."""
        if self.connected:
            settling = (self.outcomes.settled(SETTLE_S), self.groups.settled(SETTLE_S))
            await asyncio.gather(*settling)
        await self._link.close(bye=bye)

    def _started(self, lost: bool) -> None:
        if lost:
            self.outcomes.registration_lost()
        self.groups.connected_again()
        self.watches.connected_again()
        if self._runner is not None:
            self._runner.connected(lost)

    def _deliver(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes.pushed([found for found in outcomes if found.group is None])
        self.groups.pushed([found for found in outcomes if found.group is not None])

    def _pushed(self, push: Pushed) -> None:
        match push:
            case Outcomes():
                self._deliver(self.overtaking.passed(push.outcomes))
            case Events():
                self.watches.pushed(push.events)
                self.outcomes.removed([event.job for event in push.events if event.removed])
            case Claims():
                if self._runner is not None:
                    self._runner.claimed(push.claims)
            case Cancelling():
                if self._runner is not None:
                    self._runner.cancelling(push.claims)
            case Revoke():
                if self._runner is not None:
                    self._runner.revoked(push.claims)

    def _ended(self, error: MakeError) -> None:
        self.requests.end(error)
        self.outcomes.end(error)
        self.groups.end(error)
        self.watches.end(error)
        if self._runner is not None:
            self._runner.ended(error)


class OnSession:
    """A part of a client: what can be asked through its session."""

    def __init__(self, session: Session) -> None:
        self._session = session

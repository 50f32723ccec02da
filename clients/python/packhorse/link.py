"""The session with a broker: one connection after another, the same client.

The client's id and secret outlive a connection. After a lost one the link goes through its
endpoints, with growing waits, until one answers; the broker then knows the client again, with
its claims and the outcomes it is owed, and the unanswered requests leave once more.
"""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from packhorse import backoff
from packhorse.dialing import Endpoint
from packhorse.errors import (
    BrokerUnavailable,
    ClientClosed,
    ConnectionLost,
    InvalidValue,
    PackhorseError,
    Refused,
    VersionUnsupported,
)
from packhorse.requests import Requests, quietly, refusal
from packhorse.transport import Wire
from packhorse_protocol.batching import Push
from packhorse_protocol.errors import Code, MalformedMessage
from packhorse_protocol.limits import PROTOCOL_VERSION
from packhorse_protocol.messages import (
    BrokerMessage,
    Cancelling,
    Claims,
    Drain,
    Events,
    Hello,
    Ok,
    Outcomes,
    Revoke,
    Role,
    Welcome,
)
from packhorse_protocol.messages import Refused as RefusedMessage

ATTEMPT_S: Final = 5.0
"""Seconds that one endpoint has to accept a connection and answer the hello."""

STEADY_S: Final = 10.0
"""A connection that lived this long was a good one: the next outage starts with short waits."""

BYE_S: Final = 5.0
"""Seconds that a client which leaves waits for the broker's word."""

Pushed: TypeAlias = Push | Cancelling
"""What the broker sends by itself for the session's parts."""

MakeError: TypeAlias = Callable[[], Exception]
"""Everybody who waits gets an exception of their own: a shared one gathers all tracebacks."""

_log = logging.getLogger("packhorse")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the client says of itself in each hello. `id` and `secret` None: the broker chooses."""

    id: str | None
    secret: bytes | None
    roles: tuple[Role, ...] | None
    timeout_ms: int | None
    library: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to try. `first_s` None: for ever.

    `first_s` is for the first connection, 0: each endpoint once. `outage_s` is what a request
    waits when there is no connection, or the broker has no store.
    """

    first_s: float | None
    outage_s: float


class Link:
    """Keeps a client connected from `open` to `close`.

    `started(lost)` is called at the start of each connection; `lost`: the broker had forgotten
    the client, with its claims and handler entries. `pushed` gets what the broker sends by
    itself. `ended(error)` is called when there will be no further connection.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        identity: Identity,
        patience: Patience,
        requests: Requests,
        *,
        started: Callable[[bool], None],
        pushed: Callable[[Pushed], None],
        ended: Callable[[MakeError], None],
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._identity = identity
        self._patience = patience
        self._requests = requests
        self._started = started
        self._pushed = pushed
        self._ended = ended
        self._client = identity.id
        self._secret = identity.secret
        self._registered_at: int | None = None
        self._next_endpoint = 0
        self._tries = 0
        self._wire: Wire | None = None
        self._up = False
        self._greeting: asyncio.Future[None] | None = None
        self._opened: asyncio.Future[None] | None = None
        self._running: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._closing_refusal: Refused | None = None
        self._closing = False
        self.welcome: Welcome | None = None
        """The newest welcome; None until the first connection."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection that was welcomed."""
        return self._up and self._wire is not None and not self._wire.closed.done()

    async def open(self) -> None:
        """Returns with the first connection.

        Raises `BrokerUnavailable` if none could be had in time, `Refused` if a broker wants no
        such client.
        """
        self._opened = asyncio.get_running_loop().create_future()
        self._running = asyncio.create_task(self._run(), name="packhorse-link")
        try:
            await asyncio.shield(self._opened)
        except BaseException:
            await self._stop()
            raise

    async def close(self, *, bye: bool) -> None:
        """Ends the session; with `bye` the broker forgets the client. Never raises."""
        self._closing = True
        if bye and self.connected:
            try:
                async with asyncio.timeout(BYE_S):
                    await self._requests.bye.submit(None)
            except (TimeoutError, PackhorseError) as error:
                _log.debug("bye was not answered: %s", error)
        await self._stop()
        self._ended(partial(ClientClosed, "the client is closed"))

    async def _stop(self) -> None:
        for task in (self._leaving, self._running):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        if self._wire is not None:
            self._wire.close(ClientClosed("the client is closed"))

    # -- one connection after another --------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                name, wire = await self._reach()
                began_s = self._now_s()
                cause = await asyncio.shield(wire.closed)
                if self._closing:
                    self._ended(partial(ClientClosed, "the client is closed"))
                    return
                _log.warning("connection to %s lost: %s", name, cause)
                self._down()
                self._judge(self._now_s() - began_s)
        except (Refused, BrokerUnavailable, InvalidValue) as error:
            self._over(error)

    def _begin(self, wire: Wire, welcome: Welcome) -> None:
        """Called while the welcome is being read: what stands behind it is for a begun session."""
        # The welcome of a new registration may have been lost with its connection.
        anew = self._registered_at not in (None, welcome.registered_at)
        lost = anew or (self._secret is not None and not welcome.resumed)
        self._registered_at = welcome.registered_at
        self._client, self._secret = welcome.client, welcome.secret
        self.welcome = welcome
        self._up = True
        wire.keep_alive(heartbeat_ms=welcome.heartbeat_ms, timeout_ms=welcome.timeout_ms)
        self._requests.connected(wire, welcome.limits)
        self._started(lost)
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(None)

    def _down(self) -> None:
        self._up = False
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        self._requests.disconnected()

    def _judge(self, lived_s: float) -> None:
        """Whether and how soon to connect again."""
        refused, self._closing_refusal = self._closing_refusal, None
        if refused is not None and not refused.retryable and refused.code != Code.CLIENT_GONE:
            # Superseded, or a mistake of ours that the next connection would only repeat.
            raise refused
        self._tries = 0 if lived_s >= STEADY_S and refused is None else self._tries + 1

    def _over(self, error: Refused | BrokerUnavailable | InvalidValue) -> None:
        """The session has ended by itself: everybody who waits is told, now and later."""
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(error)
        else:
            _log.error("session ended: %s", error)
        self._ended(partial(copy, error))

    # -- reaching a broker -------------------------------------------------------------------

    async def _reach(self) -> tuple[str, Wire]:
        """A connection that was welcomed, however long it takes, and where to."""
        began_s = self._now_s()
        first = self.welcome is None
        patience_s = self._patience.first_s if first else self._patience.outage_s
        while True:
            if self._tries:
                await asyncio.sleep(backoff.wait_s(self._tries - 1))
            failures: dict[str, ConnectionLost | Refused] = {}
            for _ in self._endpoints:
                endpoint = self._endpoints[self._next_endpoint % len(self._endpoints)]
                try:
                    return endpoint.name, await self._attempt(endpoint)
                except ConnectionLost as error:
                    failures[endpoint.name] = error
                except Refused as error:
                    if not error.retryable:
                        raise
                    failures[endpoint.name] = error
                self._next_endpoint += 1
            self._tries += 1
            failure = _failure(failures)
            if patience_s is not None and self._now_s() - began_s >= patience_s:
                if first:
                    raise failure
                self._requests.give_up(partial(copy, failure))
            _log.warning("no broker answers, trying again: %s", failure)

    async def _attempt(self, endpoint: Endpoint) -> Wire:
        """One connection, welcomed; raises `ConnectionLost` or what the broker said."""
        self._greeting = greeting = asyncio.get_running_loop().create_future()
        quietly(greeting)
        wire: Wire | None = None
        try:
            async with asyncio.timeout(ATTEMPT_S):
                wire = self._wire = await endpoint.open(self._make_wire)
                if not greeting.done():
                    wire.send(self._hello())
                    wire.flush()
                ends: list[asyncio.Future[Any]] = [greeting, wire.closed]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not greeting.done():
                raise wire.closed.result()
            greeting.result()
            return wire
        except BaseException as error:
            if wire is not None:
                wire.abort(ConnectionLost("the hello was not accepted"))
                self._down()
            if isinstance(error, TimeoutError):
                raise ConnectionLost(f"no answer within {ATTEMPT_S:g} s") from None
            if isinstance(error, OSError):
                raise ConnectionLost(_said(error)) from error
            raise

    def _make_wire(self) -> Wire:
        return Wire(self._arrived, self._requests.pump_soon)

    def _hello(self) -> Hello:
        return Hello(
            versions=(PROTOCOL_VERSION,),
            client=self._client,
            secret=self._secret,
            roles=self._identity.roles,
            timeout_ms=self._identity.timeout_ms,
            library=self._identity.library,
        )

    # -- what arrives ------------------------------------------------------------------------

    def _arrived(self, message: BrokerMessage | MalformedMessage) -> None:
        match message:
            case Ok():
                self._requests.answer(message)
            case Claims() | Outcomes() | Revoke() | Cancelling() | Events():
                self._pushed(message)
            case RefusedMessage():
                self._refused(message)
            case Welcome():
                if self._wire is not None and self._greeting is not None:
                    self._greeting.set_result(None)
                    self._begin(self._wire, message)
            case Drain():
                if self._wire is not None and self._leaving is None:
                    self._requests.pause()
                    leaving = self._leave(self._wire, message.grace_ms / 1_000)
                    self._leaving = asyncio.create_task(leaving, name="packhorse-leave")
            case MalformedMessage():
                self._unreadable(message)

    def _refused(self, message: RefusedMessage) -> None:
        if message.id is not None:
            self._requests.answer(message)
            return
        error = refusal(message)
        if self._greeting is not None and not self._greeting.done():
            self._greeting.set_exception(error)
        elif message.closing:
            self._closing_refusal = error
            if self._wire is not None:
                self._wire.close(error)
        else:
            _log.error("the broker could not read a frame of ours: %s", error)

    def _unreadable(self, message: MalformedMessage) -> None:
        if self._greeting is not None and not self._greeting.done():
            # The two sides can't speak with each other, now or later.
            self._greeting.set_exception(
                VersionUnsupported(f"the broker's welcome can't be read: {message}")
            )
        elif message.code == Code.UNSUPPORTED:
            _log.debug("ignored a message of a later version: %s", message)
        else:
            _log.error("the broker sent what can't be read: %s", message)
            self._requests.unreadable(message)

    async def _leave(self, wire: Wire, grace_s: float) -> None:
        """The broker is going away: nothing new is asked of it, and its answers are awaited."""
        try:
            async with asyncio.timeout(grace_s):
                await self._requests.answered()
        except TimeoutError:
            _log.debug("the draining broker left requests unanswered")
        self._leaving = None
        self._next_endpoint += 1
        wire.close(ConnectionLost("the broker is draining"))

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()


def _failure(failures: dict[str, ConnectionLost | Refused]) -> BrokerUnavailable | Refused:
    """What a round over all endpoints came to: the broker's own word, if there is one."""
    for error in failures.values():
        if isinstance(error, Refused):
            return error
    tried = {name: str(error) for name, error in failures.items()}
    listed = "; ".join(f"{name}: {cause}" for name, cause in tried.items())
    return BrokerUnavailable(f"no broker can be reached: {listed}", tried=tried)


def _said(error: OSError) -> str:
    """The cause in a few words: the system's own, without the address, which stands beside it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):  # whose numbers are not the system's
        return f"TLS: {error.reason or error}"
    if error.strerror and error.errno is not None and error.errno > 0:
        known = os.strerror(error.errno)
        return known[:1].lower() + known[1:]
    return str(error) or type(error).__name__

"""Who comes in and who goes: hello, resume, and the end of a session."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from packhorse_broker.clock import StoreClock, monotonic_ms
from packhorse_broker.config import Config
from packhorse_broker.connection import Connection
from packhorse_broker.delivery import Delivery
from packhorse_broker.dispatch import Dispatch
from packhorse_broker.feeder import Feeder
from packhorse_broker.holding import Holding
from packhorse_broker.operations import new_id
from packhorse_broker.sessions import Session, Sessions
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.readers import Reading
from packhorse_broker.store.records import ClientRecord
from packhorse_broker.store.registry import Refused as NotRegistered
from packhorse_broker.store.registry import Registered, Registry
from packhorse_broker.store_watch import StoreWatch
from packhorse_broker.views import UNAVAILABLE_RETRY_MS
from packhorse_broker.watching import Watching
from packhorse_protocol import PROTOCOL_VERSION, RETRYABLE, Code, limits
from packhorse_protocol.messages import (
    ROLES,
    Claim,
    Drain,
    Error,
    Hello,
    Limits,
    Refused,
    Role,
    Welcome,
)

_log = structlog.get_logger(__name__)

SECRET_BYTES: Final = 32

LEAVING_RETRY_MS: Final = 1_000
"""When to try again while the client's former registration is still being removed."""

HEARTBEATS: Final = 3
"""At least so many heartbeats fit into a client's timeout: one lost or late is no death."""

FEATURES: Final[tuple[str, ...]] = ()
"""Optional parts of the protocol that this broker has: none are defined yet."""


class Reception:
    """The broker as a connection sees it."""

    def __init__(
        self,
        config: Config,
        sessions: Sessions,
        registry: Registry,
        reader: Reading,
        clock: StoreClock,
        feeder: Feeder,
        delivery: Delivery,
        watching: Watching,
        holding: Holding,
        dispatch: Dispatch,
        *,
        broker: str,
        library: str,
        store: StoreWatch,
        connected: Callable[[str], None],
        draining: Callable[[], bool],
        crowded: Callable[[], bool],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """`crowded`: whether whoever creates is to be slowed down, for the store takes no more so
        soon."""
        self._config = config
        self._sessions = sessions
        self._registry = registry
        self._reader = reader
        self._clock = clock
        self._feeder = feeder
        self._delivery = delivery
        self._watching = watching
        self._holding = holding
        self._broker = broker
        self._library = library
        self.request = dispatch.handle
        self._store = store
        self._connected = connected
        self.crowded = crowded
        self._registering = asyncio.Lock()
        self._draining = draining
        self._spawn = spawn

    async def welcome(self, hello: Hello, connection: Connection) -> Session | Refused:
        """Registers or resumes the client and sends its welcome."""
        if PROTOCOL_VERSION not in hello.versions:
            return _refused(
                Code.VERSION_UNSUPPORTED,
                f"this broker speaks version {PROTOCOL_VERSION}",
                supported=str(PROTOCOL_VERSION),
            )
        secret = hello.secret or secrets.token_bytes(SECRET_BYTES)
        roles: tuple[Role, ...] = hello.roles or ROLES
        wanted = ClientRecord(
            id=hello.client or new_id(),
            secret_hash=hashlib.sha256(secret).digest(),
            timeout_ms=self._timeout_ms(hello),
            roles=roles,
            library=hello.library,
            registered_at=self._clock.now_ms(),
            connection=connection.id,
            broker=self._broker,
        )
        try:
            answer = await self._register(wanted)
        except StoreUnavailable as error:
            return _refused(
                Code.UNAVAILABLE,
                f"the store is unavailable: {error}",
                retry_after_ms=UNAVAILABLE_RETRY_MS,
            )
        if isinstance(answer, NotRegistered):
            return self._not_registered(answer, hello)
        client = answer.client
        session = Session(
            client.id,
            connection.id,
            connection,
            roles=frozenset(roles),
            timeout_ms=client.timeout_ms,
            heartbeat_ms=min(self._config.heartbeat_ms, client.timeout_ms // HEARTBEATS),
        )
        self._sessions.add(session)
        self._connected(client.id)
        connection.send(self._welcome(client, session, secret, resumed=answer.resumed))
        return session

    async def _register(self, wanted: ClientRecord) -> Registered | NotRegistered:
        """One after the other, as the store takes them: thousands may come at once. None waits
        for its turn longer than for the store."""
        said_ms = monotonic_ms()
        async with self._registering:
            if monotonic_ms() - said_ms > self._config.store_timeout_ms:
                raise StoreUnavailable("too many say hello right now")
            return await self._registry.register(wanted, self._clock.now_ms())

    def _timeout_ms(self, hello: Hello) -> int:
        config = self._config
        wanted: int = hello.timeout_ms if hello.timeout_ms is not None else config.client_timeout_ms
        return max(config.min_client_timeout_ms, min(wanted, config.max_client_timeout_ms))

    def _not_registered(self, answer: NotRegistered, hello: Hello) -> Refused:
        if answer.because == "leaving":
            return _refused(
                Code.CLIENT_EXISTS,
                "this client's former registration is being removed",
                retry_after_ms=LEAVING_RETRY_MS,
            )
        if hello.secret is None:
            return _refused(
                Code.CLIENT_EXISTS,
                "a client with this id is registered: resume it with its secret",
                retry_after_ms=answer.client.timeout_ms,
            )
        return _refused(Code.SECRET_WRONG, "this is not the secret of the client with this id")

    def _welcome(
        self, client: ClientRecord, session: Session, secret: bytes, *, resumed: bool
    ) -> Welcome:
        config = self._config
        return Welcome(
            version=PROTOCOL_VERSION,
            client=client.id,
            secret=secret,
            resumed=resumed,
            roles=tuple(role for role in ROLES if role in session.roles),
            heartbeat_ms=session.heartbeat_ms,
            timeout_ms=client.timeout_ms,
            limits=Limits(
                frame_bytes=config.max_frame_bytes,
                payload_bytes=config.max_payload_bytes,
                result_bytes=config.max_result_bytes,
                log_message_bytes=config.max_log_message_bytes,
                batch=config.max_batch,
                in_flight=config.max_in_flight,
            ),
            features=FEATURES,
            broker=self._broker,
            store=self._store.identity.id if self._store.identity is not None else "",
            now_ms=self._clock.now_ms(),
            library=self._library,
            kept=self._store.kept,
            durability=config.durability,
            replicas=self._store.waits.replicas,
            registered_at=client.registered_at,
        )

    # -- a session's life

    def opened(self, session: Session) -> None:
        """Pushes what the client held and is owed, then lets it take more."""
        if self._draining():
            session.outlet.send(Drain(grace_ms=self._config.drain_ms))
        self._spawn(self._resume(session))

    async def _resume(self, session: Session) -> None:
        try:
            if "run" in session.roles:
                await self._holding.push_all(session)
        except StoreUnavailable as error:
            session.outlet.close(Code.UNAVAILABLE, f"the store is unavailable: {error}")
            return
        session.ready = True
        self._feeder.offer(session)
        self._delivery.catch_up(session)

    def writable(self, session: Session) -> None:
        """The client reads again: what was held back for it can go on."""
        self._feeder.offer(session)
        if session.behind:
            self._delivery.catch_up(session)
        self._delivery.groups.writable(session)

    def unsendable(self, session: Session, claim: Claim, why: str) -> None:
        """A claim that no frame can hold never comes to its runner."""
        message = f"the job can't be sent to a runner: {why}"[: limits.MAX_TEXT_CHARS]
        error = Error(type="Unsendable", message=message)
        self._feeder.give_up(session, claim.job, claim.token, error)

    def ended(self, session: Session) -> None:
        """The connection is over. The client itself stays until its time is up."""
        self._feeder.leave(session)
        self._watching.leave(session)
        self._sessions.discard(session)
        self._delivery.groups.leave(session)
        _log.info("client.disconnected", client=session.client, connection=session.connection)


def _refused(
    code: Code, message: str, *, retry_after_ms: int | None = None, **details: str
) -> Refused:
    return Refused(
        code=code,
        message=message,
        retryable=code in RETRYABLE,
        retry_after_ms=retry_after_ms,
        details=details or None,
        closing=True,
    )

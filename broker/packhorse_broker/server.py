"""The listener and its connections: where it listens, and how many connections there may be."""

import asyncio
import socket
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import structlog

from packhorse_broker.addresses import (
    Address,
    ListenError,
    free_socket_path,
    parse_address,
    restrict_socket,
    socket_name,
)
from packhorse_broker.clock import monotonic_ms
from packhorse_broker.config import Config
from packhorse_broker.connection import CLOSE_S, PULSE_MS, Connection, Gate
from packhorse_protocol import Code
from packhorse_protocol.messages import BrokerMessage, Refused

_log = structlog.get_logger(__name__)

STALL_MS: Final = 2 * PULSE_MS
"""Pulses further apart mean that the loop was kept from its work."""

BACKLOG: Final = 1_024
"""Connections that the kernel holds until they are accepted."""


class Server:
    """Listens on every configured address. `start`, `stop_listening`, `close`."""

    def __init__(
        self, config: Config, gate: Gate, shared: Mapping[str, socket.socket] | None = None
    ) -> None:
        """`shared`: this is one of several processes, whose ports are shared and whose Unix
        sockets are these, by path."""
        self.config = config
        self.gate = gate
        self.loop = asyncio.get_running_loop()
        self.addresses: list[str] = []
        """Where it listens, with the ports that the system chose."""
        self._shared = shared
        self._listeners: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._strangers: set[Connection] = set()
        """Connections without a session: they have a bound of their own."""
        self._empty = asyncio.Event()
        self._empty.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pulse: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises ListenError, which names the address and what to do."""
        for address in map(parse_address, self.config.listen):
            self._listeners.append(await self._listen(address))
        self._pulse = asyncio.create_task(self._pulses(), name="packhorse-pulse")

    async def _listen(self, address: Address) -> asyncio.Server:
        try:
            if address.path is not None and self._shared is not None:
                self.addresses.append(f"unix://{address.path}")
                return await self.loop.create_unix_server(
                    lambda: Connection(self), sock=self._shared[address.path], backlog=BACKLOG
                )
            if address.path is not None:
                free_socket_path(address.path)
                listener = await self.loop.create_unix_server(
                    lambda: Connection(self), path=address.path, backlog=BACKLOG
                )
                restrict_socket(address.path)
                self.addresses.append(f"unix://{address.path}")
                return listener
            listener = await self.loop.create_server(
                lambda: Connection(self),
                host=address.host,
                port=address.port,
                backlog=BACKLOG,
                reuse_port=self._shared is not None,
            )
        except OSError as error:
            raise ListenError(
                f"can't listen on {address}: {error.strerror or error}; "
                "is another broker running there? choose another with --listen"
            ) from error
        self.addresses += [socket_name(bound) for bound in listener.sockets]
        return listener

    async def attach(self, connected: socket.socket) -> None:
        """Serves a connected socket: a client within this process."""
        await self.loop.connect_accepted_socket(lambda: Connection(self), connected)

    def admit(self, connection: Connection) -> Refused | None:
        """Counts the connection in, or says why there is no room for it."""
        full = (
            len(self._connections) >= self.config.max_connections
            or len(self._strangers) >= self.config.max_unauthenticated
        )
        self._connections.add(connection)
        self._strangers.add(connection)
        self._empty.clear()
        if full:
            return Refused(
                code=Code.TOO_MANY_CONNECTIONS,
                message="this broker has no room for another connection right now",
                retryable=True,
                retry_after_ms=1_000,
                closing=True,
            )
        return None

    def known(self, connection: Connection) -> None:
        """The connection has said who it is."""
        self._strangers.discard(connection)

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._strangers.discard(connection)
        if not self._connections:
            self._empty.set()

    async def emptied(self) -> None:
        """Until no connection is left."""
        await self._empty.wait()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` beside everything else; `close` ends it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._spawned_ended)

    def _spawned_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("task.failed", task=repr(task.get_coro()), exc_info=error)

    @property
    def connections(self) -> int:
        return len(self._connections)

    def broadcast(self, message: BrokerMessage) -> None:
        """To every client that said hello."""
        for connection in list(self._connections):
            if connection.session is not None and not connection.session.closed:
                connection.send(message)

    async def stop_listening(self) -> None:
        """No further connections; those that are open go on."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def close(self) -> None:
        """Closes every connection, after what was sent has left."""
        await self.stop_listening()
        if self._pulse is not None:
            self._pulse.cancel()
        for connection in list(self._connections):
            connection.close(Code.DRAINING, "this broker is going away")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_S):
                await self.emptied()
        except TimeoutError:
            _log.warning("server.unread", connections=self.connections)

    async def _pulses(self) -> None:
        awake_since_ms = pulsed_ms = monotonic_ms()
        while True:
            await asyncio.sleep(PULSE_MS / 1000)
            now_ms = monotonic_ms()
            if now_ms - pulsed_ms > STALL_MS:
                _log.warning("loop.stalled", stalled_ms=round(now_ms - pulsed_ms))
                awake_since_ms = now_ms
            pulsed_ms = now_ms
            for connection in list(self._connections):
                connection.pulse(now_ms, awake_since_ms)

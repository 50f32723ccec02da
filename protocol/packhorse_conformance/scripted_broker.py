"""Where the client under test connects: a listener whose connections a scenario accepts."""

import asyncio
import ssl
from typing import Final

from packhorse_conformance.peer import Peer
from packhorse_conformance.trace import Trace

HOST: Final = "127.0.0.1"


class ScriptedBroker:
    """`accept` gives the connections in the order in which they came."""

    def __init__(self, trace: Trace) -> None:
        self.peers: list[Peer] = []
        """All that there were."""
        self._trace = trace
        self._arrived: asyncio.Queue[Peer] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self._tls: ssl.SSLContext | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"{'tcp' if self._tls is None else 'tls'}://{HOST}:{self._port}"

    @property
    def waiting(self) -> int:
        """Connections that were opened and not accepted by the scenario."""
        return self._arrived.qsize()

    async def listen(self) -> None:
        """At any port; after `deafen` at the same one."""
        self._server = await asyncio.start_server(self._connected, HOST, self._port, ssl=self._tls)
        self._port = self._server.sockets[0].getsockname()[1]

    async def encrypt(self, tls: ssl.SSLContext) -> None:
        """From now on it speaks TLS, at another port."""
        await self.deafen()
        self._tls, self._port = tls, 0
        await self.listen()

    async def deafen(self) -> None:
        """Nobody can connect any more; what is connected stays."""
        if self._server is not None:
            self._server.close()

    async def accept(self, what: str = "a connection") -> Peer:
        """The next connection that the client opens."""
        self._trace.awaited = what
        return await self._arrived.get()

    async def see_off(self) -> None:
        """Lets clients come and go, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for peer in self.peers:
                group.create_task(peer.see_off())
            while not self._arrived.empty():
                self._arrived.get_nowait()
            while True:
                group.create_task((await self._arrived.get()).see_off())

    async def close(self) -> None:
        await self.deafen()
        for peer in self.peers:
            peer.abort()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, self._trace, len(self.peers) + 1)
        self._trace.line(f"{peer.number} {peer.incoming}", "connects")
        self.peers.append(peer)
        self._arrived.put_nowait(peer)

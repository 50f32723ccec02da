import asyncio
import socket
from pathlib import Path

import pytest

from packhorse.address import TcpAddress, UnixAddress
from packhorse.dialing import dialled, endpoints
from packhorse.errors import ClientClosed
from packhorse.transport import Wire


def make_wire() -> Wire:
    return Wire(lambda _: None, lambda: None)


class Listener:
    """Accepts one connection; `done` when its client has closed it."""

    def __init__(self) -> None:
        self.done = asyncio.Event()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        self.done.set()


async def test_a_tcp_address_is_dialled() -> None:
    listener = Listener()
    async with await asyncio.start_server(listener.accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        [endpoint] = endpoints([TcpAddress(host="127.0.0.1", port=port)])
        assert endpoint.name == f"tcp://127.0.0.1:{port}"
        wire = await endpoint.open(make_wire)
        assert wire.writable
        wire.close(ClientClosed("enough"))
        await listener.done.wait()


async def test_a_unix_socket_is_dialled(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    listener = Listener()
    async with await asyncio.start_unix_server(listener.accept, path):
        [endpoint] = endpoints([UnixAddress(path=path)])
        assert endpoint.name == f"unix://{path}"
        wire = await endpoint.open(make_wire)
        assert wire.writable
        wire.close(ClientClosed("enough"))
        await listener.done.wait()


async def test_a_socket_may_be_handed_in() -> None:
    listener = Listener()
    async with await asyncio.start_server(listener.accept, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()

        async def dial() -> socket.socket:
            connected = socket.socket()
            connected.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connected, (host, port))
            return connected

        [endpoint] = dialled(dial, "mine")
        assert endpoint.name == "mine"
        wire = await endpoint.open(make_wire)
        assert wire.writable
        wire.close(ClientClosed("enough"))
        await listener.done.wait()


async def test_nobody_there_is_an_os_error(tmp_path: Path) -> None:
    [tcp, unix] = endpoints(
        [TcpAddress(host="127.0.0.1", port=1), UnixAddress(path=str(tmp_path / "none"))]
    )
    for endpoint in (tcp, unix):
        with pytest.raises(OSError, match=r"onnect|No such file"):
            await endpoint.open(make_wire)

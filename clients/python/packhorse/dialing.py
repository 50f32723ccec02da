"""How a connection to a broker is opened: by address, or by a socket that somebody hands in."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from packhorse.address import Address, TcpAddress
from packhorse.transport import Wire

Dial: TypeAlias = Callable[[], Awaitable[socket.socket]]
"""Returns a new connected stream socket each time: how an in-process broker is reached."""

MakeWire: TypeAlias = Callable[[], Wire]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One broker: `name` for messages, `open` for a new connection (raises `OSError`)."""

    name: str
    open: Callable[[MakeWire], Awaitable[Wire]]


def endpoints(
    addresses: Sequence[Address], tls: ssl.SSLContext | None = None
) -> tuple[Endpoint, ...]:
    """One for each address. `tls`: for those that want TLS; None: one that trusts what the system
    trusts, and checks the host's name."""
    if tls is None and any(isinstance(one, TcpAddress) and one.tls for one in addresses):
        tls = ssl.create_default_context()
    return tuple(_at(address, tls) for address in addresses)


def dialled(dial: Dial, name: str = "in-process broker") -> tuple[Endpoint, ...]:
    """The one behind `dial`."""

    async def open_wire(make: MakeWire) -> Wire:
        connected = await dial()
        connected.setblocking(False)
        loop = asyncio.get_running_loop()
        if connected.family == socket.AF_UNIX:
            _, wire = await loop.create_unix_connection(make, sock=connected)
        else:
            _, wire = await loop.create_connection(make, sock=connected)
        return wire

    return (Endpoint(name=name, open=open_wire),)


def _at(address: Address, tls: ssl.SSLContext | None) -> Endpoint:
    async def open_wire(make: MakeWire) -> Wire:
        loop = asyncio.get_running_loop()
        if isinstance(address, TcpAddress):
            context = tls if address.tls else None
            _, wire = await loop.create_connection(make, address.host, address.port, ssl=context)
        else:
            _, wire = await loop.create_unix_connection(make, address.path)
        return wire

    return Endpoint(name=str(address), open=open_wire)

"""Addresses at which several processes listen, held by their supervisor for as long as it lives.

A port is bound here, and never listened on: the processes bind it as well and listen, each on a
socket of its own among which the kernel spreads connections (SO_REUSEPORT). One that dies takes
its socket along, and the others get what comes. A Unix socket can't be shared like that: it is
bound here once, and inherited.
"""

import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from packhorse_broker.addresses import (
    Address,
    ListenError,
    free_socket_path,
    parse_address,
    restrict_socket,
    socket_name,
)


class SharedAddresses:
    """Made by `reserve`; `stop_listening` when draining begins, `close` at the end."""

    def __init__(self) -> None:
        self.listen: list[str] = []
        """Numeric, with the ports that the system chose."""
        self.sockets: dict[str, socket.socket] = {}
        """Unix sockets by path, for processes to inherit."""
        self._ports: list[socket.socket] = []
        self._paths: list[Path] = []

    @classmethod
    def reserve(cls, listen: Sequence[str]) -> "SharedAddresses":
        """Raises ListenError, also if another daemon has one of them, sharing or not."""
        shared = cls()
        try:
            for address in map(parse_address, listen):
                shared._reserve(address)
        except BaseException:
            shared.close()
            raise
        return shared

    def stop_listening(self) -> None:
        """Nobody can connect any more, once the processes have closed theirs too."""
        for held in (*self._ports, *self.sockets.values()):
            held.close()
        self._ports.clear()
        self.sockets.clear()

    def close(self) -> None:
        """Others can have the addresses."""
        self.stop_listening()
        for path in self._paths:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        self._paths.clear()

    def _reserve(self, address: Address) -> None:
        try:
            if address.path is not None:
                self._bind_path(address.path)
                return
            found = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            # A name may lead to the same address twice.
            for family, kind, protocol, _, name in dict.fromkeys(found):
                port = _reserve_port(family, kind, protocol, name)
                self._ports.append(port)
                self.listen.append(socket_name(port))
        except OSError as error:
            raise ListenError(
                f"can't listen on {address}: {error.strerror or error}; "
                "is another broker running there? choose another with --listen"
            ) from error

    def _bind_path(self, path: str) -> None:
        free_socket_path(path)
        bound = socket.socket(socket.AF_UNIX)
        self.sockets[path] = bound
        bound.bind(path)
        self._paths.append(Path(path))
        restrict_socket(path)
        self.listen.append(f"unix://{path}")


def _reserve_port(family: int, kind: int, protocol: int, name: tuple[Any, ...]) -> socket.socket:
    """A bound socket that no other daemon can have beside it, but our own processes can.

    Bound without SO_REUSEPORT it fails if anybody else has the port; what is set afterwards lets
    sockets of this user's processes join, if they set it as well.
    """
    try:
        port = _bound(family, kind, protocol, name, reuse_address=False)
    except OSError:
        # Connections of a daemon that has ended keep a port for a minute; its listener does not.
        port = _bound(family, kind, protocol, name, reuse_address=True)
        # Otherwise another daemon could bind it until our processes listen.
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return port


def _bound(
    family: int, kind: int, protocol: int, name: tuple[Any, ...], *, reuse_address: bool
) -> socket.socket:
    port = socket.socket(family, kind, protocol)
    try:
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse_address))
        if family == socket.AF_INET6:
            port.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        port.bind(name)
    except BaseException:
        port.close()
        raise
    return port

"""What a store is asked: commands and bytes, as it counts them itself, less those of the meter.

It blocks: nothing else goes on while it asks.
"""

import socket
from dataclasses import dataclass
from typing import Final

ANSWER_S: Final = 30
"""Longer than any answer may take."""

_INFO: Final = b"*3\r\n$4\r\nINFO\r\n$12\r\ncommandstats\r\n$5\r\nstats\r\n"
_PING: Final = b"*1\r\n$4\r\nPING\r\n"


@dataclass(frozen=True, slots=True)
class StoreUse:
    """Since the store was started: calls by command, and bytes of commands and of replies."""

    commands: dict[str, int]
    command_bytes: int
    reply_bytes: int

    def since(self, before: "StoreUse") -> "StoreUse":
        """Without commands that were not called."""
        more = {name: n - before.commands.get(name, 0) for name, n in self.commands.items()}
        return StoreUse(
            {name: calls for name, calls in sorted(more.items()) if calls},
            self.command_bytes - before.command_bytes,
            self.reply_bytes - before.reply_bytes,
        )


class StoreMeter:
    """A connection of its own. `ping`, `use`, `close`."""

    def __init__(self, path: str) -> None:
        """`path`: the store's socket."""
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_S)
        self._socket.connect(path)
        self._replies = self._socket.makefile("rb")
        self._asked: dict[str, int] = {"info": 0, "ping": 0}
        self._asked_bytes = 0
        self._answered_bytes = 0

    def ping(self) -> None:
        """Returns when the store has answered all that it had read before."""
        self._send("ping", _PING)
        self._line()

    def use(self) -> StoreUse:
        answered_bytes = self._answered_bytes
        asked = dict(self._asked)
        self._send("info", _INFO)
        length = int(self._line().removeprefix(b"$")) + 2
        info = self._replies.read(length).decode()
        self._answered_bytes += length
        fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
        commands = {
            name.removeprefix("cmdstat_"): int(value.split(",")[0].removeprefix("calls="))
            for name, value in fields.items()
            if name.startswith("cmdstat_")
        }
        return StoreUse(
            {name: calls - asked.get(name, 0) for name, calls in commands.items()},
            int(fields["total_net_input_bytes"]) - self._asked_bytes,
            int(fields["total_net_output_bytes"]) - answered_bytes,
        )

    def close(self) -> None:
        self._replies.close()
        self._socket.close()

    def _send(self, name: str, command: bytes) -> None:
        self._asked[name] += 1
        self._asked_bytes += len(command)
        self._socket.sendall(command)

    def _line(self) -> bytes:
        line = self._replies.readline()
        if not line.endswith(b"\r\n") or line.startswith(b"-"):
            raise ConnectionError(f"the store answered {line!r}")
        self._answered_bytes += len(line)
        return line.rstrip()

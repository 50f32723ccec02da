"""A store that commands of a shell start and stop, as the conformance kit is told to."""

import shlex
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from packhorse_broker.store.process import find_server


class ShellStore:
    """`with` it; it runs then, and on its data again after `stop` and `start`."""

    def __enter__(self) -> Self:
        # Not pytest's folder: the path of a socket must be short.
        self._folder = TemporaryDirectory(prefix="ph-store-")
        path = Path(self._folder.name)
        self._pid, socket = path / "pid", path / "store.sock"
        self.url = f"unix://{socket}"
        server = shlex.join(
            [
                *(str(find_server()), "--daemonize", "yes", "--pidfile", str(self._pid)),
                *("--port", "0", "--unixsocket", str(socket), "--dir", str(path)),
                *("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
                *("--logfile", str(path / "log")),
            ]
        )
        self.start = f"{server} && until [ -S {socket} ]; do sleep 0.05; done"
        self.stop = f"kill -KILL $(cat {self._pid}) && rm -f {self._pid} {socket}"
        subprocess.run(self.start, shell=True, check=True)  # noqa: S602 - our own words
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pid.exists():
            subprocess.run(self.stop, shell=True, check=True)  # noqa: S602 - our own words
        self._folder.cleanup()

"""What the harness has to know of a queue; each peer's module says it of its own.

A module has a subclass of `Peer` and what runs in two processes of the interpreter that has the
queue's library; these import it when they run, for nobody else may have it:

- `class Producer`, made with a `Site`: `put(payload)`, and where the queue has them
  `put_many(payloads)` and `call(payload)`, which waits for the result. All are plain, or all
  coroutines; the latter may have `start()`, too.
- `worker(site, mark)`, plain or a coroutine: calls `mark` with the payload of each job, at the
  job's start, until it is killed.
"""

import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, Final

ROOT: Final = Path(__file__).parents[2]
SERVER_PATH: Final = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
"""Where servers are looked for: Debian keeps some where only root looks."""
README: Final = "benchmarks/peers/README.md"


def peers_dir() -> Path:
    """Where what is not in a distribution is installed."""
    return Path(os.environ.get("PEERS_DIR") or ROOT / ".peers")


def peers_python() -> Path:
    """The interpreter that has the Python queues."""
    return Path(os.environ.get("PEERS_PYTHON") or peers_dir() / "venv" / "bin" / "python")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where one run takes place. Everything listens on 127.0.0.1."""

    folder: str
    """A fresh one."""
    marks: str
    port: int
    """Of the peer's server."""
    second_port: int
    """Where a server needs another one."""
    store_port: int
    store_program: str
    concurrency: int
    """Jobs that the worker runs at once."""

    @property
    def store_url(self) -> str:
        return f"redis://127.0.0.1:{self.store_port}/0"

    def fields(self) -> dict[str, object]:
        """What JSON can carry to another process."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Command:
    """A program to start."""

    arguments: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the environment, beside those that are there."""


class Peer(ABC):
    """One queue. The sizes are what it does in some seconds."""

    name: ClassVar[str]
    jobs: ClassVar[int]
    """Of one phase of W1."""
    concurrency: ClassVar[int]
    """Of its worker: what its kind of worker is made for."""
    calls_per_s: ClassVar[int] = 0
    """In W2; 0: it has no results."""
    on_store: ClassVar[bool] = False
    """Whether the harness starts it a store."""

    @abstractmethod
    def missing(self) -> str | None:
        """What is not installed, and how it is."""

    @abstractmethod
    def version(self) -> str:
        """Of what is measured."""

    @abstractmethod
    def left(self, site: Site) -> int:
        """Jobs that are queued or not acknowledged."""

    def server(self, site: Site) -> Command | None:  # noqa: ARG002 - for those that have one
        """Listens on `site.port`."""
        return None

    def store_address(self, site: Site) -> str | None:
        """Of the store that holds its jobs: `host:port` or a socket's path."""
        return f"127.0.0.1:{site.store_port}" if self.on_store else None

    def process(self, role: str) -> Command:
        """Starts a producer or a worker; the site is added as its last argument."""
        return child(Path(sys.executable), self.name, role)


class PythonPeer(Peer):
    """One whose library is in the interpreter of the peers."""

    library: ClassVar[str]

    def missing(self) -> str | None:
        return self.missing_library()

    def missing_library(self) -> str | None:
        python = peers_python()
        how = f"see {README}, Python"
        if not python.exists():
            return f"no interpreter {python}: set PEERS_PYTHON; {how}"
        if said_by(str(python), "-c", f"import {self.library}") is None:
            return f"{python} has no {self.library}; {how}"
        return None

    def version(self) -> str:
        return self.library_version()

    def library_version(self) -> str:
        distribution = {"nats": "nats-py"}.get(self.library, self.library)
        script = f"from importlib.metadata import version as v; print(v({distribution!r}))"
        return f"{distribution} {said_by(str(peers_python()), '-c', script)}"

    def process(self, role: str) -> Command:
        return child(peers_python(), self.name, role)


def child(python: Path, name: str, role: str) -> Command:
    return Command((str(python), "-m", "benchmarks.peers.child", name, role))


def missing_server(program: str, package: str) -> str | None:
    """Whether a Debian server is not there, and how it is installed."""
    if shutil.which(program, path=SERVER_PATH):
        return None
    return f"no {program} on PATH: apt-get install {package}"


def server_program(program: str) -> str:
    return shutil.which(program, path=SERVER_PATH) or program


def said_by(*command: str) -> str | None:
    """The first line that a command prints, None if it fails."""
    try:
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=30, cwd=ROOT
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ((done.stdout or done.stderr).strip().splitlines() or [""])[0]

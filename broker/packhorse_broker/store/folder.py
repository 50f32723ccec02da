"""The data folder of an embedded store: who may use it, and where its socket is.

Two locks of the kernel, which end with whoever holds them, so that nobody has to guess whether
a process id is still the same process:

    broker.lock   held by the broker, for as long as it lives; names its process
    store.lock    held by the store's own process, which inherits it: it can be taken only when
                  no store writes here any more; says where the store's socket is
"""

import contextlib
import fcntl
import json
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packhorse_broker.store.errors import StoreError

MAX_SOCKET_PATH_BYTES: Final = 100
"""A longer path can't be bound: the address holds 104 bytes on some systems, 108 on others."""
MAX_RECORD_BYTES: Final = 4_096
"""What is read of a lock file: a path and two numbers are far shorter."""
MAX_STORE_LOG_BYTES: Final = 10 * 1024 * 1024
"""A longer log of the store is set aside at the next start, over the one set aside before."""

_SOCKET_NAME: Final = "store.sock"


class StoreHeld(StoreError):
    """The data folder is in use; the message says by whom and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRecord:
    """What store.lock says about the store that holds it, or held it last."""

    socket: Path
    pid: int | None
    """For people. None until it was started."""


class DataFolder:
    """A folder that this broker alone may use, from `hold` to `release`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def hold(cls, path: Path) -> "DataFolder":
        """Makes the folder if it is missing. Raises StoreHeld, StoreError if it can't be used."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = _open(path / "broker.lock")
        except OSError as error:
            raise StoreError(f"the data folder {path} can't be used: {error.strerror}") from error
        if not _try_lock(lock):
            holder = _read(lock).get("pid", "unknown")
            os.close(lock)
            raise StoreHeld(
                f"the data folder {path} is in use by another broker (process {holder}): "
                "stop that one or choose another data_dir"
            )
        _write(lock, {"pid": os.getpid()})
        return cls(path.resolve(), lock)

    def release(self) -> None:
        """Lets others have the folder. Call it after the store has ended."""
        if self._lock >= 0:
            # Unlocked, not only closed: a child between its fork and its exec has it open too.
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            os.close(self._lock)
            self._lock = -1

    @property
    def store_log(self) -> Path:
        return self.path / "store.log"

    def turn_log(self) -> None:
        """Readies the log for a new start: a long one is set aside."""
        self.store_log.touch(mode=0o600)
        if self.store_log.stat().st_size > MAX_STORE_LOG_BYTES:
            self.store_log.replace(self.store_log.with_suffix(".log.old"))
            self.store_log.touch(mode=0o600)

    def log_tail(self, lines: int = 3) -> str:
        """The end of the store's log, for an error message."""
        try:
            with self.store_log.open("rb") as log:
                log.seek(max(0, self.store_log.stat().st_size - MAX_RECORD_BYTES))
                text = log.read(MAX_RECORD_BYTES).decode(errors="replace")
        except OSError:
            return ""
        return " | ".join(line.strip() for line in text.splitlines()[-lines:])


class StoreLock:
    """store.lock, opened. `take` it, then `name` the socket, then hand `fd` to the store."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self.fd = _open(folder.path / "store.lock")

    def take(self) -> bool:
        """False while a store, or a child of it that rewrites its log, still holds it."""
        return _try_lock(self.fd)

    def record(self) -> StoreRecord | None:
        """About the store that holds the lock, or did last."""
        found = _read(self.fd)
        socket, pid = found.get("socket"), found.get("pid")
        if not isinstance(socket, str):
            return None
        return StoreRecord(socket=Path(socket), pid=pid if isinstance(pid, int) else None)

    def name(self, socket: Path, pid: int | None = None) -> None:
        """Writes down where the store is. Without the process id before it is started."""
        _write(self.fd, {"socket": str(socket), "pid": pid})

    def close(self) -> None:
        """Gives up our part of the lock; a store that inherited it keeps it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def choose_socket(folder: DataFolder, previous: StoreRecord | None) -> Path:
    """Where the store shall listen: in the data folder, or, if that path is too long to be bound,
    in a private folder of its own, which a broker that was killed leaves for the next one."""
    inside = folder.path / _SOCKET_NAME
    if _is_short(inside):
        return inside
    if previous is not None and _is_private_folder(previous.socket.parent):
        return previous.socket
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    for parent in (runtime, tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp makes it private
        if parent and _is_short(Path(parent) / "packhorse-12345678" / _SOCKET_NAME):
            with contextlib.suppress(OSError):
                return Path(tempfile.mkdtemp(prefix="packhorse-", dir=parent)) / _SOCKET_NAME
    raise StoreError(
        f"no folder for the socket of the store: the path of {folder.path} is too long for one; "
        "choose a data_dir with a shorter path"
    )


def remove_socket(folder: DataFolder, socket: Path) -> None:
    """What is left of the socket after the store has ended, with its private folder."""
    with contextlib.suppress(OSError):
        socket.unlink(missing_ok=True)
        if socket.parent != folder.path:
            socket.parent.rmdir()


def make_temporary_folder() -> Path:
    """A private folder for an ephemeral store."""
    return Path(tempfile.mkdtemp(prefix="packhorse-store-"))


def remove_folder(path: Path) -> None:
    """With all that is in it, as far as it can be removed."""
    shutil.rmtree(path, ignore_errors=True)


def _is_short(socket: Path) -> bool:
    return len(os.fsencode(socket)) <= MAX_SOCKET_PATH_BYTES


def _is_private_folder(path: Path) -> bool:
    """Whether it is ours alone: in a shared /tmp anybody can make a folder of any name."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.getuid()
        and stat.S_IMODE(found.st_mode) == 0o700
    )


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(fd: int) -> dict[str, object]:
    try:
        found = json.loads(os.pread(fd, MAX_RECORD_BYTES, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _write(fd: int, record: dict[str, object]) -> None:
    data = json.dumps(record).encode()
    os.ftruncate(fd, 0)
    os.pwrite(fd, data, 0)

"""A store of the broker's own: a Valkey on a Unix socket, with its data in a folder.

    store = EmbeddedStore(Path("/var/lib/packhorse"))
    await store.start()        # it answers and has read its data
    ... store.url ...
    await store.stop()         # everything is on disk

Every change is in an append-only file that is written out once a second, or with `fsync_always`
before it is answered. When this process is killed the store ends too (`leash.py`), and nothing
that it had answered for is lost. One broker at a time uses a folder (`folder.py`).
"""

import asyncio
from pathlib import Path
from typing import Final
from urllib.parse import quote

import structlog
from redis.exceptions import RedisError, ResponseError

from packhorse_broker.store.errors import StoreError, StoreUnavailable
from packhorse_broker.store.folder import (
    DataFolder,
    StoreHeld,
    StoreLock,
    StoreRecord,
    choose_socket,
    make_temporary_folder,
    remove_folder,
    remove_socket,
)
from packhorse_broker.store.link import Link, StoreAddress
from packhorse_broker.store.packing import pack
from packhorse_broker.store.process import StoreProcess, find_server

ANSWER_MS: Final = 5_000
"""How long one question to the store may take while it starts or ends."""
STALLED_MS: Final = 60_000
"""A start that makes no progress for so long has failed. Reading the data may take longer in
all, as long as it goes on."""
FIRST_LOOK_MS: Final = 5
LAST_LOOK_MS: Final = 250
"""How often is looked whether it is ready: soon at first, then less often."""
TELL_LOADING_MS: Final = 5_000
"""How often the log says how far the reading of the data is."""
SHUTDOWN_MS: Final = 30_000
"""How long the store may take to write out what it has, on a slow disk."""
TERMINATE_MS: Final = 10_000
"""How long it may take after SIGTERM, before SIGKILL."""
ORPHAN_MS: Final = 60_000
"""How long is waited for the store of a broker that was killed."""

_log = structlog.get_logger(__name__)


class StoreFailed(StoreError):
    """The store could not be started; the message has the end of its log."""


class EmbeddedStore:
    """Made with the folder for its data, or `ephemeral`: nothing on disk survives `stop`.

    `start` once, then use `url`; `wait_exit` returns if the store ends, asked or not; `stop` as
    often as you like, also after a `start` that failed.
    """

    def __init__(
        self, data_dir: Path | None = None, *, ephemeral: bool = False, fsync_always: bool = False
    ) -> None:
        if (data_dir is None) != ephemeral:
            raise ValueError("give either a data_dir or ephemeral=True")
        self._data_dir = data_dir
        self._fsync = "always" if fsync_always else "everysec"
        self._folder: DataFolder | None = None
        self._socket: Path | None = None
        self._process: StoreProcess | None = None
        self._stopping = False

    @property
    def url(self) -> str:
        """For redis-py; valid after `start`."""
        if self._socket is None:
            raise RuntimeError("the store has not been started")
        return _url(self._socket)

    @property
    def pid(self) -> int:
        """The server's process; valid after `start`."""
        if self._process is None:
            raise RuntimeError("the store has not been started")
        return self._process.pid

    async def start(self) -> None:
        """Returns when the store has read its data and answers.

        Raises StoreMissing, StoreHeld, StoreFailed; nothing is left running then.
        """
        if self._folder is not None:
            raise RuntimeError("the store has been started already")
        program = find_server()
        path = make_temporary_folder() if self._data_dir is None else self._data_dir
        self._folder = DataFolder.hold(path)
        try:
            await self._launch(program, self._folder)
        except BaseException:
            await self.stop()
            raise
        _log.info("store.ready", url=self.url, pid=self.pid)

    async def wait_exit(self) -> int:
        """Waits for the end of the store's process; its status, or minus a signal's number."""
        if self._process is None:
            raise RuntimeError("the store has not been started")
        return await asyncio.shield(self._process.exited)

    async def stop(self) -> None:
        """Ends the store with all its data on disk, and lets others have the folder."""
        self._stopping = True
        if self._process is not None:
            await _end(self._process, self._socket)
        if self._folder is None:
            return
        if self._socket is not None:
            remove_socket(self._folder, self._socket)
        self._folder.release()
        if self._data_dir is None:
            remove_folder(self._folder.path)

    async def _launch(self, program: Path, folder: DataFolder) -> None:
        lock = StoreLock(folder)
        try:
            if not lock.take():
                await _outlive(lock, folder)
            self._socket = choose_socket(folder, lock.record())
            lock.name(self._socket)
            folder.turn_log()
            _log.info("store.starting", program=str(program), data_dir=str(folder.path))
            self._process = await StoreProcess.spawn(
                program,
                self._arguments(folder, self._socket),
                folder=folder.path,
                log=folder.store_log,
                lock_fd=lock.fd,
            )
            lock.name(self._socket, self._process.pid)
        finally:
            lock.close()
        await _ready(self._process, self._socket, folder)
        self._process.exited.add_done_callback(self._note_exit)

    def _arguments(self, folder: DataFolder, socket: Path) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(socket),
            "unixsocketperm": "700",
            "dir": str(folder.path),
            "logfile": str(folder.store_log),
            "daemonize": "no",
            "pidfile": "",
            # The append-only file is the data; snapshots beside it would only cost writes.
            "save": "",
            "appendonly": "yes" if self._data_dir is not None else "no",
            "appendfsync": self._fsync,
            # A full store refuses writes and says so. It never drops a job to make room.
            "maxmemory-policy": "noeviction",
            "databases": "1",
        }
        return [part for name, value in settings.items() for part in (f"--{name}", value)]

    def _note_exit(self, exited: asyncio.Future[int]) -> None:
        if not self._stopping and self._folder is not None:
            _log.error("store.ended", status=exited.result(), store_log=str(self._folder.store_log))


async def _ready(process: StoreProcess, socket: Path, folder: DataFolder) -> None:
    """Waits until it answers and has read its data. Raises StoreFailed."""
    loop = asyncio.get_running_loop()
    look_s = FIRST_LOOK_MS / 1000
    loaded_bytes = -1
    progress_at = told_at = loop.time()
    while not await process.ended_within(look_s):
        look_s = min(look_s * 2, LAST_LOOK_MS / 1000)
        state = await _persistence(socket)
        if state is not None:
            if state.get("loading") == "0":
                return
            now_loaded = int(state.get("loading_loaded_bytes", "0"))
            if now_loaded != loaded_bytes:
                loaded_bytes, progress_at = now_loaded, loop.time()
            if loop.time() - told_at > TELL_LOADING_MS / 1000:
                told_at = loop.time()
                _log.info("store.loading", percent=state.get("loading_loaded_perc"))
        if loop.time() - progress_at > STALLED_MS / 1000:
            raise StoreFailed(
                f"the store made no progress for {STALLED_MS} ms while starting: "
                f"{folder.log_tail()}"
            )
    raise StoreFailed(
        f"the store ended with status {process.exited.result()} while starting: "
        f"{folder.log_tail()} (all of it: {folder.store_log})"
    )


async def _end(process: StoreProcess, socket: Path | None) -> None:
    """SHUTDOWN, then SIGTERM, then SIGKILL, each with its time."""
    if process.exited.done():
        return
    if socket is not None and await _shut_down(socket):
        await process.ended_within(SHUTDOWN_MS / 1000)
    process.terminate()
    if not await process.ended_within(TERMINATE_MS / 1000):
        _log.warning("store.killed", pid=process.pid)
        process.kill()
        await process.exited


async def _outlive(lock: StoreLock, folder: DataFolder) -> None:
    """Ends the store that a killed broker left, and takes its lock. Raises StoreHeld.

    It is asked through its socket, after it has said that it works in this folder; a process id
    may long be another's, so none is ever sent a signal.
    """
    record = lock.record()
    pid = record.pid if record else None
    _log.warning("store.orphan", pid=pid, note="left by a broker that was killed; ending it")
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + ORPHAN_MS / 1000
    asked = False
    while not lock.take():
        if loop.time() > give_up_at:
            raise StoreHeld(
                f"the data folder {folder.path} is in use by a store (process {pid}) that an "
                "earlier broker left, and it does not end: end that process and start again"
            )
        if record is not None and not asked and await _is_of(record, folder):
            asked = True
            await _shut_down(record.socket)
        await asyncio.sleep(LAST_LOOK_MS / 1000)


async def _is_of(record: StoreRecord, folder: DataFolder) -> bool:
    reply = await _ask(record.socket, "CONFIG", "GET", "dir")
    return isinstance(reply, list) and len(reply) == 2 and _same_folder(reply[1], folder.path)


def _same_folder(reported: object, path: Path) -> bool:
    return isinstance(reported, bytes) and Path(reported.decode(errors="replace")) == path


async def _persistence(socket: Path) -> dict[str, str] | None:
    """INFO persistence, or None while it does not answer."""
    reply = await _ask(socket, "INFO", "persistence")
    if not isinstance(reply, bytes):
        return None
    lines = (line.partition(":") for line in reply.decode().splitlines())
    return {name: value.strip() for name, _, value in lines}


async def _ask(socket: Path, *command: str) -> object | None:
    """The answer to one question, or None while there is none."""
    try:
        link = await Link.open(_address(socket))
    except StoreUnavailable:
        return None
    try:
        replies: list[object] = await link.ask(pack(command))
    except (RedisError, OSError):
        return None
    else:
        return replies[0]
    finally:
        link.drop()


async def _shut_down(socket: Path) -> bool:
    """Tells the store to write out what it has and to end. False if it can't or won't."""
    try:
        link = await Link.open(_address(socket))
    except StoreUnavailable:
        return False
    try:
        await link.ask(pack(("SHUTDOWN",)))
    except ResponseError as error:
        _log.warning("store.shutdown_refused", answer=str(error))
        return False
    except (RedisError, OSError):
        # It does not answer, it ends: silence or a lost connection is what is expected.
        return True
    finally:
        link.drop()
    return False


def _address(socket: Path) -> StoreAddress:
    return StoreAddress(url=_url(socket), timeout_ms=ANSWER_MS, client_name="packhorse:embedded")


def _url(socket: Path) -> str:
    return f"unix://{quote(str(socket))}"

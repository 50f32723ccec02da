"""`packhorse serve` as a process: where it keeps jobs, what signals do, what it refuses."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgpack
import pytest

import packhorse
from packhorse_broker.store.keys import ClientKeys
from packhorse_broker.store.schema import SCHEMA_VERSION
from packhorse_protocol.messages import Drain, Info
from tests.support.daemon import Daemon, Daemons
from tests.support.inspection import Raw
from tests.support.store_server import StoreServer
from tests.support.wire import Wire

Connect = Callable[..., Awaitable[Wire]]


async def refused(daemon: Daemon, status: int) -> str:
    """The one line with which a daemon ends that does not serve."""
    assert await daemon.wait() == status, daemon.said
    [line] = daemon.said
    assert line.startswith("error: ")
    return line


async def create(url: str, *names: str) -> None:
    async with packhorse.connect(url) as client:
        for name in names:
            await client.create("t", name, job_id=name)


async def queued(url: str) -> int:
    async with packhorse.connect(url) as client:
        counts = await client.counts("t")
        return counts.types["t"]["QUEUED"]


async def test_an_embedded_store_keeps_the_jobs(daemons: Daemons, tmp_path: Path) -> None:
    first = await daemons.start("--data-dir", tmp_path)
    await create(first.url, "a", "b", "c")
    first.terminate()
    assert await first.wait() == 0
    assert first.said == []
    second = await daemons.start("--data-dir", tmp_path)
    assert await queued(second.url) == 3


async def test_a_named_store_keeps_the_jobs(
    daemons: Daemons, store_url: str, prefix: str, tmp_path: Path
) -> None:
    flags = ("--store", store_url, "--prefix", prefix, "--data-dir", tmp_path / "unused")
    first = await daemons.start(*flags)
    await create(first.url, "a")
    first.terminate()
    assert await first.wait() == 0
    second = await daemons.start(*flags)
    assert await queued(second.url) == 1
    assert not (tmp_path / "unused").exists()


async def test_it_listens_at_a_unix_socket_too(
    daemons: Daemons, store_url: str, prefix: str, tmp_path: Path
) -> None:
    address = f"unix://{tmp_path}/socket"
    daemon = await daemons.start("--store", store_url, "--prefix", prefix, listen=address)
    assert daemon.url == address
    await create(address, "a")
    assert await queued(address) == 1


async def test_sigterm_tells_clients_and_waits_for_them(
    daemons: Daemons, tmp_path: Path, connect: Connect
) -> None:
    daemon = await daemons.start("--data-dir", tmp_path, "--drain-ms", "60000")
    await create(daemon.url, "a")
    wires = [await connect(daemon.url) for _ in range(2)]
    daemon.terminate()
    for wire in wires:
        assert (await wire.push(Drain)).grace_ms == 60_000
    # The last client is still served.
    await wires[0].close()
    [info] = await wires[1].ask(Info)
    assert info.connections >= 1
    await wires[1].close()
    assert await daemon.wait() == 0
    assert daemon.count("broker.drain_timeout") == 0
    again = await daemons.start("--data-dir", tmp_path)
    assert await queued(again.url) == 1


async def test_a_second_sigterm_waits_for_nobody(
    daemons: Daemons, tmp_path: Path, connect: Connect
) -> None:
    daemon = await daemons.start("--data-dir", tmp_path, "--drain-ms", "3600000")
    wire = await connect(daemon.url)
    daemon.terminate()
    await wire.push(Drain)
    daemon.terminate()
    assert await daemon.wait() == 0


async def test_sighup_changes_nothing(daemons: Daemons, tmp_path: Path, connect: Connect) -> None:
    daemon = await daemons.start("--data-dir", tmp_path)
    wire = await connect(daemon.url)
    daemon.hang_up()
    assert (await daemon.logged("signal.received"))["signal"] == "SIGHUP"
    await wire.ask(Info)
    await create(daemon.url, "a")
    assert await queued(daemon.url) == 1


async def test_a_taken_port_is_named(
    daemons: Daemons, store_url: str, prefix: str, tmp_path: Path
) -> None:
    holder = await daemons.start("--store", store_url, "--prefix", prefix)
    other = await daemons.begin("--data-dir", tmp_path, listen=holder.url)
    line = await refused(other, 1)
    assert holder.url.rpartition(":")[2] in line
    assert "--listen" in line


async def test_a_held_data_folder_is_named(daemons: Daemons, tmp_path: Path) -> None:
    holder = await daemons.start("--data-dir", tmp_path)
    line = await refused(await daemons.begin("--data-dir", tmp_path), 1)
    assert str(tmp_path) in line
    assert str(holder.pid) in line
    await create(holder.url, "a")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--max-batch", "many"), "--max-batch"),
        (("--heartbeat-ms", "1"), "--heartbeat-ms"),
        (("--store", "ftp://x"), "--store"),
        (("--log-level", "loud"), "--log-level"),
        (("--nonsense", "1"), "--nonsense"),
        (("surplus",), "surplus"),
    ],
)
async def test_a_wrong_argument_is_named(
    daemons: Daemons, tmp_path: Path, flags: tuple[str, ...], named: str
) -> None:
    daemon = await daemons.begin("--data-dir", tmp_path / "none", *flags)
    assert named in await refused(daemon, 2)
    assert not (tmp_path / "none").exists()


async def test_a_wrong_address_is_named(daemons: Daemons) -> None:
    assert "http://x" in await refused(await daemons.begin(listen="http://x"), 2)


async def test_an_unknown_variable_is_named(daemons: Daemons) -> None:
    daemon = await daemons.begin(environ={"PACKHORSE_MAX_BATHC": "5"})
    line = await refused(daemon, 2)
    assert "PACKHORSE_MAX_BATHC" in line
    assert "PACKHORSE_MAX_BATCH?" in line


async def test_an_unknown_key_of_the_file_is_named(daemons: Daemons, tmp_path: Path) -> None:
    file = tmp_path / "broker.toml"
    file.write_text("max_batch = 5\nbogus = 1\n")
    line = await refused(await daemons.begin("--config", file), 2)
    assert "bogus" in line
    assert str(file) in line


async def test_a_store_that_is_down_is_waited_for(
    daemons: Daemons, store_server: StoreServer
) -> None:
    daemon = await daemons.begin("--store", store_server.url)
    waiting = await daemon.logged("store.waiting", times=2)
    assert waiting["level"] == "warning"
    await store_server.start()
    await daemon.ready()
    await create(daemon.url, "a")
    assert await queued(daemon.url) == 1


async def test_sigterm_ends_the_wait_for_a_store(
    daemons: Daemons, store_server: StoreServer
) -> None:
    daemon = await daemons.begin("--store", store_server.url)
    await daemon.logged("store.waiting")
    daemon.terminate()
    assert await daemon.wait() == 0
    assert daemon.said == []


async def test_a_newer_store_is_refused_and_left_alone(
    daemons: Daemons, store_url: str, prefix: str
) -> None:
    key = ClientKeys(prefix).store
    newer = msgpack.packb([SCHEMA_VERSION + 1, "identity", 1, 0, "of the future"])
    raw = await Raw.open(store_url)
    try:
        await raw("SET", key, newer)
        line = await refused(await daemons.begin("--store", store_url, "--prefix", prefix), 1)
        assert str(SCHEMA_VERSION + 1) in line
        assert await raw("GET", key) == newer
        assert await raw.keys(f"{prefix}:".encode()) == {key}
    finally:
        await raw.clear(f"{prefix}:".encode())
        await raw.close()

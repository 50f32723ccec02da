"""`packhorse serve --processes`: several brokers behind one address, started and ended together."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import msgpack
import pytest

import packhorse
from packhorse import Context, Worker
from packhorse_broker.store.keys import ClientKeys
from packhorse_broker.store.schema import SCHEMA_VERSION
from packhorse_protocol.messages import Drain, Info
from tests.support.daemon import Argument, Daemon, Daemons
from tests.support.inspection import Raw
from tests.support.requests import complete, count, create, take
from tests.support.store_server import StoreServer
from tests.support.wire import Wire

Connect = Callable[..., Awaitable[Wire]]
Flags = tuple[Argument, ...]

TWO: Final = ("--processes", "2", "--sweep-ms", "100", "--last-response-flush-ms", "100")

MOST_CONNECTIONS: Final = 100
"""That two processes take in turns by chance, before one of them has had none."""


@pytest.fixture(params=["embedded", "external"])
def store(request: pytest.FixtureRequest, store_url: str, prefix: str, tmp_path: Path) -> Flags:
    """Where jobs are kept."""
    if request.param == "embedded":
        return ("--data-dir", tmp_path / "data")
    return ("--store", store_url, "--prefix", prefix)


async def at_each(connect: Connect, url: str) -> tuple[Wire, Wire]:
    """A client of each of two processes."""
    first = await connect(url)
    for _ in range(MOST_CONNECTIONS):
        other = await connect(url)
        if other.welcome.broker != first.welcome.broker:
            return first, other
        await other.close()
    raise AssertionError(f"all connections came to {first.welcome.broker}")


async def failed(daemon: Daemon, status: int) -> str:
    """The one line with which a daemon ends."""
    assert await daemon.wait() == status, daemon.said
    [line] = daemon.said
    assert line.startswith("error: ")
    return line


async def test_jobs_created_at_one_process_run_at_another(
    daemons: Daemons, connect: Connect, store: Flags
) -> None:
    daemon = await daemons.start(*TWO, *store)
    creator, runner = await at_each(connect, daemon.url)
    await take(runner, 10)
    await create(creator, "a", "b", handle=True)
    claims = await runner.claims(2)
    await complete(runner, *claims)
    assert {outcome.job for outcome in await creator.outcomes(2)} == {"a", "b"}


async def test_a_killed_process_is_started_again_and_nothing_is_lost(
    daemons: Daemons, store: Flags
) -> None:
    daemon = await daemons.start(*TWO, *store)
    killed = daemon.processes[1]
    worker = Worker(daemon.url, concurrency=4, timeout="30s")
    go_on = asyncio.Event()
    runs: list[int] = []

    @worker.job("t")
    async def work(ctx: Context, n: int) -> int:
        runs.append(n)
        await go_on.wait()
        return n

    async with worker, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(packhorse.connect(daemon.url)) for _ in range(6)]
        jobs = [
            await client.create("t", n, job_id=f"j-{n}", attempts=3, handle=True)
            for n, client in enumerate(clients)
        ]
        os.kill(killed, signal.SIGKILL)
        assert (await daemon.logged("process.ended"))["status"] == -signal.SIGKILL
        go_on.set()
        for n, job in enumerate(jobs):
            assert (await job.outcome(timeout="60s")).result() == n
    assert sorted(runs) == list(range(6))
    again = await daemon.logged("process.ready", times=3)
    assert again["process"] == 1
    assert daemon.processes[1] != killed
    daemon.terminate()
    assert await daemon.wait() == 0
    assert daemon.said == []


async def test_a_process_that_was_started_again_takes_its_share(
    daemons: Daemons, connect: Connect, store: Flags
) -> None:
    daemon = await daemons.start(*TWO, *store)
    os.kill(daemon.processes[2], signal.SIGKILL)
    await daemon.logged("process.ready", times=3)
    await at_each(connect, daemon.url)


async def test_one_that_is_told_to_end_drains_and_is_started_again(
    daemons: Daemons, connect: Connect, store: Flags
) -> None:
    daemon = await daemons.start(*TWO, *store, "--drain-ms", "60000")
    brokers = {line["broker"]: line["process"] for line in daemon.log if "broker" in line}
    wires = await at_each(connect, daemon.url)
    [leaving] = [wire for wire in wires if brokers[wire.welcome.broker] == 1]
    os.kill(daemon.processes[1], signal.SIGTERM)
    await leaving.push(Drain)
    # While it drains all new connections come to the other.
    for _ in range(10):
        assert brokers[(await connect(daemon.url)).welcome.broker] == 2
    await leaving.close()
    assert (await daemon.logged("process.ended"))["status"] == 0
    await daemon.logged("process.ready", times=3)


async def test_clients_leave_a_process_that_drains_for_another(
    daemons: Daemons, store: Flags
) -> None:
    daemon = await daemons.start(*TWO, *store, "--drain-ms", "3600000", "--broker-name", "b")
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(packhorse.connect(daemon.url)) for _ in range(6)]
        os.kill(daemon.processes[1], signal.SIGTERM)
        for n, client in enumerate(clients):
            await client.create("t", n, job_id=f"j-{n}")
        # Nobody stays until the grace is over.
        assert (await daemon.logged("process.ended"))["status"] == 0
        counts = await clients[0].counts("t")
        assert counts.types["t"]["QUEUED"] == 6


async def test_sigterm_drains_all(daemons: Daemons, connect: Connect, store: Flags) -> None:
    daemon = await daemons.start(*TWO, *store, "--drain-ms", "60000")
    wires = await at_each(connect, daemon.url)
    await create(wires[0], "a")
    daemon.terminate()
    for wire in wires:
        await wire.push(Drain)
    with pytest.raises(OSError):
        await Wire.dial(daemon.url)
    for wire in wires:
        # Those who are still there are served.
        await wire.ask(Info)
        await wire.close()
    assert await daemon.wait() == 0
    assert daemon.said == []
    assert daemon.count("broker.drain_timeout") == 0
    assert daemon.count("broker.closed") == 2
    again = await daemons.start(*TWO, *store)
    assert await count(await connect(again.url), "QUEUED") == 1


async def test_signals_to_all_processes_at_once_are_one_request(
    daemons: Daemons, connect: Connect, store: Flags
) -> None:
    daemon = await daemons.start(*TWO, *store, "--drain-ms", "60000")
    wires = await at_each(connect, daemon.url)
    daemon.terminate()
    for wire in wires:
        await wire.push(Drain)
    for pid in daemon.processes.values():
        os.kill(pid, signal.SIGTERM)
    await daemon.logged("signal.received", times=3)
    for wire in wires:
        await wire.ask(Info)
        await wire.close()
    assert await daemon.wait() == 0


async def test_a_second_sigterm_waits_for_nobody(
    daemons: Daemons, connect: Connect, store: Flags
) -> None:
    daemon = await daemons.start(*TWO, *store, "--drain-ms", "3600000")
    wires = await at_each(connect, daemon.url)
    daemon.terminate()
    for wire in wires:
        await wire.push(Drain)
    daemon.terminate()
    assert await daemon.wait() == 0


async def test_processes_end_after_a_killed_supervisor(
    daemons: Daemons, connect: Connect, store: Flags
) -> None:
    daemon = await daemons.start(*TWO, *store)
    wires = await at_each(connect, daemon.url)
    await create(wires[0], "a")
    daemon.kill()
    for wire in wires:
        await wire.push(Drain)
        await wire.close()
    # It has ended when nobody holds its outputs any more.
    assert await daemon.wait() == -signal.SIGKILL
    again = await daemons.start(*TWO, *store, listen=daemon.url)
    assert await count(await connect(again.url), "QUEUED") == 1


async def test_the_end_of_the_embedded_store_ends_all(daemons: Daemons, tmp_path: Path) -> None:
    daemon = await daemons.start(*TWO, "--data-dir", tmp_path)
    os.kill((await daemon.logged("store.ready"))["pid"], signal.SIGKILL)
    assert "the embedded store ended by itself" in await failed(daemon, 1)


async def test_processes_share_a_unix_socket(
    daemons: Daemons, connect: Connect, store: Flags, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    daemon = await daemons.start(*TWO, *store, "--drain-ms", "0", listen=f"unix://{path}")
    assert daemon.url == f"unix://{path}"
    assert path.stat().st_mode & 0o777 == 0o600
    await (await connect(daemon.url)).ask(Info)
    # The socket outlives each of its processes.
    for number, end in ((1, signal.SIGTERM), (2, signal.SIGKILL)):
        os.kill(daemon.processes[number], end)
        await daemon.logged("process.ready", times=2 + number)
        await (await connect(daemon.url)).ask(Info)
    daemon.terminate()
    assert await daemon.wait() == 0
    assert not path.exists()


async def test_each_process_has_its_name_and_its_number_in_the_log(
    daemons: Daemons, connect: Connect, store: Flags
) -> None:
    daemon = await daemons.start(*TWO, *store, "--broker-name", "b")
    wires = await at_each(connect, daemon.url)
    assert {wire.welcome.broker for wire in wires} == {"b-1", "b-2"}
    await daemon.logged("broker.ready", times=2)
    numbers = {
        line["process"]: line["broker"] for line in daemon.log if line["event"] == "broker.ready"
    }
    assert numbers == {1: "b-1", 2: "b-2"}


async def test_a_taken_port_is_named_by_those_who_share_it_too(
    daemons: Daemons, store_url: str, prefix: str, tmp_path: Path
) -> None:
    flags = ("--store", store_url, "--prefix", prefix)
    holder = await daemons.start(*TWO, *flags)
    for processes in ("1", "2"):
        other = await daemons.begin(
            "--processes", processes, "--data-dir", tmp_path, listen=holder.url
        )
        assert holder.url.rpartition(":")[2] in await failed(other, 1)


async def test_a_port_is_taken_before_anybody_listens_on_it(
    daemons: Daemons, store_server: StoreServer, tmp_path: Path
) -> None:
    """Two that wait for their stores must not come to share a port in the end."""
    before = await daemons.start("--data-dir", tmp_path / "a")
    before.terminate()
    assert await before.wait() == 0
    waiting = await daemons.begin(*TWO, "--store", store_server.url, listen=before.url)
    await waiting.logged("store.waiting")
    other = await daemons.begin(*TWO, "--data-dir", tmp_path / "b", listen=before.url)
    assert before.url.rpartition(":")[2] in await failed(other, 1)
    waiting.terminate()
    assert await waiting.wait() == 0


async def test_what_no_process_can_start_with_is_said_once(
    daemons: Daemons, store_url: str, prefix: str
) -> None:
    newer = msgpack.packb([SCHEMA_VERSION + 1, "identity", 1, 0, "of the future"])
    raw = await Raw.open(store_url)
    try:
        await raw("SET", ClientKeys(prefix).store, newer)
    finally:
        await raw.close()
    daemon = await daemons.begin(*TWO, "--store", store_url, "--prefix", prefix)
    line = await failed(daemon, 1)
    assert str(SCHEMA_VERSION + 1) in line
    assert daemon.count("process.started") == 2


@pytest.mark.parametrize(
    "flags",
    [
        ("--processes", "-1"),
        ("--processes", "many"),
        ("--processes", "257"),
        ("--processes", "2", "--broker-name", "b" * 61),
        ("--processes", "2", "--heartbeat-ms", "1"),
    ],
)
async def test_a_wrong_setting_is_said_once(
    daemons: Daemons, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    daemon = await daemons.begin("--data-dir", tmp_path / "none", *flags)
    assert flags[-2] in await failed(daemon, 2)
    assert daemon.count("process.started") == 0
    assert not (tmp_path / "none").exists()


async def test_variables_and_files_set_it_and_0_stands_for_cores(
    daemons: Daemons, store_url: str, prefix: str, tmp_path: Path
) -> None:
    file = tmp_path / "broker.toml"
    file.write_text("processes = 0\n")
    flags = ("--store", store_url, "--prefix", prefix)
    cores = len(os.sched_getaffinity(0))
    from_file = await daemons.start("--config", file, *flags)
    assert len(from_file.processes) == (cores if cores > 1 else 0)
    from_variable = await daemons.begin(*flags, environ={"PACKHORSE_PROCESSES": "3"})
    await from_variable.ready()
    assert len(from_variable.processes) == 3

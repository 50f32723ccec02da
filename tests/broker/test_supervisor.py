"""Processes that do not start, and such as do not end."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from packhorse_broker import supervised, supervisor
from packhorse_broker.config import Config
from packhorse_broker.end_requests import EndRequests
from packhorse_broker.shared_addresses import SharedAddresses
from packhorse_broker.supervised import ProcessFailed
from packhorse_broker.supervisor import Supervisor
from tests.support.log_lines import LogLines

WAIT_S = 60
"""Far above what anything takes."""


class Running:
    """Two processes, and the requests that end them."""

    def __init__(self, requests: EndRequests, task: asyncio.Task[None]) -> None:
        self.requests = requests
        self.task = task
        self.ready = asyncio.Event()


@asynccontextmanager
async def running(store_url: str, prefix: str) -> AsyncIterator[Running]:
    config = Config(
        processes=2, listen=("tcp://127.0.0.1:0",), prefix=prefix, drain_ms=0, store_timeout_ms=50
    )
    shared = SharedAddresses.reserve(config.listen)
    requests = EndRequests()
    ready = asyncio.Event()
    task = asyncio.create_task(Supervisor(config, store_url, shared, requests).run(ready.set, None))
    found = Running(requests, task)
    found.ready = ready
    try:
        async with asyncio.timeout(WAIT_S):
            yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        shared.close()


def instead_of_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> Path:
    """Each process is this script, which says at each start so in the file that is returned."""
    program, starts = tmp_path / "program", tmp_path / "starts"
    program.write_text(
        f"#!{sys.executable} -IS\nimport os, sys\n"
        f"open({str(starts)!r}, 'a').write('start\\n')\n{script}\n"
    )
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(supervised, "FIRST_PAUSE_MS", 1)
    return starts


def starts_in(file: Path) -> int:
    return len(file.read_text().splitlines())


async def test_processes_that_never_become_ready_end_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store_url: str, prefix: str
) -> None:
    starts = instead_of_processes(monkeypatch, tmp_path, "sys.exit(3)")
    async with running(store_url, prefix) as found:
        with pytest.raises(ProcessFailed, match=r"ended 5 times before it was ready: status 3"):
            await found.task
    assert 5 <= starts_in(starts) <= 10


async def test_what_a_process_says_at_its_first_start_ends_all_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store_url: str, prefix: str
) -> None:
    said = '{"type": "failed", "problem": "no such luck"}\n'
    # What is unread at its end would reset the connection, and what it said be lost.
    read = "os.read(int(sys.argv[-1]), 1 << 20)"
    script = f"{read}\nos.write(int(sys.argv[-1]), {said.encode()!r})\nsys.exit(1)"
    starts = instead_of_processes(monkeypatch, tmp_path, script)
    async with running(store_url, prefix) as found:
        with pytest.raises(ProcessFailed, match=r"^no such luck$"):
            await found.task
    assert starts_in(starts) <= 2


async def test_a_process_that_the_system_does_not_start_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store_url: str, prefix: str
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    async with running(store_url, prefix) as found:
        with pytest.raises(ProcessFailed, match="can't start a process: No such file"):
            await found.task


async def test_a_request_ends_processes_that_wait_to_be_started_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store_url: str, prefix: str
) -> None:
    instead_of_processes(monkeypatch, tmp_path, "sys.exit(3)")
    monkeypatch.setattr(supervised, "FIRST_PAUSE_MS", 3_600_000)
    lines = LogLines()
    async with running(store_url, prefix) as found:
        for _ in range(2):
            await lines.of("process.ended")
        found.requests.first.set()
        await found.task


@pytest.mark.parametrize("requests", [1, 2])
async def test_a_process_that_does_not_end_is_killed(
    monkeypatch: pytest.MonkeyPatch, store_url: str, prefix: str, requests: int
) -> None:
    pids: list[int] = []
    start = asyncio.create_subprocess_exec

    async def noted(*arguments: str, **options: object) -> asyncio.subprocess.Process:
        process = await start(*arguments, **options)  # type: ignore[arg-type]
        pids.append(process.pid)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    monkeypatch.setattr(supervisor, "CLOSE_MS", 200)
    async with running(store_url, prefix) as found:
        await found.ready.wait()
        os.kill(pids[0], signal.SIGSTOP)
        found.requests.first.set()
        if requests == 2:
            found.requests.second.set()
        await found.task
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

"""`packhorse work`: a worker by the name of its module."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from packhorse_broker.local import LocalBroker
from tests.client.terminal import run

MODULE = """
import packhorse

worker = packhorse.Worker()
number = 5


@worker.job("double")
async def double(n: int) -> int:
    return 2 * n
"""


@pytest_asyncio.fixture
async def broker(store_url: str, prefix: str) -> AsyncIterator[LocalBroker]:
    listen = ("tcp://127.0.0.1:0",)
    async with LocalBroker(store_url=store_url, prefix=prefix, listen=listen) as broker:
        yield broker


async def test_a_worker_runs_until_it_is_told_to_stop(broker: LocalBroker, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(MODULE)
    command = ("-m", "packhorse.cli", "work", "app", "--url", broker.addresses[0])
    async with broker.connect() as client:
        job = await client.create("double", {"n": 4}, handle=True)
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=tmp_path, stderr=asyncio.subprocess.PIPE
        )
        assert await job.result() == 8
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nowhere", "there is no module 'nowhere'"),
        (":worker", "names no module"),
        ("app_for_work:number", "has no packhorse.Worker called 'number'"),
        ("app_for_work:nobody", "has no packhorse.Worker called 'nobody'"),
    ],
)
def test_what_is_no_worker(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    target: str,
    said: str,
) -> None:
    (tmp_path / "app_for_work.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = run(capsys, "work", target)
    assert (found.status, found.out) == (2, "")
    assert said in found.err

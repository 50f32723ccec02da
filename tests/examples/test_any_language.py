"""The client in another language: its jobs, and those of others, byte for byte."""

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from packhorse import Client
from packhorse_broker.local import LocalBroker

PROGRAM: Final = Path(__file__).parents[2] / "examples" / "any-language" / "packhorse.pl"
PERL: Final = shutil.which("perl")
MAX_LINES: Final = 200

WAIT_S: Final = 60
"""Far above what anything takes: it ends a wait for what never comes."""

pytestmark = pytest.mark.skipif(PERL is None, reason="perl is not installed")


class Perl:
    """Starts the program; what still runs at the end is killed."""

    def __init__(self, url: str) -> None:
        self._environment = {**os.environ, "PACKHORSE_URL": url}
        self.started: list[Process] = []

    async def start(self, *arguments: str) -> Process:
        assert PERL is not None
        process = await asyncio.create_subprocess_exec(
            *(PERL, str(PROGRAM), *arguments),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=self._environment,
        )
        self.started.append(process)
        return process

    async def run(self, *arguments: str, given: bytes = b"") -> tuple[int | None, bytes, bytes]:
        """Its exit status, and what it printed on both outputs."""
        process = await self.start(*arguments)
        async with asyncio.timeout(WAIT_S):
            out, err = await process.communicate(given)
        return process.returncode, out, err


@pytest.fixture
async def broker(store_url: str, prefix: str) -> AsyncIterator[LocalBroker]:
    listen = ("tcp://127.0.0.1:0",)
    async with LocalBroker(store_url=store_url, prefix=prefix, listen=listen) as local:
        yield local


@pytest.fixture
async def perl(broker: LocalBroker) -> AsyncIterator[Perl]:
    perl = Perl(broker.addresses[0])
    yield perl
    for process in perl.started:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
async def client(broker: LocalBroker) -> AsyncIterator[Client]:
    async with broker.connect() as client:
        yield client


def test_it_is_short() -> None:
    assert len(PROGRAM.read_text("utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize(
    "payload", [b"", bytes(range(256)), bytes(range(256)) * 4_000, "Grüße, 世界 ✓".encode()]
)
async def test_its_runner_runs_what_we_create(perl: Perl, client: Client, payload: bytes) -> None:
    await perl.start("run", "same", "cat")
    job = await client.create("same", payload=payload, handle=True)
    assert (await job.outcome(timeout=WAIT_S)).data == payload


async def test_it_handles_what_it_creates(perl: Perl) -> None:
    await perl.start("run", "großes", "tr", "a-z", "A-Z")
    assert await perl.run("handle", "großes", "hello") == (0, b"HELLO", b"")


async def test_it_tells_why_a_job_failed(perl: Perl) -> None:
    await perl.start("run", "bad", "sh", "-c", "echo no way >&2; exit 3")
    status, out, err = await perl.run("handle", "bad", "x")
    assert (status, out) == (1, b"")
    assert err == b"FAILED exit status 3: no way\n\n"


async def test_it_creates_any_bytes(perl: Perl, client: Client) -> None:
    payload = bytes(range(256))
    status, out, _ = await perl.run("create", "mine", "-", given=payload)
    assert status == 0
    view = await client.job(out.decode().strip()).get()
    assert (view.type, view.payload) == ("mine", payload)


async def test_its_runner_ends_its_job_and_leaves(
    perl: Perl, client: Client, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    runner = await perl.start("run", "slow", "sh", "-c", f"cat {gate}")
    job = await client.create("slow", handle=True)
    opened = await asyncio.to_thread(gate.open, "wb", buffering=0)  # when the command reads
    with opened:
        runner.send_signal(signal.SIGTERM)
        later = await client.create("slow")
        opened.write(b"done")
    assert (await job.outcome(timeout=WAIT_S)).data == b"done"
    async with asyncio.timeout(WAIT_S):
        assert await runner.wait() == 0
    assert (await later.get()).state == "QUEUED"


async def test_a_cancel_ends_its_command(perl: Perl, client: Client) -> None:
    await perl.start("run", "long", "sleep", "600")
    job = await client.create("long", handle=True)
    async for event in job.events():
        if event.state == "STARTED":
            break
    await job.cancel()
    assert (await job.outcome(timeout=WAIT_S)).reason == "CANCELLED"

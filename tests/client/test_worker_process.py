"""A worker as a process of its own: what its signals do."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

import packhorse
from packhorse_broker.local import LocalBroker

SCRIPT = """
import asyncio
import sys
import threading

import packhorse

worker = packhorse.Worker(sys.argv[1], shutdown_timeout="1m")


@worker.job("short")
async def short(ctx: packhorse.Context) -> str:
    await ctx.log("begun")
    await asyncio.sleep(0.2)
    return "done"


@worker.job("endless")
async def endless(ctx: packhorse.Context) -> None:
    await ctx.log("begun")
    await asyncio.Event().wait()


@worker.job("stuck")
def stuck(ctx: packhorse.ThreadContext) -> None:
    ctx.log("begun")
    threading.Event().wait()


asyncio.run(worker.run())
"""


@pytest_asyncio.fixture
async def broker(store_url: str, prefix: str) -> AsyncIterator[LocalBroker]:
    listen = ("tcp://127.0.0.1:0",)
    async with LocalBroker(store_url=store_url, prefix=prefix, listen=listen) as broker:
        yield broker


async def begun(job: packhorse.Job) -> None:
    """Returns when the job has said so."""
    await anext(job.logs(follow=True))


async def started(broker: LocalBroker) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT, broker.addresses[0], stderr=asyncio.subprocess.PIPE
    )


async def test_the_first_signal_waits_for_what_runs(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        job = await client.create("short", persistent=True)
        process = await started(broker)
        await begun(job)
        process.send_signal(signal.SIGTERM)
        _, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")
        assert await job.result() == "done"
        assert (await client.info()).clients == 1


async def test_the_second_signal_gives_everything_back(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        jobs = [await client.create(job_type) for job_type in ("endless", "stuck")]
        process = await started(broker)
        for job in jobs:
            await begun(job)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")
        for job in jobs:
            view = await job.get()
            assert (view.state, view.released, view.current_attempt) == ("QUEUED", 1, 0)
        assert (await client.info()).clients == 1


UNGUARDED = """
import asyncio
import sys

import packhorse

worker = packhorse.Worker(sys.argv[1])


@worker.job("t", process=True)
def work() -> str:
    return "done"


{guard}asyncio.run(worker.run())
"""


async def test_functions_of_a_script_run_in_processes(broker: LocalBroker, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED.format(guard='if __name__ == "__main__":\n    '))
    async with broker.connect() as client:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), broker.addresses[0], stderr=asyncio.subprocess.PIPE
        )
        assert await client.run("t") == "done"
        process.send_signal(signal.SIGTERM)
        _, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")


ENDLESS = """
import asyncio
import os
import sys
import time

import packhorse

worker = packhorse.Worker(sys.argv[1])


@worker.job("t", process=True)
def work(ctx: packhorse.ProcessContext) -> None:
    ctx.log(str(os.getpid()))
    time.sleep(60)


if __name__ == "__main__":
    asyncio.run(worker.run())
"""


async def test_processes_do_not_outlive_their_worker(broker: LocalBroker, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(ENDLESS)
    async with broker.connect() as client:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), broker.addresses[0]
        )
        job = await client.create("t")
        pid = int((await anext(job.logs(follow=True))).message)
        ending = os.pidfd_open(pid)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(ending, ended.set)
        process.kill()
        await process.wait()
        await ended.wait()
        asyncio.get_running_loop().remove_reader(ending)
        os.close(ending)


async def test_a_script_without_a_guard_is_told(broker: LocalBroker, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED.format(guard=""))
    async with broker.connect() as client:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), broker.addresses[0], stderr=asyncio.subprocess.PIPE
        )
        with pytest.raises(packhorse.JobFailed, match="the process ended with exit code 1"):
            await client.run("t")
        process.send_signal(signal.SIGTERM)
        _, err = await process.communicate()
    assert process.returncode == 0
    assert b'run the worker under if __name__ == "__main__"' in err

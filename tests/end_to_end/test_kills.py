"""kill -9 of every process there is, while jobs run: nothing is lost, nothing is run too often."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import packhorse
from packhorse import Context, Worker
from packhorse_protocol.messages import Create, Info, NewJob, Problem
from tests.support.daemon import Daemon, Daemons, environment
from tests.support.store_server import StoreServer
from tests.support.wire import Wire

Connect = Callable[..., Awaitable[Wire]]

CREATOR = ("create", "read")
"""A raw client that runs nothing: the broker has nothing to look up when it has connected."""

WAIT_S = 60
"""Far above what anything takes."""

QUICK = ("--sweep-ms", "100", "--last-response-flush-ms", "100")
"""A runner that died is noticed soon after its own timeout."""

RUNNER = """
import asyncio
import sys
import packhorse

url, name, holds = sys.argv[1:]
worker = packhorse.Worker(url, client_id=name, timeout="1s")


@worker.job("t")
async def work(ctx: packhorse.Context, n: int) -> list[object]:
    await ctx.log(name)
    if holds == "holds":
        await asyncio.Event().wait()
    return [n, name, ctx.attempt, ctx.fence]


asyncio.run(worker.run())
"""


@asynccontextmanager
async def runner(url: str, name: str, *, holds: bool) -> AsyncIterator[asyncio.subprocess.Process]:
    """A runner process; one that holds never ends a job."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", RUNNER, url, name, "holds" if holds else "ends"),
        env=environment(),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def begun(job: packhorse.Job) -> str:
    """Waits until a runner has begun the job; its name."""
    async with asyncio.timeout(WAIT_S):
        return (await anext(job.logs(follow=True))).message


class Held:
    """A worker in this process whose jobs wait for `go_on`."""

    def __init__(self, url: str) -> None:
        self.ran: list[tuple[str, int]] = []
        """Name and attempt of each run."""
        self._begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.worker = Worker(url, timeout="30s")
        self.worker.job("t")(self._work)

    async def begun(self) -> None:
        """Waits until a job runs."""
        async with asyncio.timeout(WAIT_S):
            await self._begun.wait()

    async def _work(self, ctx: Context, name: str) -> str:
        self.ran.append((name, ctx.attempt))
        self._begun.set()
        await self.go_on.wait()
        return name


async def test_the_jobs_of_a_killed_runner_go_to_another(
    daemons: Daemons, store_url: str, prefix: str
) -> None:
    daemon = await daemons.start("--store", store_url, "--prefix", prefix, *QUICK)
    async with packhorse.connect(daemon.url) as client:
        jobs = [await client.create("t", n, attempts=3, handle=True) for n in range(3)]
        async with runner(daemon.url, "first", holds=True) as first:
            assert [await begun(job) for job in jobs] == ["first"] * 3
            async with runner(daemon.url, "second", holds=False):
                first.kill()
                outcomes = [await job.outcome(timeout="60s", handled=False) for job in jobs]
        for n, (job, outcome) in enumerate(zip(jobs, outcomes, strict=True)):
            assert outcome.result() == [n, "second", 2, 2]
            view = await job.get()
            assert (view.lost, view.failed, view.released) == (1, 0, 0)
            await outcome.handled()


async def test_the_last_attempt_of_a_killed_runner_fails_the_job(
    daemons: Daemons, store_url: str, prefix: str
) -> None:
    daemon = await daemons.start("--store", store_url, "--prefix", prefix, *QUICK)
    async with packhorse.connect(daemon.url) as client:
        job = await client.create("t", 1, attempts=1, handle=True)
        async with runner(daemon.url, "first", holds=True) as first:
            await begun(job)
            first.kill()
            outcome = await job.outcome(timeout="60s")
    assert not outcome.ok
    assert outcome.reason == "RUNNER_TIMEOUT"


async def test_jobs_outlive_a_killed_daemon(daemons: Daemons, tmp_path: Path) -> None:
    daemon = await daemons.start("--data-dir", tmp_path)
    url = daemon.url
    held = Held(url)
    async with held.worker, packhorse.connect(url) as client:
        running = await client.create("t", "running", attempts=3, handle=True)
        await held.begun()
        kept = [
            await client.create("later", n, job_id=f"kept-{n}", persistent=True) for n in range(50)
        ]
        daemon.kill()
        await daemon.wait()
        held.go_on.set()
        during = asyncio.create_task(client.create("t", "during", handle=True))
        await daemons.start("--data-dir", tmp_path, listen=url)
        outcome = await running.outcome(timeout="60s")
        assert (outcome.result(), outcome.attempt) == ("running", 1)
        assert await (await during).result(timeout="60s") == "during"
        assert sorted(held.ran) == [("during", 1), ("running", 1)]
        assert [(await job.get()).state for job in kept] == ["QUEUED"] * len(kept)


async def test_the_daemon_ends_with_its_embedded_store(daemons: Daemons, tmp_path: Path) -> None:
    daemon = await daemons.start("--data-dir", tmp_path)
    async with packhorse.connect(daemon.url) as client:
        await client.create("t", job_id="kept", persistent=True)
        os.kill((await daemon.logged("store.ready"))["pid"], signal.SIGKILL)
        assert await daemon.wait() == 1
    [line] = daemon.said
    assert line.startswith("error: ")
    assert "store ended" in line
    again = await daemons.start("--data-dir", tmp_path)
    async with packhorse.connect(again.url) as client:
        assert (await client.get("kept")).state == "QUEUED"


async def outlast(daemon: Daemon, sweeps: int) -> None:
    """Waits until so many more sweeps of the daemon have found no store."""
    event = "sweep.store_unavailable"
    await daemon.logged(event, times=daemon.count(event) + sweeps)


async def test_an_outage_of_the_store_removes_nobody(
    daemons: Daemons, store_server: StoreServer, connect: Connect
) -> None:
    await store_server.start()
    daemon = await daemons.start("--store", store_server.url, *QUICK)
    held = Held(daemon.url)
    async with held.worker, packhorse.connect(daemon.url, timeout="2s") as client:
        job = await client.create("t", "a", attempts=3, handle=True)
        await held.begun()
        # This one sends nothing at all, so that its time is over when the store comes back.
        silent = await connect(daemon.url, client="silent", roles=CREATOR, timeout_ms=2_000)
        await store_server.kill()
        held.go_on.set()
        creating = asyncio.create_task(client.create("t", "b", handle=True))
        await outlast(daemon, sweeps=25)
        await store_server.start()
        [info] = await silent.ask(Info)
        assert info.clients == 3
        assert daemon.count("client.removed") == 0
        assert (await job.outcome(timeout="60s")).attempt == 1
        assert await (await creating).result(timeout="60s") == "b"
    assert sorted(held.ran) == [("a", 1), ("b", 1)]


async def test_a_store_that_stays_away_is_an_answer_too(
    daemons: Daemons, store_server: StoreServer, connect: Connect
) -> None:
    await store_server.start()
    daemon = await daemons.start("--store", store_server.url, "--store-timeout-ms", "100")
    wire = await connect(daemon.url, roles=CREATOR)
    await store_server.kill()
    new = NewJob(type="t", id="mine")
    [problem] = await wire.ask(Create, jobs=(new,))
    assert (problem.code, problem.retryable) == ("unavailable", True)
    await store_server.start()
    async with asyncio.timeout(WAIT_S):
        while isinstance(problem, Problem):
            assert problem.code == "unavailable"
            [problem] = await wire.ask(Create, jobs=(new,))
    assert (problem.job, problem.existed) == ("mine", False)

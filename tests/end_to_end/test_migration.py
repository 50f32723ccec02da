"""A release with another schema: its step over 10,000 jobs while a broker of this one works."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgpack

import packhorse
from packhorse import Context, NewJob, Worker
from packhorse_broker.store.keys import ClientKeys, PartitionKeys
from tests.support.daemon import Daemon, Daemons, Ended, environment
from tests.support.daemon import packhorse as command
from tests.support.inspection import Raw
from tests.support.next_release import is_full
from tests.support.store_server import StoreServer

JOBS: Final = 10_000
KILLED_AFTER: Final = 4_000
WAIT_S: Final = 90
"""Far above what anything takes."""

ROOT: Final = Path(__file__).parents[2]
NEXT: Final = (sys.executable, "-m", "tests.support.next_release")
QUICK: Final = ("--sweep-ms", "100", "--last-response-flush-ms", "100")


async def next_release(*arguments: str, killed_after: int | None = None) -> Ended:
    """A command of the later release, run to its end."""
    extra = {} if killed_after is None else {"KILLED_AFTER": str(killed_after)}
    process = await asyncio.create_subprocess_exec(
        *(*NEXT, *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(extra),
    )
    async with asyncio.timeout(WAIT_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode().splitlines(), err.decode().splitlines())


class Work:
    """Jobs that are created and run all the time, at a broker of the older release."""

    def __init__(self, url: str) -> None:
        self.done = 0
        self.begun = asyncio.Event()
        """Set once a job was done and another is kept."""
        self.ending = False
        self._url = url

    async def go_on(self) -> None:
        worker = Worker(self._url)

        @worker.job("echo")
        async def echo(ctx: Context, number: int) -> int:
            await ctx.log(f"{number}")
            return number

        async with worker, packhorse.connect(self._url) as client:
            while not self.ending:
                job = await client.create("echo", self.done, handle=True)
                assert await job.result() == self.done
                kept = NewJob("kept", self.done, job_id=f"new-{self.done}", persistent=True)
                await client.create_many([kept])
                self.done += 1
                self.begun.set()


@asynccontextmanager
async def at_work(daemon: Daemon) -> AsyncIterator[Work]:
    work = Work(daemon.url)
    async with asyncio.TaskGroup() as together:
        together.create_task(work.go_on())
        yield work
        work.ending = True


async def records(raw: Raw, keys: PartitionKeys) -> list[bytes]:
    found = sorted(await raw.keys(keys.record("")))
    values: list[bytes | None] = await raw("MGET", *found)
    return [value for value in values if value is not None]  # Jobs end meanwhile.


async def test_a_step_is_finished_though_it_was_killed_and_brokers_worked(
    daemons: Daemons, store_server: StoreServer
) -> None:
    await store_server.start()
    store = ("--store", store_server.url)
    keys, client_keys = PartitionKeys("ph", 0), ClientKeys("ph")
    raw = await Raw.open(store_server.url)
    old = await daemons.start(*store, *QUICK)
    async with packhorse.connect(old.url) as client:
        await client.create_many(NewJob("kept", n, job_id=f"job-{n}") for n in range(JOBS))
    looked = await next_release("migrate", "--look", *store)
    assert (looked.status, looked.err) == (0, [])
    assert "to schema version 2: expand, 0 values seen" in looked.out[0]
    assert "brokers of the older release" in looked.out[0]
    refused = await next_release("serve", *store, "--listen", "tcp://127.0.0.1:0")
    assert refused.status == 1
    assert "run `packhorse migrate` first" in refused.err[-1]

    async with at_work(old) as work:
        killed = await next_release("migrate", *store, killed_after=KILLED_AFTER)
        assert killed.status == -signal.SIGKILL
        filled = sum(map(is_full, await records(raw, keys)))
        assert 0 < filled <= KILLED_AFTER
        # Another goes on where it was; it waits for the lease of the one that was killed.
        waiting = await next_release("migrate", *store)
        assert waiting.status == 1
        assert "brokers of the older release run: broker-" in waiting.err[-1]
        assert work.begun.is_set()
    assert old.count("sweep.failed") == 0

    # Brokers of both releases work on the store side by side.
    new = await asyncio.create_subprocess_exec(
        *(*NEXT, "serve", *store, *QUICK, "--listen", "tcp://127.0.0.1:0"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    try:
        successor = Daemon(new)
        await successor.ready()
        async with at_work(successor) as newer, at_work(old) as older:
            await asyncio.gather(newer.begun.wait(), older.begun.wait())
        old.terminate()
        assert await old.wait() == 0
        assert not all(map(is_full, await records(raw, keys)))
        async with at_work(successor) as work:
            done = await next_release("migrate", *store)
        assert (done.status, done.err) == (0, [])
        assert done.out[-1] == "the store has schema version 2: nothing is to be done"
        await successor.logged("store.migrated")
        assert successor.count("store.wiped") == 0
        schema, *_ = msgpack.unpackb(await raw("GET", client_keys.store))
        assert schema == 2
        assert await raw("EXISTS", client_keys.migration) == 0
        kept = [f"job-{number}" for number in range(JOBS)]
        stored = await raw("MGET", *map(keys.record, kept))
        assert all(map(is_full, stored))
        refused = await command("fsck", *store)
        assert "run a newer packhorse" in refused.err[-1]
        assert successor.count("sweep.failed") == 0
    finally:
        if new.returncode is None:
            new.terminate()
        await new.wait()
    await raw.close()


async def test_an_embedded_store_is_migrated_while_its_broker_is_stopped(
    daemons: Daemons, tmp_path: Path
) -> None:
    old = await daemons.start("--data-dir", tmp_path)
    async with packhorse.connect(old.url) as client:
        await client.create("kept", 1, job_id="kept", persistent=True)
    old.terminate()
    assert await old.wait() == 0
    done = await next_release("migrate", "--data-dir", str(tmp_path))
    assert (done.status, done.err) == (0, [])
    assert done.out[-1] == "the store has schema version 2: nothing is to be done"
    again = await next_release("migrate", "--look", "--data-dir", str(tmp_path))
    assert again.out == done.out[-1:]
    line = (await next_release("migrate", "--data-dir", str(tmp_path / "none"))).err[-1]
    assert "there is no store" in line

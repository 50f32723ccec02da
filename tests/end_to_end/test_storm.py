"""Round after round of work in which something is killed: at the end of each nothing is missing."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import packhorse
from packhorse import NewJob
from tests.support.daemon import Daemon, Daemons, environment
from tests.support.daemon import packhorse as command
from tests.support.store_server import StoreServer

WAIT_S: Final = 90
"""Far above what a round takes."""

JOBS: Final = 150
"""In each round."""

QUICK: Final = ("--sweep-ms", "100", "--last-response-flush-ms", "100")

RUNNER: Final = """
import asyncio
import sys
import packhorse

worker = packhorse.Worker(sys.argv[1], client_id=sys.argv[2], timeout="1s", concurrency=8)


@worker.job("square")
async def square(ctx: packhorse.Context, number: int) -> int:
    await ctx.progress(50, "half")
    await asyncio.sleep(0.002)
    await ctx.log(f"{number}")
    return number * number


asyncio.run(worker.run())
"""


class Scene:
    """A store, a daemon, three runners; each can be killed and comes back."""

    def __init__(self, daemons: Daemons, store: StoreServer) -> None:
        self.store = store
        self._daemons = daemons
        self._daemon: Daemon | None = None
        self._url = ""
        self._runners: list[asyncio.subprocess.Process] = []
        self._names = iter(range(1_000))

    @property
    def url(self) -> str:
        return self._url

    async def start(self) -> None:
        await self.store.start()
        self._daemon = await self._daemons.start("--store", self.store.url, *QUICK)
        self._url = self._daemon.url
        for _ in range(3):
            await self.start_runner()

    async def start_runner(self) -> None:
        self._runners.append(
            await asyncio.create_subprocess_exec(
                sys.executable,
                *("-c", RUNNER, self._url, f"runner-{next(self._names)}"),
                env=environment(),
            )
        )

    async def kill_runner(self) -> None:
        runner = self._runners.pop(0)
        runner.kill()
        await runner.wait()
        await self.start_runner()

    async def kill_daemon(self) -> None:
        assert self._daemon is not None
        self._daemon.kill()
        await self._daemon.wait()
        self._daemon = await self._daemons.start("--store", self.store.url, *QUICK, listen=self.url)

    async def kill_store(self) -> None:
        await self.store.kill()
        await self.store.start()

    async def end(self) -> None:
        for runner in self._runners:
            runner.kill()
            await runner.wait()


@asynccontextmanager
async def scene(daemons: Daemons, store: StoreServer) -> AsyncIterator[Scene]:
    made = Scene(daemons, store)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(made.end)
        await made.start()
        yield made


async def round_of_work(
    client: packhorse.Client, number: int, kill: Callable[[], Coroutine[Any, Any, None]], at: int
) -> None:
    """Creates jobs, kills when so many outcomes have come, and waits for all of them."""
    ids = {f"{number}-{n}": n for n in range(JOBS)}
    new = [NewJob("square", n, job_id=job, attempts=50) for job, n in ids.items()]
    results: dict[str, object] = {}
    killing: asyncio.Task[None] | None = None
    creating = asyncio.create_task(client.create_many(new, handle=True))
    async for outcome in client.outcomes():
        assert outcome.ok, outcome
        known = results.setdefault(outcome.job, outcome.result())
        assert known == outcome.result()
        if len(results) >= at and killing is None:
            killing = asyncio.create_task(kill())
        if len(results) == len(ids):
            await outcome.handled()
            break
    await creating
    assert killing is not None
    await killing
    assert results == {job: n * n for job, n in ids.items()}


async def test_nothing_is_lost_and_nothing_left_behind(
    daemons: Daemons, store_server: StoreServer
) -> None:
    chance = random.Random(11)
    async with scene(daemons, store_server) as here:
        kills = [here.kill_runner, here.kill_daemon, here.kill_store]
        async with packhorse.connect(here.url, timeout="60s") as client:
            for number, kill in enumerate(kills * 2):
                at = chance.randrange(1, JOBS // 2)
                async with asyncio.timeout(WAIT_S):
                    await round_of_work(client, number, kill, at)
                checked = await command("fsck", "--store", store_server.url)
                assert (checked.status, checked.err) == (0, []), checked.out
            counts = await client.counts("square")
            assert not any(counts.types["square"].values())

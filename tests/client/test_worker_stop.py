"""How a worker ends: what runs is waited for, then given back."""

import asyncio
import threading

import pytest

from packhorse import errors
from packhorse_broker.local import LocalBroker
from tests.client.conftest import MakeWorker
from tests.client.gate import Gate


async def test_leaving_waits_for_what_runs(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker(concurrency=1)
    gate = Gate()

    @worker.job("t")
    async def work() -> str:
        await gate.enter()
        return "done"

    async with broker.connect() as client:
        running, waiting = [await client.create("t", handle=True) for _ in range(2)]
        entered = await worker.__aenter__()
        await gate.has(1)
        leaving = asyncio.create_task(entered.__aexit__(None, None, None))
        await client.info()  # meanwhile the worker has said that it takes no more
        gate.open()
        await leaving
        states = {(await job.get()).state for job in (running, waiting)}
        assert states == {"COMPLETE", "QUEUED"}
        assert (await client.info()).clients == 1


async def test_what_takes_too_long_is_given_back(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker(shutdown_timeout="10ms")
    gate = Gate()

    @worker.job("t")
    async def work() -> None:
        await gate.enter()

    async with broker.connect() as client:
        async with worker:
            job = await client.create("t")
            await gate.has(1)
        view = await job.get()
        assert (view.state, view.released, view.current_attempt) == ("QUEUED", 1, 0)


async def test_an_exception_gives_back_at_once(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker()
    gate = Gate()

    @worker.job("t")
    async def work() -> None:
        await gate.enter()

    async with broker.connect() as client:
        job = await client.create("t")

        async def interrupted() -> None:
            async with worker:
                await gate.has(1)
                raise KeyError

        with pytest.raises(KeyError):
            await interrupted()
        view = await job.get()
        assert (view.state, view.released) == ("QUEUED", 1)


async def test_a_thread_does_not_hold_up_the_end(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker(shutdown_timeout="10ms")
    release, running = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @worker.job("t")
    def work() -> None:
        loop.call_soon_threadsafe(running.set)
        release.wait(20)

    async with broker.connect() as client:
        async with worker:
            job = await client.create("t")
            await running.wait()
        assert (await job.get()).released == 1
    release.set()


async def test_stop_ends_run(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()
    gate = Gate()

    @worker.job("t")
    async def work() -> str:
        await gate.enter()
        return "done"

    async with broker.connect() as client:
        job = await client.create("t", handle=True)
        running = asyncio.create_task(worker.run(install_signals=False))
        await gate.has(1)
        worker.stop()
        await client.info()  # meanwhile the worker has said that it takes no more
        gate.open()
        assert await job.result() == "done"
        await running


async def test_stop_twice_gives_back_at_once(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()
    gate = Gate()

    @worker.job("t")
    async def work() -> None:
        await gate.enter()

    async with broker.connect() as client:
        job = await client.create("t")
        running = asyncio.create_task(worker.run(install_signals=False))
        await gate.has(1)
        worker.stop()
        worker.stop()
        await running
        assert (await job.get()).released == 1


async def test_run_ends_when_the_worker_is_taken_over(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker(client_id="me")
    gate = Gate()

    @worker.job("t")
    async def work() -> None:
        await gate.enter()

    running = asyncio.create_task(worker.run(install_signals=False))
    async with broker.connect() as client:
        await client.create("t")
        await gate.has(1)
    async with broker.connect(client_id="me", secret=worker.client.secret, stay=False):
        with pytest.raises(errors.Superseded):
            await running

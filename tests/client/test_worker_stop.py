"""How a worker ends: what runs is waited for, then given back."""

import asyncio
import socket
import threading

import pytest

from packhorse import Worker, errors
from packhorse_broker.local import LocalBroker
from packhorse_protocol.messages import Claims, Complete, Done, Take
from tests.client.conftest import MakeWorker
from tests.client.gate import Gate
from tests.client.scripted import ScriptedBroker
from tests.client.serving import claim


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


# -- without a broker -----------------------------------------------------------------------------


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as a warning or worse, but for the search for a broker."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelname in ("WARNING", "ERROR")
        and not record.getMessage().startswith(("no broker answers", "connection to"))
    ]


class Noticed:
    """Dials, and tells who waits for it."""

    def __init__(self, scripted: ScriptedBroker) -> None:
        self.tries: asyncio.Queue[None] = asyncio.Queue()
        self._scripted = scripted

    async def dial(self) -> socket.socket:
        self.tries.put_nowait(None)
        return await self._scripted.dial()


async def test_stop_ends_a_worker_that_looks_for_a_broker(
    scripted: ScriptedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.unreachable = True
    noticed = Noticed(scripted)
    worker = Worker(dial=noticed.dial)
    worker.job("t")(lambda: None)
    running = asyncio.create_task(worker.run(install_signals=False))
    await noticed.tries.get()
    worker.stop()
    await running
    assert warned(caplog) == []


async def test_stop_ends_a_worker_that_is_not_answered(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial)
    worker.job("t")(lambda: None)
    running = asyncio.create_task(worker.run(install_signals=False))
    peer = await scripted.accept()
    await peer.welcome()
    await peer.expect(Take)
    await peer.close()
    scripted.unreachable = True
    worker.stop()
    await running


@pytest.mark.parametrize("kind", ["coroutine", "thread", "ended", "idle"])
async def test_an_absent_broker_does_not_hold_up_the_end(
    scripted: ScriptedBroker, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """No release, no `bye` is waited for: a broker that comes back will miss this client."""
    shutdown = "1m" if kind == "idle" else "10ms"
    noticed = Noticed(scripted)
    worker = Worker(dial=noticed.dial, shutdown_timeout=shutdown)
    loop = asyncio.get_running_loop()
    running, end = asyncio.Event(), threading.Event()

    @worker.job("coroutine")
    async def coroutine() -> None:
        running.set()
        await asyncio.Event().wait()

    @worker.job("thread")
    def thread() -> None:
        loop.call_soon_threadsafe(running.set)
        end.wait(20)

    @worker.job("ended")
    async def ended() -> None:
        running.set()

    working = asyncio.create_task(worker.run(install_signals=False))
    peer = await scripted.accept()
    await peer.welcome()
    peer.ok(await peer.expect(Take), Done())
    if kind != "idle":
        peer.send(Claims(claims=(claim("a", job_type=kind),)))
        await running.wait()
    if kind == "ended":
        await peer.expect(Complete)
    scripted.unreachable = True
    await peer.close()
    for _ in range(2):
        await noticed.tries.get()
    worker.stop()
    async with asyncio.timeout(5):
        await working
    end.set()
    lost = "the end of job a was not taken: the client is closed"
    assert warned(caplog) == ([lost] if kind == "ended" else [])

"""Jobs that somebody cancels, with a broker that says what the test wants."""

import asyncio
import threading
from typing import Any

import msgpack
import pytest

from packhorse import Context, ThreadContext, Worker
from packhorse.cancelling import Cancelled, Halt
from packhorse_protocol.messages import Claims, Completion, Failure
from tests.client.scripted import ScriptedBroker
from tests.client.serving import cancel, claim, ended, result, revoke, serving


def test_a_halt_tells_threads_and_the_loop() -> None:
    halt = Halt(threads=True)
    cancelled, revoked = halt.in_threads
    halt.cancel("wrong picture")
    assert (halt.cancelled.is_set(), cancelled.is_set()) == (True, True)
    assert (halt.revoked.is_set(), revoked.is_set()) == (False, False)
    assert str(halt.error()) == "the job was cancelled: wrong picture"
    halt.revoke()
    assert (halt.revoked.is_set(), revoked.is_set()) == (True, True)
    assert str(halt.error()) == "the claim is over"


def test_one_except_serves_all_kinds_of_functions() -> None:
    with pytest.raises(asyncio.CancelledError):
        raise Cancelled


async def test_a_coroutine_is_cancelled(
    scripted: ScriptedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "packhorse")
    worker = Worker(dial=scripted.dial)
    running = asyncio.Event()
    tidied: list[tuple[bool, bool]] = []

    @worker.job("t")
    async def work(ctx: Context) -> None:
        try:
            running.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # cleaning up may take its time
            tidied.append((ctx.cancelled.is_set(), ctx.revoked.is_set()))

    async with serving(scripted, worker) as peer:
        held = claim("a")
        peer.send(Claims(claims=(held,)))
        await running.wait()
        peer.send(cancel(held, why="wrong picture"), cancel(held))
        end = await ended(peer)
    assert isinstance(end, Failure)
    assert (end.error.type, end.retry) == ("Cancelled", False)
    assert end.error.message == "the job was cancelled: wrong picture"
    assert tidied == [(True, False)]
    assert "job a (t) was cancelled" in caplog.messages


@pytest.mark.parametrize("known", [True, False])
async def test_a_job_cancelled_before_it_ran_never_runs(
    scripted: ScriptedBroker, known: bool
) -> None:
    worker = Worker(dial=scripted.dial)
    ran: list[str] = []

    @worker.job("t")
    async def work(ctx: Context) -> None:
        ran.append(ctx.job)

    async with serving(scripted, worker) as peer:
        held, other = claim("a"), claim("b")
        peer.send(Claims(claims=(held,)), cancel(held if known else claim("x")))
        end = await ended(peer)
        assert isinstance(end, Failure if known else Completion)
        await result(peer, other)
    assert ran == ["b"] if known else ["a", "b"]


async def test_what_completes_all_the_same_is_complete(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial)
    running = asyncio.Event()

    @worker.job("t")
    async def work() -> str:
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "half of it"
        return "all of it"

    async with serving(scripted, worker) as peer:
        held = claim("a")
        peer.send(Claims(claims=(held,)))
        await running.wait()
        peer.send(cancel(held))
        end = await ended(peer)
        assert isinstance(end, Completion)
        assert msgpack.unpackb(end.result) == "half of it"


async def test_an_error_while_cleaning_up_is_told(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial)
    running = asyncio.Event()

    @worker.job("t")
    async def work() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("the disk is full")

    async with serving(scripted, worker) as peer:
        held = claim("a")
        peer.send(Claims(claims=(held,)))
        await running.wait()
        peer.send(cancel(held))
        end = await ended(peer)
        assert isinstance(end, Failure)
        assert end.error.type == "OSError"


async def test_a_job_that_does_not_stop_is_revoked_at_last(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial)
    running, deaf = asyncio.Event(), asyncio.Event()
    stopped = asyncio.Event()

    @worker.job("t")
    async def work(ctx: Context) -> None:
        if ctx.job == "b":
            return
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            deaf.set()
        try:
            await asyncio.Event().wait()
        finally:
            assert ctx.revoked.is_set()
            stopped.set()

    async with serving(scripted, worker) as peer:
        held = claim("a")
        peer.send(Claims(claims=(held,)))
        await running.wait()
        peer.send(cancel(held))
        await deaf.wait()
        peer.send(revoke(held), revoke(held), cancel(held))
        await stopped.wait()
        await result(peer, claim("b"))  # the next that is said is of another job


async def test_a_thread_is_told(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial)
    running = asyncio.Event()
    loop = asyncio.get_running_loop()

    @worker.job("t")
    def work(ctx: ThreadContext) -> None:
        ctx.check_cancelled()
        loop.call_soon_threadsafe(running.set)
        assert ctx.cancelled.wait(20)
        assert not ctx.revoked.is_set()
        ctx.check_cancelled()

    async with serving(scripted, worker) as peer:
        held = claim("a")
        peer.send(Claims(claims=(held,)))
        await running.wait()
        peer.send(cancel(held))
        end = await ended(peer)
    assert isinstance(end, Failure)
    assert (end.error.type, end.error.message) == ("Cancelled", "the job was cancelled")


async def test_a_thread_whose_claim_is_over_is_told_too(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial)
    running = asyncio.Event()
    loop = asyncio.get_running_loop()
    told: asyncio.Future[str] = loop.create_future()

    @worker.job("t")
    def work(ctx: ThreadContext) -> None:
        loop.call_soon_threadsafe(running.set)
        assert ctx.cancelled.wait(20)
        try:
            ctx.check_cancelled()
        except Cancelled as error:
            loop.call_soon_threadsafe(told.set_result, str(error))

    async with serving(scripted, worker) as peer:
        held = claim("a")
        peer.send(Claims(claims=(held,)))
        await running.wait()
        peer.send(revoke(held))
        assert await told == "the claim is over"


async def test_a_coroutine_can_ask(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial)
    go_on = threading.Event()
    running = asyncio.Event()

    @worker.job("t")
    async def work(ctx: Context) -> None:
        ctx.check_cancelled()
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            go_on.set()
        ctx.check_cancelled()

    async with serving(scripted, worker) as peer:
        held = claim("a")
        peer.send(Claims(claims=(held,)))
        await running.wait()
        peer.send(cancel(held))
        end: Any = await ended(peer)
    assert go_on.is_set()
    assert end.error.type == "Cancelled"

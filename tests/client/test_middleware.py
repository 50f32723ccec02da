"""What runs around job functions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar

import msgpack
import pytest

from packhorse import Context, Fail, ThreadContext, Worker
from packhorse.middleware import Middleware
from packhorse_protocol.messages import Claims, Done, Failure, WriteLog
from tests.client import process_jobs
from tests.client.scripted import ScriptedBroker
from tests.client.serving import cancel, claim, ended, failure, result, serving


def telling(steps: list[str], name: str) -> Middleware:
    """Notes when it is entered and left, and with what."""

    @asynccontextmanager
    async def around(ctx: Context) -> AsyncIterator[None]:
        steps.append(f"{name} before {ctx.type}")
        try:
            yield
        except BaseException as error:
            steps.append(f"{name} error {type(error).__name__}: {error}")
            raise
        steps.append(f"{name} after {ctx.type}")

    return around


async def test_the_workers_runs_around_the_types(scripted: ScriptedBroker) -> None:
    steps: list[str] = []
    worker = Worker(dial=scripted.dial, middleware=[telling(steps, "first")])
    worker.middleware(telling(steps, "second"))

    @worker.job("t", middleware=[telling(steps, "own")])
    async def work() -> None:
        steps.append("works")

    @worker.job("other")
    def other() -> None:
        raise ValueError("no")

    async with serving(scripted, worker) as peer:
        await result(peer, claim("a"))
        await failure(peer, claim("b", job_type="other"))
    assert steps == [
        "first before t",
        "second before t",
        "own before t",
        "works",
        "own after t",
        "second after t",
        "first after t",
        "first before other",
        "second before other",
        "second error ValueError: no",
        "first error ValueError: no",
    ]


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_context_variables_reach_the_function(scripted: ScriptedBroker, kind: str) -> None:
    worker = Worker(dial=scripted.dial)
    tenant: ContextVar[str] = ContextVar("tenant")

    @worker.middleware
    @asynccontextmanager
    async def known(ctx: Context) -> AsyncIterator[None]:
        token = tenant.set(ctx.headers["tenant"])
        yield
        tenant.reset(token)

    @worker.job("coroutine")
    async def coroutine() -> str:
        return tenant.get()

    @worker.job("function")
    def function() -> str:
        return tenant.get()

    async with serving(scripted, worker) as peer:
        packed = await result(peer, claim("a", job_type=kind, headers={"tenant": "acme"}))
    assert msgpack.unpackb(packed) == "acme"


async def test_an_error_can_be_replaced_or_kept(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial)

    @worker.middleware
    @asynccontextmanager
    async def judge(ctx: Context) -> AsyncIterator[None]:
        try:
            yield
        except LookupError as error:
            raise Fail("gone", retry=False) from error
        except OSError:
            await ctx.log("never mind")

    @worker.job("t")
    async def work(name: str) -> None:
        raise LookupError if name == "lookup" else OSError

    async with serving(scripted, worker) as peer:
        told = await failure(peer, claim("a", "lookup"))
        assert (told.error.message, told.retry) == ("gone", False)
        peer.send(Claims(claims=(claim("b", "os"),)))
        peer.ok(await peer.expect(WriteLog), Done())
        end = await ended(peer)
        assert not isinstance(end, Failure)
        assert end.result == b""


async def test_an_error_before_the_function_fails_the_attempt(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial)
    ran: list[str] = []

    @worker.middleware
    def broken(ctx: Context) -> AbstractAsyncContextManager[None]:
        raise PermissionError("not this one")

    @worker.job("t")
    async def work() -> None:
        ran.append("t")

    async with serving(scripted, worker) as peer:
        assert (await failure(peer, claim("a"))).error.type == "PermissionError"
    assert ran == []


async def test_functions_in_processes_have_it_too(scripted: ScriptedBroker) -> None:
    steps: list[str] = []
    worker = Worker(dial=scripted.dial, middleware=[telling(steps, "it")])
    worker.job("wrong", process=True)(process_jobs.wrong)
    worker.job("pid", process=True)(process_jobs.pid)
    async with serving(scripted, worker) as peer:
        told = await failure(peer, claim("a", job_type="wrong"))
        await result(peer, claim("b", job_type="pid"))
    assert (told.error.type, told.error.message) == ("ValueError", "no such scene")
    assert "in wrong" in told.error.traceback
    assert steps == [
        "it before wrong",
        "it error FailedInProcess: ValueError: no such scene",
        "it before pid",
        "it after pid",
    ]


async def test_a_thread_cancelled_while_it_begins_never_runs(scripted: ScriptedBroker) -> None:
    steps: list[str] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def slow(ctx: Context) -> AsyncIterator[None]:
        begun.set()
        await go_on.wait()
        yield

    worker = Worker(dial=scripted.dial, middleware=[telling(steps, "it"), slow])

    @worker.job("t")
    def work(ctx: ThreadContext) -> None:
        steps.append("works")

    async with serving(scripted, worker) as peer:
        held = claim("a")
        peer.send(Claims(claims=(held,)))
        await begun.wait()
        peer.send(cancel(held), Claims(claims=(claim("x", job_type="none"),)))
        await peer.next()  # what no function takes has been given back: the cancelling was read
        go_on.set()
        end = await ended(peer)
    assert isinstance(end, Failure)
    assert end.error.type == "Cancelled"
    assert steps == ["it before t", "it error Cancelled: the job was cancelled"]

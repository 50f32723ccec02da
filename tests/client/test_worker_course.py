"""What may happen to a job while a worker runs it, against a real broker."""

import asyncio
import threading
from typing import Any

import msgspec
import pytest

import packhorse
from packhorse import Context, Fail, NewJob, ThreadContext
from packhorse_broker.local import LocalBroker
from tests.client import process_jobs
from tests.client.conftest import MakeWorker
from tests.client.gate import Gate


class Order(msgspec.Struct):
    item: str
    count: int = 1


@pytest.mark.parametrize("kind", ["coroutine", "thread", "process"])
async def test_a_running_job_is_cancelled(
    broker: LocalBroker, make_worker: MakeWorker, kind: str
) -> None:
    worker = make_worker()
    worker.job("process", process=True)(process_jobs.endless)

    @worker.job("coroutine")
    async def coroutine(ctx: Context) -> None:
        await ctx.log("begun")
        await asyncio.Event().wait()

    @worker.job("thread")
    def thread(ctx: ThreadContext) -> None:
        ctx.log("begun")
        assert ctx.cancelled.wait(20)
        ctx.check_cancelled()

    async with worker, broker.connect() as client:
        job = await client.create(kind, handle=True, attempts=5)
        await anext(job.logs(follow=True))
        await job.cancel(grace="20s", why="wrong picture")
        outcome = await job.outcome(handled=False)
        assert (outcome.reason, outcome.attempt) == ("CANCELLED", 1)
        assert outcome.error is not None
        assert outcome.error.type == "Cancelled"
        assert outcome.error.message == "the job was cancelled: wrong picture"
        [attempt] = (await job.attempts()).attempts
        assert attempt.ended == "failed"


async def test_what_completes_in_the_grace_time_is_complete(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker()
    running = asyncio.Event()

    @worker.job("t")
    async def work() -> str:
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "half of it"
        return "all of it"

    async with worker, broker.connect() as client:
        job = await client.create("t", handle=True)
        await running.wait()
        await job.cancel(grace="20s")
        assert await job.result() == "half of it"


async def test_a_job_that_does_not_stop_is_taken_away(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker()
    running = asyncio.Event()
    loop = asyncio.get_running_loop()
    revoked: asyncio.Future[bool] = loop.create_future()
    end = threading.Event()

    @worker.job("t")
    def work(ctx: ThreadContext) -> None:
        loop.call_soon_threadsafe(running.set)
        loop.call_soon_threadsafe(revoked.set_result, ctx.revoked.wait(20))
        end.wait(20)

    async with worker, broker.connect() as client:
        job = await client.create("t", handle=True)
        await running.wait()
        await job.cancel(grace="10ms")
        with pytest.raises(packhorse.JobCancelled):
            await job.result()
        assert await revoked
        end.set()


@pytest.mark.parametrize("kind", ["coroutine", "process"])
async def test_a_run_that_takes_too_long_is_stopped(
    broker: LocalBroker, make_worker: MakeWorker, kind: str
) -> None:
    worker = make_worker()
    worker.job("process", process=True)(process_jobs.endless)
    stopped: list[bool] = []

    @worker.job("coroutine")
    async def coroutine(ctx: Context) -> None:
        assert ctx.remaining is not None
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(ctx.revoked.is_set())

    async with worker, broker.connect() as client:
        job = await client.create(kind, handle=True, run_timeout="200ms")
        with pytest.raises(packhorse.JobTimedOut):
            await job.result()
    assert stopped == ([True] if kind == "coroutine" else [])


async def test_a_run_that_asks_for_time_gets_it(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker()

    @worker.job("t")
    async def work(ctx: Context) -> list[bool]:
        first = ctx.remaining
        second = await ctx.extend("1h")
        return [first is not None and first <= 60, second is not None and second > 3_000]

    async with worker, broker.connect() as client:
        assert await client.run("t", run_timeout="60s") == [True, True]
        total = await client.run("t", run_timeout="60s", total_timeout="2m")
        assert total == [True, False]
        assert await client.run("t") == [False, False]


async def test_the_runner_says_when_to_try_again(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker(retry={LookupError: "1h"})

    @worker.job("purpose")
    async def purpose() -> None:
        raise Fail("not yet", retry_in="1h")

    @worker.job("rule")
    async def rule() -> None:
        raise KeyError("not yet")

    @worker.job("never", retry={KeyError: "never"})
    async def never() -> None:
        raise KeyError("never")

    async with worker, broker.connect() as client:
        for job_type in ("purpose", "rule"):
            job = await client.create(job_type, attempts=3)
            async for event in job.events():
                if event.state == "PENDING":
                    break
            view = await job.get()
            assert view.current_attempt == 1
            assert view.next_attempt > view.started_at + 3_000_000
            await job.run_now()
        with pytest.raises(packhorse.JobFailed) as raised:
            await client.run("never", attempts=3)
        assert raised.value.outcome.attempt == 1


async def test_models_go_from_the_creator_to_the_function(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker(publish_schemas=True)

    @worker.job("order")
    async def order(order: Order) -> Order:
        return Order(order.item.upper(), order.count + 1)

    async with worker, broker.connect() as client:
        assert await client.run("order", Order("tea", 2)) == {"item": "TEA", "count": 3}
        with pytest.raises(packhorse.JobFailed, match="Expected `int`, got `str`") as raised:
            await client.run("order", {"item": "tea", "count": "two"}, attempts=5)
        assert raised.value.outcome.attempt == 1
        schema: Any = await client.schema("order")
        assert schema["$defs"]["Order"]["required"] == ["item"]


async def test_heavier_types_get_more_places(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker(concurrency=8)
    heavy, light = Gate(), Gate()

    @worker.job("heavy", weight=3)
    async def run_heavy() -> None:
        await heavy.enter()

    @worker.job("light")
    async def run_light() -> None:
        await light.enter()

    async with broker.connect() as client:
        jobs = await client.create_many(
            [NewJob(job_type) for job_type in ("heavy", "light") for _ in range(20)], handle=True
        )
        async with worker:
            await heavy.has(6)
            await light.has(2)
            assert (heavy.inside, light.inside) == (6, 2)
            heavy.open()
            light.open()
            for job in jobs:
                await job.result()

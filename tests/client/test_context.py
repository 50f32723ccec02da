"""The contexts of job functions, against a real broker."""

import asyncio

import pytest

from packhorse import Context, JobFailed, Progress, ThreadContext
from packhorse_broker.local import LocalBroker
from tests.client.conftest import MakeWorker


async def test_a_coroutine_reports(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()

    @worker.job("t")
    async def work(ctx: Context) -> None:
        for percent in range(0, 101, 5):
            await ctx.progress(percent, f"at {percent}")
        await ctx.log("first\nline")
        await ctx.log("")

    async with worker, broker.connect() as client:
        job = await client.create("t", persistent=True)
        await job.outcome()
        view = await job.get()
        assert view.progress == Progress(percent=100, text="at 100")
        entries = [entry async for entry in job.logs()]
    assert [entry.message for entry in entries if entry.type == "log"] == ["first\nline", ""]
    shown = [entry.percent for entry in entries if entry.type == "progress"]
    assert shown[0] == 0
    assert shown[-1] == 100
    assert shown == sorted(shown, key=lambda percent: percent or 0)


async def test_a_thread_reports(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()

    @worker.job("t")
    def work(ctx: ThreadContext) -> str:
        ctx.progress(40, "on the way")
        for n in range(500):
            ctx.log(f"line {n}")
        return f"{ctx.job} {ctx.type} {ctx.attempt}/{ctx.attempts}"

    async with worker, broker.connect() as client:
        job = await client.create("t", persistent=True, job_id="a", attempts=2)
        assert await job.result() == "a t 1/2"
        assert (await job.get()).progress == Progress(percent=40, text="on the way")
        lines = [entry.message async for entry in job.logs() if entry.type == "log"]
        assert lines == [f"line {n}" for n in range(500)][-len(lines) :]
        assert len(lines) > 1


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_a_mistake_in_a_report_fails_the_job(
    broker: LocalBroker, make_worker: MakeWorker, kind: str
) -> None:
    worker = make_worker()

    @worker.job("coroutine")
    async def coroutine(ctx: Context) -> None:
        await ctx.progress(101)

    @worker.job("function")
    def function(ctx: ThreadContext) -> None:
        ctx.progress(101)

    async with worker, broker.connect() as client:
        with pytest.raises(JobFailed, match="InvalidValue: progress: 101"):
            await client.run(kind)


async def test_concurrent_jobs_keep_their_reports_apart(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker(concurrency=20)

    @worker.job("t")
    async def work(ctx: Context, n: int) -> None:
        for line in range(5):
            await ctx.log(f"{n}.{line}")
            await asyncio.sleep(0)

    async with worker, broker.connect() as client:
        jobs = await asyncio.gather(*(client.create("t", n, persistent=True) for n in range(20)))
        for n, job in enumerate(jobs):
            await job.outcome()
            lines = [entry.message async for entry in job.logs()]
            assert lines == [f"{n}.{line}" for line in range(5)]

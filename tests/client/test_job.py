"""A job's handle against a real broker."""

import asyncio

import pytest

from packhorse import Context, Progress, errors
from packhorse_broker.local import LocalBroker
from tests.client.conftest import MakeWorker


async def test_the_handle_of_a_job_from_elsewhere(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker()

    @worker.job("t")
    async def work() -> str:
        return "done"

    async with broker.connect() as creator, broker.connect() as other:
        job = await creator.create("t", job_id="a")
        assert repr(job) == "<Job a t>"
        theirs = other.job("a")
        assert (theirs.id, theirs.type, repr(theirs)) == ("a", None, "<Job a>")
        await theirs.handle()
        async with worker:
            assert await theirs.result() == "done"


async def test_a_persistent_job_stays(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()

    @worker.job("t")
    async def work() -> str:
        return "done"

    async with worker, broker.connect() as client:
        job = await client.create("t", persistent=True)
        assert await job.result() == "done"
        assert (await job.get()).state == "COMPLETE"
        assert await client.job(job.id).result() == "done"
        await job.remove()
        with pytest.raises(errors.NotFound):
            await job.get()


async def test_a_removed_job_has_no_outcome(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        client._session.outcomes._look_every_s = 0.02
        job = await client.create("t", handle=True)
        waiting = asyncio.create_task(job.outcome())
        await job.remove()
        with pytest.raises(errors.NotFound):
            await waiting


async def test_progress_is_told_until_the_end(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()
    told = asyncio.Event()

    @worker.job("t")
    async def work(ctx: Context) -> None:
        await ctx.progress(25, "begun")
        await told.wait()
        await ctx.progress(75)

    async with worker, broker.connect() as client:
        job = await client.create("t", handle=True)
        seen = []
        async for progress in job.progress():
            seen.append(progress)
            told.set()
        assert seen == [Progress(percent=25, text="begun"), Progress(percent=75)]


async def test_a_log_is_read_and_followed(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()
    go_on = asyncio.Event()

    @worker.job("t")
    async def work(ctx: Context) -> None:
        for n in range(3):
            await ctx.log(f"before {n}")
        await go_on.wait()
        for n in range(3):
            await ctx.log(f"after {n}")

    async with worker, broker.connect() as client:
        job = await client.create("t", persistent=True)
        followed = []
        async for entry in job.logs(follow=True):
            followed.append(entry.message)
            if len(followed) == 3:
                go_on.set()
        expected = [f"{when} {n}" for when in ("before", "after") for n in range(3)]
        assert followed == expected
        assert [entry.message async for entry in job.logs()] == expected
        assert [entry.message async for entry in job.logs(offset=4)] == expected[4:]
        assert [entry.message async for entry in job.logs(follow=True)] == expected
        entry = await anext(job.logs())
        assert (entry.offset, entry.attempt, entry.type) == (0, 1, "log")


async def test_there_is_no_log_without_a_job(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        job = client.job("nowhere")
        for items in (job.logs(), job.logs(follow=True), job.progress(), client.watch("nowhere")):
            with pytest.raises(errors.NotFound):
                await anext(items)

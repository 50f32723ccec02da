"""Waiting for several jobs, and outcomes for groups, against a real broker."""

import asyncio

import pytest

import packhorse
from packhorse import NewJob, errors
from packhorse.client import Client
from packhorse_broker.local import LocalBroker
from tests.client.conftest import MakeWorker


async def created(client: Client, *values: int, job_type: str = "t") -> list[packhorse.Job]:
    return await client.create_many([NewJob(job_type, n) for n in values], handle=True)


async def test_all_of_some_jobs(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()

    @worker.job("t")
    async def half(n: int) -> float:
        return 1 / n

    async with worker, broker.connect() as client:
        jobs = await created(client, 1, 0, 2)
        outcomes = await client.wait(jobs)
        assert [outcome.job for outcome in outcomes] == [job.id for job in jobs]
        assert [outcome.state for outcome in outcomes] == ["COMPLETE", "FAILED", "COMPLETE"]
        assert outcomes[2].result() == 0.5
        assert await client.wait([]) == []


async def test_any_of_some_jobs(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()

    @worker.job("t")
    async def same(n: int) -> int:
        return n

    async with broker.connect() as client:
        [ended] = await created(client, 1)
        [waits] = await created(client, 2, job_type="later")
        async with worker:
            [outcome] = await client.wait([waits, ended], "any")
        assert outcome.result() == 1
        with pytest.raises(errors.OutcomeTimeout, match="1 of 2 jobs have ended within 10ms"):
            await client.wait([waits, ended], timeout="10ms")
        with pytest.raises(errors.OutcomeTimeout, match="0 of 1 jobs have ended within 10ms"):
            await client.wait([waits], "any", timeout="10ms")


async def test_waiting_in_vain_loses_nothing(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()

    @worker.job("t")
    async def same(n: int) -> int:
        return n

    async with broker.connect() as client:
        jobs = [*await created(client, 1), *await created(client, 2, job_type="later")]
        async with worker:
            await client.wait(jobs, "any", handled=False)
            with pytest.raises(errors.OutcomeTimeout):
                await client.wait(jobs, timeout="10ms")
        await jobs[1].cancel()
        first, second = await client.wait(jobs)
        assert (first.result(), second.reason) == (1, "CANCELLED")


async def test_more_jobs_than_the_broker_sends_outcomes_of_at_once(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    """Those that have come are handled only when all have: the others are fetched."""
    worker = make_worker(concurrency=100)

    @worker.job("t")
    async def same(n: int) -> int:
        return n

    async with broker.connect() as client:
        jobs = await client.create_many((NewJob("t", {"n": n}) for n in range(1_100)), handle=True)
        async with worker:
            outcomes = await client.wait(jobs, timeout="20s")
        assert [outcome.result() for outcome in outcomes] == list(range(1_100))


async def test_jobs_may_be_named_by_id(broker: LocalBroker) -> None:
    async with broker.connect() as client, broker.connect() as other:
        job = await other.create("t", persistent=True)
        await job.cancel()
        [outcome] = await client.wait([job.id])
        assert (outcome.job, outcome.reason) == (job.id, "CANCELLED")


async def test_a_job_that_is_gone_ends_the_waiting(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        jobs = await created(client, 1)
        with pytest.raises(errors.NotFound):
            await client.wait([*jobs, "gone"])
        with pytest.raises(errors.InvalidValue, match="until: 'most' is none of all, any"):
            await client.wait(jobs, "most")  # type: ignore[arg-type]


# -- groups ---------------------------------------------------------------------------------------


async def test_a_group_handles_outcomes(broker: LocalBroker) -> None:
    """Created by one client, handled by another that was not there at the time."""
    async with broker.connect() as creator:
        job = await creator.create("t", group="mailers")
        assert (await job.get()).groups == ("mailers",)
        await job.cancel()
        await creator.wait([job.id], handled=True)
    async with broker.connect() as member:
        async for outcome in member.outcomes(group="mailers"):
            assert (outcome.job, outcome.group, outcome.reason) == (job.id, "mailers", "CANCELLED")
            await outcome.handled()
            break
        with pytest.raises(errors.NotFound):
            await member.get(job.id)


async def test_each_outcome_goes_to_one_member(broker: LocalBroker) -> None:
    async with broker.connect() as first, broker.connect() as second, broker.connect() as creator:
        taken: asyncio.Queue[str] = asyncio.Queue()

        async def take(client: Client) -> None:
            async for outcome in client.outcomes(group="mailers"):
                taken.put_nowait(outcome.job)

        members = [asyncio.create_task(take(client)) for client in (first, second)]
        jobs = await creator.create_many([NewJob("t", n) for n in range(20)], group="mailers")
        await creator.cancel(*(job.id for job in jobs))
        found = [await taken.get() for _ in jobs]
        for member in members:
            member.cancel()
        await asyncio.wait(members)
    assert sorted(found) == sorted(job.id for job in jobs)
    assert taken.empty()


async def test_what_a_member_left_goes_to_another(broker: LocalBroker) -> None:
    async with broker.connect() as first, broker.connect() as second:
        job = await first.create("t")
        await job.handle(group="mailers")
        await job.cancel()
        async for outcome in first.outcomes(group="mailers"):
            assert outcome.job == job.id
            break
        async for outcome in second.outcomes(group="mailers", auto=False):
            assert outcome.job == job.id
            await outcome.handled()
            break


async def test_a_group_that_is_no_name(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        with pytest.raises(errors.InvalidValue, match=r"^group: "):
            await client.create("t", group="")
        with pytest.raises(errors.InvalidValue, match=r"^group: "):
            await anext(client.outcomes(group="a\n"))


async def test_a_group_needs_the_role(broker: LocalBroker) -> None:
    async with broker.connect(roles=["create", "read"]) as client:
        with pytest.raises(errors.Forbidden):
            await client.create("t", group="mailers")
        with pytest.raises(errors.Forbidden):
            await anext(client.outcomes(group="mailers"))

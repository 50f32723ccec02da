"""Jobs with terms, unique keys and groups against a real broker; refusals of new jobs."""

import asyncio
from typing import Any

import pytest

import packhorse
from packhorse import Backoff, Event, Keep, NewJob, Unique, errors
from packhorse_broker.local import LocalBroker
from packhorse_protocol.messages import Create, Created, Ok, Problem
from tests.client.conftest import MakeWorker
from tests.client.scripted import ScriptedBroker, connected


async def test_the_terms_of_a_job(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        job = await client.create(
            "thumb",
            labels=["nightly", "cats"],
            unique="cat.png",
            delay="1h",
            priority=7,
            attempts=5,
            backoff=Backoff.exponential("1s", max="10m", jitter="full"),
            lost_limit=2,
            idle_timeout="1m",
            run_timeout="2m",
            total_timeout="3m",
            keep="1d",
        )
        view = await job.get()
    assert view.state == "PENDING"
    assert view.delayed_until - view.created_at == 3_600_000
    assert (set(view.labels), view.priority, view.attempts) == ({"nightly", "cats"}, 7, 5)
    assert view.unique is not None
    assert (view.unique.key, view.lost_limit, view.keep_ms) == ("cat.png", 2, 86_400_000)
    assert view.backoff is not None
    assert (view.backoff.type, view.backoff.delay_ms, view.backoff.max_ms) == (
        "exponential",
        1_000,
        600_000,
    )
    assert view.timeouts is not None
    assert (view.timeouts.idle_ms, view.timeouts.run_ms, view.timeouts.total_ms) == (
        60_000,
        120_000,
        180_000,
    )


async def test_a_delayed_job_runs_by_itself(broker: LocalBroker, make_worker: MakeWorker) -> None:
    worker = make_worker()

    @worker.job("t")
    async def work() -> None:
        pass

    async with worker, broker.connect() as client:
        delayed = await client.create("t", delay="100ms", handle=True)
        outcome = await delayed.outcome()
        assert outcome.started_at >= outcome.created_at + 100
        due_at = (await client.info()).now_ms + 100
        delayed = await client.create("t", delay_until=due_at, handle=True)
        assert (await delayed.outcome()).started_at >= due_at


async def test_a_job_is_tried_again_after_its_backoff(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker()
    tries: list[int] = []

    @worker.job("t")
    async def fail_twice(ctx: packhorse.Context) -> int:
        tries.append(ctx.attempt)
        if ctx.attempt < 3:
            raise packhorse.Fail("not yet")
        return ctx.attempt

    async with worker, broker.connect() as client:
        assert await client.run("t", attempts=3, backoff=Backoff.list("10ms", "20ms")) == 3
    assert tries == [1, 2, 3]


@pytest.mark.parametrize(
    ("expired", "job"),
    [
        ("idle", NewJob("nobody", idle_timeout="20ms")),
        ("total", NewJob("nobody", total_timeout="20ms")),
    ],
)
async def test_a_job_that_waits_too_long(broker: LocalBroker, expired: str, job: NewJob) -> None:
    async with broker.connect() as client:
        [created] = await client.create_many([job], handle=True)
        with pytest.raises(errors.PackhorseError) as raised:
            await created.result()
    assert isinstance(raised.value, packhorse.JobTimedOut)
    assert (raised.value.reason, raised.value.expired) == ("JOB_TIMEOUT", expired)
    assert f"JOB_TIMEOUT: its {expired} timeout passed" in str(raised.value)


async def test_a_value_that_can_not_be_sends_nothing(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        with pytest.raises(errors.InvalidValue, match="priority: 5000"):
            await client.create("t", priority=5_000)
        with pytest.raises(errors.InvalidValue, match="delay: 'soon'"):
            await client.run("t", delay="soon")
    assert await peer.end() == []


# -- unique keys ----------------------------------------------------------------------------------


async def test_a_unique_key_that_is_held(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        holder = await client.create("t", 1, unique="k")
        assert holder.duplicate is None
        with pytest.raises(errors.Duplicate) as raised:
            await client.create("t", 2, unique="k")
        assert (raised.value.holder, raised.value.state) == (holder.id, "QUEUED")
        assert not raised.value.retryable
        assert (await client.create("other", unique="k")).duplicate is None


async def test_joining_the_holder(broker: LocalBroker, make_worker: MakeWorker) -> None:
    """One run, and both creators have its result."""
    worker = make_worker()
    runs: list[int] = []

    @worker.job("t")
    async def run(n: int) -> int:
        runs.append(n)
        return n

    unique = Unique("k", on_duplicate="join")
    async with broker.connect() as first, broker.connect() as second:
        holder = await first.create("t", 1, unique=unique, handle=True)
        joined = await second.create("t", 2, unique=unique, handle=True)
        assert (joined.id, joined.duplicate) == (holder.id, "joined")
        running = asyncio.create_task(second.run("t", 3, unique=unique))
        async with worker:
            assert await holder.result() == 1
            assert await joined.result() == 1
            assert await running == 1
    assert runs == [1]


async def test_replacing_the_holder(broker: LocalBroker) -> None:
    unique = Unique("k", on_duplicate="replace")
    async with broker.connect() as client:
        holder = await client.create("t", 1, unique=unique)
        replaced = await client.create("t", 2, unique=unique, priority=3)
        assert (replaced.id, replaced.duplicate) == (holder.id, "replaced")
        view = await client.get(holder.id)
        assert (view.payload, view.priority) == (b"\x02", 3)


async def test_a_duplicate_leaves_a_former_outcome_alone(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        creating = asyncio.create_task(client.create("t", job_id="a", unique="k", handle=True))
        peer.ok(await peer.expect(Create), Created(job="b", state="STARTED", duplicate="joined"))
        job = await creating
        assert (job.id, job.duplicate) == ("b", "joined")
        assert job._ticket.handling


# -- refusals -------------------------------------------------------------------------------------


async def test_a_type_that_is_full(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        await client.set_limits("t", max_jobs=1, why="small")
        await client.create("t", job_id="a")
        with pytest.raises(errors.QuotaExceeded) as raised:
            await client.create("t", job_id="b")
        assert raised.value.retryable
        assert raised.value.details["limit"] == "1"
        await client.set_limits("t", max_jobs=0)
        await client.create("t", job_id="b")


async def test_a_full_type_is_said_at_once(scripted: ScriptedBroker) -> None:
    """Waiting for room is the program's to decide, so one that fills it learns of it."""
    async with connected(scripted) as (client, peer):
        creating = asyncio.create_task(client.create("t", job_id="a"))
        full = Problem(code="quota", message="full", retryable=True, retry_after_ms=60_000)
        peer.ok(await peer.expect(Create), full)
        with pytest.raises(errors.QuotaExceeded) as raised:
            await creating
        assert raised.value.retry_after_ms == 60_000


async def test_a_type_that_is_draining(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        await client.drain_type("t", why="going away")
        with pytest.raises(errors.TypeDraining):
            await client.create("t")
        await client.undrain_type("t")
        await client.create("t")


async def test_many_with_terms(broker: LocalBroker) -> None:
    async with broker.connect() as client:
        new = [NewJob("t", n, delay="1h", labels=[f"n{n}"], unique=str(n % 3)) for n in range(4)]
        with pytest.raises(errors.SomeRefused) as raised:
            await client.create_many(new)
        kinds = [type(result) for result in raised.value.results]
        assert kinds == [packhorse.Job] * 3 + [errors.Duplicate]


async def test_retention_of_what_nobody_handles(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker()

    @worker.job("t")
    async def work() -> None:
        pass

    async with broker.connect() as client:
        await client.set_retention("t", complete=Keep("1h", jobs=10), failed="0s")
        kept = await client.create("t")
        gone = await client.create("t", keep=0)

        async def watched() -> list[Event]:
            return [event async for event in client.watch(kept.id, gone.id)]

        watching = asyncio.create_task(watched())
        await asyncio.sleep(0)
        await kept.get()  # answered when the jobs are watched
        async with worker:
            seen = await watching
        assert {event.job for event in seen if event.removed or event.state == "COMPLETE"} == {
            kept.id,
            gone.id,
        }
        view = await kept.get()
        assert view.expires_at - view.finished_at == 3_600_000
        with pytest.raises(errors.NotFound):
            await gone.get()


async def test_a_job_that_is_kept_can_be_waited_for_later(
    broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker()

    @worker.job("t")
    async def work() -> int:
        return 5

    async with broker.connect() as client:
        kept = await client.create("t", keep="1h")
        grouped = await client.create("t", group="mailers")
        async with worker:
            async for _ in client.watch(kept.id, grouped.id):
                pass
        assert await kept.result() == 5
        assert await grouped.result() == 5


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"headers": {"a": 1}}, "headers"),
        ({"headers": {1: "a"}}, "headers"),
        ({"headers": "x"}, "headers"),
        ({"labels": [1]}, "labels"),
        ({"unique": 5}, "unique"),
        ({"backoff": 5}, "backoff"),
        ({"payload": "text"}, "payload"),
    ],
)
async def test_a_value_of_a_wrong_type_is_named_and_holds_up_nobody(
    broker: LocalBroker, options: Any, named: str
) -> None:
    async with broker.connect() as client:

        async def wrong() -> None:
            with pytest.raises(errors.InvalidValue, match=f"^{named}"):
                await client.create("t", **options)

        await asyncio.gather(client.create("t"), wrong(), client.create("t"))
        assert (await client.counts("t")).types["t"]["QUEUED"] == 2


# -- durability -----------------------------------------------------------------------------------


async def test_what_a_job_asks_for_that_the_store_does_not_offer(broker: LocalBroker) -> None:
    """An ephemeral store has no disk; nor has it replicas, which is found out by waiting."""
    async with broker.connect() as client:
        with pytest.raises(errors.NotDurable):
            await client.create("t", durability="disk")
        with pytest.raises(errors.InvalidValue, match="durability"):
            await client.create("t", durability="paper")  # type: ignore[arg-type]
        info = await client.info()
        assert (info.kept, info.durability, info.replicas) == ("memory", "store", 1)


async def test_a_job_that_is_not_as_durable_as_asked(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        creating = asyncio.create_task(client.create("t", job_id="a", durability="replicated"))
        asked = await peer.expect(Create)
        assert asked.jobs[0].durability == "replicated"
        created = Created(job="a", state="QUEUED")
        peer.send(Ok(id=asked.id, results=(created,), durability="not_met"))
        assert not (await creating).durable
        creating = asyncio.create_task(client.create("t", job_id="a"))
        peer.ok(await peer.expect(Create), created)
        assert (await creating).durable


async def test_a_full_store_is_said_at_once(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        creating = asyncio.create_task(client.create("t"))
        full = Problem(code="store_full", message="full", retryable=True)
        peer.ok(await peer.expect(Create), full)
        with pytest.raises(errors.StoreFull) as raised:
            await creating
        assert raised.value.retryable


async def test_a_cancelled_batch_takes_back_what_has_not_left(scripted: ScriptedBroker) -> None:
    limits = {"in_flight": 1, "batch": 1}
    async with connected(scripted, welcome={"limits": limits}) as (client, peer):
        jobs = [NewJob("t", job_id=job) for job in "abc"]
        batch = asyncio.create_task(client.create_many(jobs))
        request = await peer.expect(Create)
        batch.cancel()
        await asyncio.wait([batch])
        assert batch.cancelled()
        other = asyncio.create_task(client.create("t", job_id="d"))
        peer.ok(request, Problem(code="conflict", message="another job has this id"))
        request = await peer.expect(Create)
        assert [job.id for job in request.jobs] == ["d"]
        peer.ok(request, Created(job="d", state="QUEUED"))
        await other


async def test_in_a_batch_each_job_fails_by_itself(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        jobs = [NewJob("t", {1: 2}), NewJob("t", job_id="a"), NewJob("t", job_id="b")]
        batch = asyncio.create_task(client.create_many(jobs))
        request = await peer.expect(Create)
        held = Problem(code="conflict", message="another job has this id")
        peer.ok(request, Created(job="a", state="QUEUED"), held)
        with pytest.raises(errors.SomeRefused) as refused:
            await batch
        first, second, third = refused.value.results
        assert isinstance(first, errors.PayloadError)
        assert isinstance(second, packhorse.Job)
        assert isinstance(third, errors.Conflict)

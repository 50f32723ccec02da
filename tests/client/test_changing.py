"""Steering jobs by hand against a real broker: by id, and all that match."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

import packhorse
from packhorse import Matched, errors
from packhorse.client import Client
from packhorse_broker.local import LocalBroker
from packhorse_protocol.messages import (
    BrokerInfo,
    Cancel,
    Ended,
    Info,
    JobPage,
    JobSummary,
    ListJobs,
    Problem,
    Remove,
    Retry,
)
from tests.client.conftest import MakeWorker
from tests.client.scripted import ScriptedBroker, connected

WRONG_STATE = Problem(code="wrong_state", message="it is QUEUED", details={"state": "QUEUED"})


@pytest_asyncio.fixture
async def client(broker: LocalBroker) -> AsyncIterator[Client]:
    async with broker.connect() as client:
        yield client


async def failed(client: Client, make_worker: MakeWorker, *job_ids: str) -> None:
    """Jobs of type t that have failed."""
    worker = make_worker()

    @worker.job("t")
    async def fail() -> None:
        raise packhorse.Fail("no")

    jobs = [await client.create("t", job_id=job_id, persistent=True) for job_id in job_ids]
    events = client.watch(*(job.id for job in jobs))
    async with worker:
        async for _ in events:
            pass


# -- by id ----------------------------------------------------------------------------------------


async def test_waiting_jobs_are_cancelled_at_once(client: Client) -> None:
    job = await client.create("t", handle=True)
    delayed = await client.create("t", delay="1h", persistent=True)
    assert await client.cancel(job.id, delayed.id, why="wrong input") == ["FAILED", "FAILED"]
    with pytest.raises(packhorse.JobCancelled, match="CANCELLED: it was cancelled"):
        await job.result()
    view = await delayed.get()
    assert (view.reason, view.cancel and view.cancel.why) == ("CANCELLED", "wrong input")
    assert view.cancel is not None
    assert view.cancel.by == client.id
    assert await delayed.cancel() == "FAILED"


async def test_a_running_job_is_cancelled(
    client: Client, broker: LocalBroker, make_worker: MakeWorker
) -> None:
    worker = make_worker()

    @worker.job("t")
    async def for_ever() -> None:
        await asyncio.Event().wait()

    async with worker:
        job = await client.create("t", handle=True)
        async for event in job.events():
            if event.state == "STARTED":
                break
        assert await job.cancel(grace="10s", why="enough") == "STARTED"
        with pytest.raises(packhorse.JobCancelled):
            await job.result(timeout="5s")


async def test_a_failed_job_is_retried(client: Client, make_worker: MakeWorker) -> None:
    await failed(client, make_worker, "a", "b")
    assert await client.retry("a", "b", attempts=2, why="disk is back") == ["QUEUED", "QUEUED"]
    view = await client.get("a")
    assert (view.state, view.attempts, view.reason) == ("QUEUED", 3, None)
    with pytest.raises(errors.WrongState):
        await client.job("a").retry()
    log = [entry async for entry in client.job("a").logs()]
    assert [(entry.type, entry.message, entry.by) for entry in log if entry.type == "action"] == [
        ("action", "retry: disk is back", client.id)
    ]


async def test_a_retried_job_has_one_outcome_more(client: Client, make_worker: MakeWorker) -> None:
    """Its handlers get it, whatever became of the former one."""
    await failed(client, make_worker, "a")
    first = await client.job("a").outcome(handled=False)
    await client.retry("a")
    await client.cancel("a")
    rest = client.outcomes(auto=False)
    async with asyncio.timeout(20):
        second = await anext(rest)
    assert (first.reason, second.reason) == ("FAILED", "CANCELLED")
    assert first.version < second.version
    await rest.aclose()


async def test_a_pending_job_is_run_now(client: Client) -> None:
    job = await client.create("t", delay="1h")
    assert await job.run_now(why="now") == "QUEUED"
    with pytest.raises(errors.WrongState):
        await client.run_now(job.id)


async def test_jobs_are_removed_only_in_some_states(client: Client) -> None:
    queued = await client.create("t")
    pending = await client.create("t", delay="1h")
    with pytest.raises(errors.SomeRefused) as raised:
        await client.remove(queued.id, pending.id, states="PENDING")
    assert [type(result) for result in raised.value.refusals] == [errors.WrongState]
    with pytest.raises(errors.NotFound):
        await pending.get()
    with pytest.raises(errors.WrongState):
        await queued.remove(states=["PENDING", "STARTED"])
    await queued.remove(why="done with it")
    actions = [action async for action in client.actions()]
    assert {(action.action, action.why) for action in actions} == {
        ("remove", ""),
        ("remove", "done with it"),
    }


async def test_several_fail_each_by_itself(client: Client) -> None:
    job = await client.create("t")
    with pytest.raises(errors.SomeRefused) as raised:
        await client.cancel(job.id, "gone")
    state, error = raised.value.results
    assert state == "FAILED"
    assert isinstance(error, errors.NotFound)
    assert await client.cancel() == []


@pytest.mark.parametrize("grace", ["soon", -1])
async def test_a_value_that_can_not_be(client: Client, grace: str) -> None:
    with pytest.raises(errors.InvalidValue, match="grace"):
        await client.cancel("a", grace=grace)
    with pytest.raises(errors.InvalidValue, match="attempts"):
        await client.retry("a", attempts=0)
    with pytest.raises(errors.InvalidValue, match="states: 'DONE' is none of PENDING"):
        await client.remove("a", states=["DONE"])  # type: ignore[list-item]


# -- all that match -------------------------------------------------------------------------------


async def test_all_that_match_are_cancelled(client: Client) -> None:
    for n in range(3):
        await client.create("t", labels=["x"], delay="1h" if n else None)
    await client.create("t")
    await client.create("u", labels=["x"])
    assert await client.cancel_matching("t", label="x", dry_run=True) == Matched(found=3, changed=0)
    assert await client.cancel_matching("t", label="x", why="w") == Matched(found=3, changed=3)
    counts = await client.counts()
    assert [counts.types[name]["QUEUED"] for name in ("t", "u")] == [1, 1]
    assert await client.cancel_matching(limit=1, everything=True) == Matched(found=1, changed=1)


async def test_all_that_failed_are_retried_once(client: Client, make_worker: MakeWorker) -> None:
    await failed(client, make_worker, "a", "b")
    worker = make_worker()

    @worker.job("t")
    async def fail() -> None:
        raise packhorse.Fail("still no")

    async with worker:
        assert await client.retry_matching("t") == Matched(found=2, changed=2)


async def test_one_whose_unique_key_is_taken_again_stays_as_it_is(
    client: Client, make_worker: MakeWorker
) -> None:
    await failed(client, make_worker, "a")
    held = await client.create("u", unique="k", keep="1h", attempts=1)
    await held.cancel()
    await client.create("u", unique="k", delay="1h")
    found = await client.retry_matching(everything=True, reasons=("FAILED", "CANCELLED"))
    assert found == Matched(found=2, changed=1, duplicates=1)


async def test_what_was_cancelled_is_not_retried_unless_asked_for(client: Client) -> None:
    job = await client.create("t", delay="1h", keep="1h")
    await job.cancel()
    assert await client.retry_matching("t", dry_run=True) == Matched(found=0, changed=0)
    found = await client.retry_matching("t", reasons="CANCELLED")
    assert found == Matched(found=1, changed=1)


async def test_all_jobs_have_to_be_meant(client: Client) -> None:
    await client.create("t", delay="1h")
    for change in (
        client.cancel_matching,
        client.retry_matching,
        client.run_now_matching,
        client.remove_matching,
    ):
        with pytest.raises(errors.InvalidValue, match="everything"):
            await change()
        with pytest.raises(TypeError, match="lable"):
            await change("t", lable="x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="lable"):
        await anext(client.list(lable="x"))  # type: ignore[call-arg]
    assert (await client.counts("t")).types["t"]["PENDING"] == 1


async def test_all_that_wait_are_run_now(client: Client) -> None:
    for _ in range(2):
        await client.create("t", delay="1h")
    assert await client.run_now_matching("t", why="now") == Matched(found=2, changed=2)
    assert (await client.counts("t")).types["t"]["QUEUED"] == 2


async def test_a_type_is_purged(client: Client, make_worker: MakeWorker) -> None:
    await failed(client, make_worker, "a", "b")
    await client.create("t", job_id="c")
    assert await client.purge("t", dry_run=True) == Matched(found=2, changed=0)
    assert await client.purge("t", why="old") == Matched(found=2, changed=2)
    assert [job.id async for job in client.list("t")] == ["c"]
    assert await client.purge("t", states="QUEUED") == Matched(found=1, changed=1)


async def test_more_than_a_page(client: Client) -> None:
    await client.create_many(packhorse.NewJob("t", n) for n in range(1_201))
    assert await client.remove_matching("t", states="QUEUED") == Matched(found=1_201, changed=1_201)


@pytest.mark.parametrize("states", [["COMPLETE"], "QUEUED"])
async def test_states_in_which_it_can_not_be(client: Client, states: list[str]) -> None:
    with pytest.raises(errors.InvalidValue, match="jobs can't be retried, only FAILED"):
        await client.retry_matching("t", states=states)  # type: ignore[arg-type]


async def test_jobs_that_went_on_meanwhile_are_passed_over(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        retrying = asyncio.create_task(client.retry_matching("t", attempts=3, why="w"))
        info = BrokerInfo(
            broker="b", library="", store="", schema=1, started_ms=1, now_ms=99, connections=1,
            clients=1,
        )  # fmt: skip
        peer.ok(await peer.expect(Info), info)
        listed = await peer.expect(ListJobs)
        assert (listed.type, listed.states, listed.until) == ("t", ("FAILED",), 100)
        page = tuple(JobSummary(id=job, type="t", state="FAILED") for job in "abc")
        peer.ok(listed, JobPage(jobs=page, cursor=b"next"))
        retry = await peer.expect(Retry)
        assert (retry.jobs, retry.attempts, retry.why) == (("a", "b", "c"), 3, "w")
        peer.ok(
            retry,
            Ended(state="QUEUED"),
            WRONG_STATE,
            Problem(code="not_found", message="it is gone"),
        )
        listed = await peer.expect(ListJobs)
        assert listed.cursor == b"next"
        peer.ok(listed, JobPage(jobs=()))
        assert await retrying == Matched(found=3, changed=1)


async def test_any_other_refusal_ends_it(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        removing = asyncio.create_task(client.remove_matching("t", states="FAILED"))
        page = JobPage(jobs=(JobSummary(id="a", type="t", state="FAILED"),), cursor=b"next")
        peer.ok(await peer.expect(ListJobs), page)
        remove = await peer.expect(Remove)
        assert remove.states == ("FAILED",)
        peer.refuse(remove, "forbidden")
        with pytest.raises(errors.Forbidden):
            await removing


# -- across connections ---------------------------------------------------------------------------


async def test_a_repeated_retry_that_was_carried_out_is_done(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        retrying = asyncio.create_task(client.retry("a"))
        await peer.expect(Retry)
        await peer.close()
        again = await scripted.accept()
        await again.welcome(resumed=True)
        again.ok(await again.expect(Retry), WRONG_STATE)
        assert await retrying == ["QUEUED"]


async def test_frames_hold_what_is_asked_for_in_the_same_way(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        asking = asyncio.gather(
            client.cancel("a", "b", grace="1s", why="x"), client.cancel("c", why="x")
        )
        first, second = await peer.expect(Cancel), await peer.expect(Cancel)
        assert (first.jobs, first.grace_ms, first.why) == (("a", "b"), 1_000, "x")
        assert (second.jobs, second.grace_ms, second.why) == (("c",), None, "x")
        peer.ok(first, Ended(state="FAILED"), Ended(state="STARTED"))
        peer.ok(second, Ended(state="FAILED"))
        assert [*await asking] == [["FAILED", "STARTED"], ["FAILED"]]

"""Looking at jobs on a real broker: lists, why, attempts, events, actions."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

import packhorse
from packhorse import NewJob, errors
from packhorse.client import Client
from packhorse_broker.local import LocalBroker
from packhorse_protocol.messages import (
    Action,
    ActionList,
    JobPage,
    JobSummary,
    ListActions,
    ListJobs,
)
from tests.client.conftest import MakeWorker
from tests.client.scripted import ScriptedBroker, connected


@pytest_asyncio.fixture
async def client(broker: LocalBroker) -> AsyncIterator[Client]:
    async with broker.connect() as client:
        yield client


async def test_jobs_are_listed_by_what_they_have_in_common(client: Client) -> None:
    await client.create("t", job_id="a", labels=["x", "y"], priority=3)
    await client.create("t", job_id="b", labels=["x"], delay="1h")
    await client.create("u", job_id="c", labels=["x"], unique="k")

    async def ids(*types: str, **which: object) -> set[str]:
        return {job.id async for job in client.list(*types, **which)}  # type: ignore[arg-type]

    assert await ids() == {"a", "b", "c"}
    assert await ids("t") == {"a", "b"}
    assert await ids("t", states="PENDING") == {"b"}
    assert await ids(states=["PENDING", "QUEUED"], label="x") == {"a", "b", "c"}
    assert await ids(label="y") == {"a"}
    assert await ids("u", unique_key="k") == {"c"}
    assert await ids("u", unique_key="other") == set()
    [found] = [job async for job in client.list("t", label="y")]
    assert (found.type, found.state, found.labels, found.priority) == (
        "t",
        "QUEUED",
        ("x", "y"),
        3,
    )


async def test_a_list_is_bounded_by_time_and_number(client: Client) -> None:
    await client.create("t", job_id="a")
    first = (await client.get("a")).queued_at
    await client.create("t", job_id="b", delay_until=first + 60_000)
    await client.run_now("b")
    times = [job.queued_at async for job in client.list("t", newest_first=True)]
    assert times == sorted(times, reverse=True)
    assert [job.id async for job in client.list("t", until=first)] == []
    assert {job.id async for job in client.list("t", since=first)} == {"a", "b"}
    future = datetime(2100, 1, 1, tzinfo=UTC)
    assert [job.id async for job in client.list("t", since=future)] == []
    assert len([job async for job in client.list("t", limit=1)]) == 1


async def test_a_list_of_many_pages(client: Client) -> None:
    created = await client.create_many(NewJob("t", n) for n in range(1_100))
    assert {job.id async for job in client.list("t")} == {job.id for job in created}


async def test_page_by_page(client: Client) -> None:
    await client.create_many(NewJob("t", n, job_id=f"j{n}") for n in range(5))
    seen: list[str] = []
    page = await client.page("t", states="QUEUED", limit=2)
    seen += [job.id for job in page.jobs]
    while page.cursor is not None:
        page = await client.page("t", states="QUEUED", limit=2, cursor=page.cursor)
        seen += [job.id for job in page.jobs]
    assert seen == [f"j{n}" for n in range(5)]


async def test_empty_pages_in_between_are_passed_over(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        jobs = client.list("t", label="x", limit=2)
        listing = asyncio.ensure_future(anext(jobs))
        for cursor in (b"1", b"2"):
            peer.ok(await peer.expect(ListJobs), JobPage(jobs=(), cursor=cursor))
        asked = await peer.expect(ListJobs)
        assert (asked.cursor, asked.limit, asked.label) == (b"2", 2, "x")
        peer.ok(asked, JobPage(jobs=(JobSummary(id="a", type="t", state="QUEUED"),), cursor=b"3"))
        assert (await listing).id == "a"
        listing = asyncio.ensure_future(anext(jobs))
        asked = await peer.expect(ListJobs)
        assert (asked.cursor, asked.limit) == (b"3", 1)
        peer.ok(asked, JobPage(jobs=(JobSummary(id="b", type="t", state="QUEUED"),), cursor=b"4"))
        assert (await listing).id == "b"
        with pytest.raises(StopAsyncIteration):
            await anext(jobs)
    assert await peer.end() == []


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ({"states": "DONE"}, "states: 'DONE' is none of PENDING"),
        ({"since": "1h"}, "since: '1h' is neither a datetime nor milliseconds"),
        ({"until": datetime(2026, 1, 1)}, "until: .* has no time zone"),  # noqa: DTZ001
        ({"limit": 0}, "limit: 0 must be at least 1"),
        ({"label": ""}, "label"),
    ],
)
async def test_what_can_not_be_asked_for(
    client: Client, which: dict[str, object], said: str
) -> None:
    with pytest.raises(errors.InvalidValue, match=said):
        await anext(client.list("t", **which))  # type: ignore[arg-type]


async def test_why_a_job_does_not_run(client: Client, make_worker: MakeWorker) -> None:
    delayed = await client.create("t", delay="1h")
    [cause] = (await delayed.why()).causes
    assert cause.code == "delayed"
    assert cause.until == (await delayed.get()).delayed_until
    queued = await client.create("t")
    found = await client.why(queued.id)
    assert found.state == "QUEUED"
    assert [cause.code for cause in found.causes] == ["no_runner"]
    await client.pause("t")
    assert "paused" in {cause.code for cause in (await queued.why()).causes}
    with pytest.raises(errors.NotFound):
        await client.why("gone")


async def test_how_each_attempt_ended(client: Client, make_worker: MakeWorker) -> None:
    worker = make_worker()

    @worker.job("t")
    async def fail_once(ctx: packhorse.Context) -> None:
        if ctx.attempt == 1:
            raise packhorse.Fail("not yet", error_type="Early")

    async with worker:
        job = await client.create("t", attempts=2, handle=True, persistent=True)
        await job.result()
    found = (await job.attempts()).attempts
    first = found[0]
    assert (first.attempt, first.ended, first.error and first.error.type) == (1, "failed", "Early")
    assert (await client.attempts(job.id)).attempts == found
    with pytest.raises(errors.NotFound):
        await client.attempts("gone")


async def test_the_events_of_a_job(client: Client, make_worker: MakeWorker) -> None:
    worker = make_worker()

    @worker.job("t")
    async def work(ctx: packhorse.Context) -> None:
        await ctx.progress(50, "half")
        await ctx.log("a line")

    job = await client.create("t", persistent=True)
    events = job.events()
    assert (await anext(events)).state == "QUEUED"
    async with worker:
        rest = [event async for event in events]
    assert rest[-1].state == "COMPLETE"
    assert "a line" in {entry.message for event in rest for entry in event.log}
    with pytest.raises(errors.NotFound):
        await anext(client.job("gone").events())


async def test_what_was_done_by_hand(client: Client) -> None:
    job = await client.create("t")
    await job.cancel(why="first")
    await client.pause("t", why="second")
    newest, older = [action async for action in client.actions()]
    assert (newest.action, newest.type, newest.why) == ("configure", "t", "paused: second")
    assert (older.action, older.job, older.by, older.why) == ("cancel", job.id, client.id, "first")
    assert [action async for action in client.actions(limit=1)] == [newest]
    assert [action async for action in client.actions(before=older.at)] == []


async def test_actions_page_by_page(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        reading = asyncio.create_task(_all(client.actions(before=9, limit=502)))
        asked = await peer.expect(ListActions)
        assert (asked.before, asked.limit) == (9, 500)
        peer.ok(asked, ActionList(actions=(action(8),) * 400, cursor=b"on"))
        asked = await peer.expect(ListActions)
        assert (asked.before, asked.limit, asked.cursor) == (9, 102, b"on")
        peer.ok(asked, ActionList(actions=(action(5),) * 102, cursor=b"further"))
        assert len(await reading) == 502
        reading = asyncio.create_task(_all(client.actions()))
        peer.ok(await peer.expect(ListActions), ActionList(actions=(action(5),)))
        assert await reading == [action(5)]
    assert await peer.end() == []


def action(at: int) -> Action:
    return Action(at=at, action="cancel", by="me")


async def _all(actions: AsyncIterator[Action]) -> list[Action]:
    return [action async for action in actions]

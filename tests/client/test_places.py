"""Claims that a worker holds before it has places for them: those that it asked for, to have them
at hand, and those beyond its credit, which a broker may send all the same."""

import asyncio
import threading

import pytest

from packhorse import InvalidValue, ThreadContext, Worker, places
from packhorse_protocol.messages import (
    Bye,
    Cancellation,
    Cancelling,
    ClaimJobs,
    ClaimRef,
    Claims,
    Complete,
    Done,
    Ended,
    Get,
    JobView,
    Problem,
    Release,
    Revocation,
    Revoke,
    Take,
)
from tests.client.handling import synchronise
from tests.client.scripted import Peer, ScriptedBroker
from tests.client.serving import ended, revoke, serving
from tests.client.test_runner import Jobs, claim, leave, resumed, working


@pytest.fixture(params=[3, 0], ids=["asked-for", "beyond-credit"])
def prefetch(request: pytest.FixtureRequest) -> int:
    """How many claims are asked for beyond those that run."""
    ahead: int = request.param
    return ahead


async def begun(jobs: Jobs, peer: Peer, names: str) -> None:
    """So many claims came, and four of them run."""
    peer.send(Claims(claims=tuple(claim(name) for name in names)))
    for name in names[:4]:
        assert await jobs.running.get() == name


async def completed(jobs: Jobs, peer: Peer, *names: str) -> None:
    for name in names:
        jobs.end(name)
        complete = await peer.expect(Complete)
        assert [completion.job for completion in complete.jobs] == [name]
        peer.ok(complete, Ended(state="COMPLETE"))


async def test_a_place_that_falls_free_is_taken_without_a_word(
    scripted: ScriptedBroker, prefetch: int
) -> None:
    async with working(scripted, prefetch=prefetch) as (jobs, peer):
        await begun(jobs, peer, "abcdefg")
        assert jobs.running.empty()
        jobs.end("b")
        assert await jobs.running.get() == "e"  # nothing was answered in between
        complete = await peer.expect(Complete)
        peer.ok(complete, Ended(state="COMPLETE"))
        await completed(jobs, peer, "a", "c", "d", "e", "f", "g")
        assert [jobs.running.get_nowait() for _ in range(2)] == ["f", "g"]
        await leave(jobs, peer)


async def test_what_has_not_begun_is_given_back_at_the_end(
    scripted: ScriptedBroker, prefetch: int
) -> None:
    async with working(scripted, prefetch=prefetch) as (jobs, peer):
        await begun(jobs, peer, "abcdef")
        leaving = asyncio.create_task(jobs.worker.__aexit__(None, None, None))
        take = await peer.expect(Take)
        assert (take.types, take.credit) == ({}, 0)
        release = await peer.expect(Release)
        assert release.claims == tuple(ClaimRef(job=name, token=claim(name).token) for name in "ef")
        peer.ok(take, Done())
        peer.ok(release, *[Ended(state="QUEUED")] * 2)
        await completed(jobs, peer, *"abcd")
        peer.ok(await peer.expect(Bye), Done())
        await leaving


async def test_what_is_cancelled_before_it_began_is_given_back(
    scripted: ScriptedBroker, prefetch: int
) -> None:
    async with working(scripted, prefetch=prefetch) as (jobs, peer):
        await begun(jobs, peer, "abcdef")
        cancelled = Cancellation(job="e", token=claim("e").token, grace_ms=10_000)
        peer.send(Cancelling(claims=(cancelled,)))
        release = await peer.expect(Release)
        assert release.claims == (ClaimRef(job="e", token=claim("e").token),)
        peer.ok(release, Ended(state="FAILED"))
        jobs.end("a")
        assert await jobs.running.get() == "f"
        peer.ok(await peer.expect(Complete), Ended(state="COMPLETE"))
        await completed(jobs, peer, *"bcdf")
        await leave(jobs, peer)


async def test_what_is_revoked_before_it_began_never_runs(
    scripted: ScriptedBroker, prefetch: int
) -> None:
    async with working(scripted, prefetch=prefetch) as (jobs, peer):
        await begun(jobs, peer, "abcdef")
        revoked = Revocation(job="e", token=claim("e").token, reason="timeout")
        peer.send(Revoke(claims=(revoked,)))
        # The answer that follows is read after it.
        await completed(jobs, peer, "a")
        assert await jobs.running.get() == "f"
        await completed(jobs, peer, *"bcdf")
        await leave(jobs, peer)


async def test_of_what_waits_only_that_runs_which_comes_again(
    scripted: ScriptedBroker, prefetch: int
) -> None:
    """What ended while there was no connection was not told."""
    async with working(scripted, prefetch=prefetch) as (jobs, peer):
        await begun(jobs, peer, "abcdef")
        await peer.close()
        peer = await resumed(scripted)
        peer.send(Claims(claims=tuple(claim(name) for name in "abcdf")))
        peer.ok(await peer.expect(Take), Done())
        await completed(jobs, peer, *"abcd")
        assert await jobs.running.get() == "f"
        await completed(jobs, peer, "f")
        assert jobs.running.empty()
        await leave(jobs, peer)


async def test_a_forgotten_worker_lets_go_of_what_waits(
    scripted: ScriptedBroker, prefetch: int
) -> None:
    async with working(scripted, prefetch=prefetch) as (jobs, peer):
        await begun(jobs, peer, "abcdef")
        await peer.close()
        peer = await resumed(scripted, known=False)
        assert {await jobs.cancelled.get() for _ in range(4)} == set("abcd")
        peer.ok(await peer.expect(Take), Done())
        assert jobs.running.empty()
        await leave(jobs, peer)


async def test_nothing_begins_while_there_is_no_connection(
    scripted: ScriptedBroker, prefetch: int
) -> None:
    async with working(scripted, prefetch=prefetch) as (jobs, peer):
        await begun(jobs, peer, "abcde")
        await peer.close()
        peer = await scripted.accept()  # nothing is said on it yet
        jobs.end("a")
        await jobs.over("a")
        assert jobs.running.empty()
        held = tuple(claim(name) for name in "abcde")
        await peer.welcome(Claims(claims=held), resumed=True)
        complete, take = await peer.expect(Complete), await peer.expect(Take)
        assert await jobs.running.get() == "e"
        peer.ok(complete, Ended(state="COMPLETE"))
        peer.ok(take, Done())
        await completed(jobs, peer, *"bcde")
        await leave(jobs, peer)


async def test_what_is_given_back_does_not_run_when_it_is_pushed_again(
    scripted: ScriptedBroker, prefetch: int
) -> None:
    async with working(scripted, prefetch=prefetch) as (jobs, peer):
        await begun(jobs, peer, "abcde")
        cancelled = Cancellation(job="e", token=claim("e").token, grace_ms=10_000)
        peer.send(Cancelling(claims=(cancelled,)))
        assert (await peer.expect(Release)).claims[0].job == "e"
        await peer.close()
        peer = await resumed(scripted)
        peer.send(Claims(claims=tuple(claim(name) for name in "abcde")))
        peer.ok(await peer.expect(Release), Ended(state="FAILED"))
        peer.ok(await peer.expect(Take), Done())
        await completed(jobs, peer, *"abcd")
        assert jobs.running.empty()
        await leave(jobs, peer)


async def test_what_is_claimed_by_its_id_runs_at_once(
    scripted: ScriptedBroker, prefetch: int
) -> None:
    async with working(scripted, prefetch=prefetch) as (jobs, peer):
        await begun(jobs, peer, "abcdef")
        claiming = asyncio.create_task(jobs.worker.claim("f"))
        get = await peer.expect(Get)
        peer.ok(get, JobView(id="f", type="t", state="STARTED", version=2, created_at=1))
        held = Problem(code="wrong_state", message="the job is STARTED")
        peer.ok(await peer.expect(ClaimJobs), held)
        await claiming
        assert await jobs.running.get() == "f"
        claiming = asyncio.create_task(jobs.worker.claim("x"))
        get = await peer.expect(Get)
        peer.ok(get, JobView(id="x", type="t", state="QUEUED", version=1, created_at=1))
        peer.ok(await peer.expect(ClaimJobs), claim("x"))
        await claiming
        assert await jobs.running.get() == "x"
        await completed(jobs, peer, *"abcdxf")
        assert await jobs.running.get() == "e"
        await completed(jobs, peer, "e")
        await leave(jobs, peer)


async def test_what_has_run_out_of_time_is_not_begun(
    scripted: ScriptedBroker, prefetch: int
) -> None:
    async with working(scripted, prefetch=prefetch) as (jobs, peer):
        late = claim("e", remaining_ms=0)
        peer.send(Claims(claims=(*(claim(name) for name in "abcd"), late, claim("f"))))
        for name in "abcd":
            assert await jobs.running.get() == name
        jobs.end("a")
        assert await jobs.running.get() == "f"
        peer.ok(await peer.expect(Complete), Ended(state="COMPLETE"))
        release = await peer.expect(Release)
        assert release.claims == (ClaimRef(job="e", token=late.token),)
        peer.ok(release, Problem(code="stale_claim", message="it is over"))
        await completed(jobs, peer, *"bcdf")
        await leave(jobs, peer)


async def test_a_type_with_a_bound_does_not_hold_up_the_others(scripted: ScriptedBroker) -> None:
    jobs = Jobs(scripted, prefetch=8)
    jobs.worker.job("few", concurrency=1)(jobs.run)
    opening = asyncio.create_task(jobs.worker.__aenter__())
    peer = await scripted.accept()
    await peer.welcome()
    take = await peer.expect(Take)
    assert (take.types, take.credit) == ({"t": 12, "few": 3}, 12)
    peer.ok(take, Done())
    await opening
    few = tuple(claim(name, job_type="few") for name in "abc")
    peer.send(Claims(claims=(*few, *(claim(name) for name in "defg"))))
    assert [await jobs.running.get() for _ in range(4)] == ["a", "d", "e", "f"]
    await completed(jobs, peer, "d")
    assert await jobs.running.get() == "g"
    await completed(jobs, peer, "a")
    assert await jobs.running.get() == "b"
    await completed(jobs, peer, *"befgc")
    await leave(jobs, peer)


async def test_too_many_that_wait_are_given_back(
    scripted: ScriptedBroker, prefetch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for may wait in any case."""
    monkeypatch.setattr(places, "WAITING_CLAIMS", 2)
    async with working(scripted, prefetch=prefetch) as (jobs, peer):
        most = 4 + 4 + prefetch
        names = "abcdefghijklm"[: most + 2]
        await begun(jobs, peer, names)
        release = await peer.expect(Release)
        assert [ref.job for ref in release.claims] == list(names[most:])
        peer.ok(release, *[Ended(state="QUEUED")] * 2)
        await completed(jobs, peer, *names[:most])
        await leave(jobs, peer)


# -- places of what was revoked -------------------------------------------------------------------


async def test_a_function_has_its_place_until_it_stops(scripted: ScriptedBroker) -> None:
    """The broker gives it away when it revokes the claim."""
    stopping, stop = asyncio.Event(), asyncio.Event()
    jobs = Jobs(scripted)

    @jobs.worker.job("slow", concurrency=1)
    async def work() -> None:
        try:
            await stop.wait()
        finally:
            stopping.set()
            await stop.wait()

    async with serving(scripted, jobs.worker) as peer:
        held = claim("a", job_type="slow")
        peer.send(Claims(claims=(held, claim("b", job_type="slow"), claim("c"))))
        assert await jobs.running.get() == "c"
        peer.send(revoke(held))
        await stopping.wait()
        await completed(jobs, peer, "c")
        assert "packhorse-job-b" not in {task.get_name() for task in asyncio.all_tasks()}
        stop.set()
        assert (await ended(peer)).job == "b"


async def test_a_thread_has_its_place_until_it_returns(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial, concurrency=1)
    running: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    go_on = threading.Event()

    @worker.job("t")
    def work(ctx: ThreadContext) -> None:
        loop.call_soon_threadsafe(running.put_nowait, ctx.job)
        assert go_on.wait(20)

    async with serving(scripted, worker) as peer:
        held = claim("a")
        peer.send(Claims(claims=(held,)))
        assert await running.get() == "a"
        peer.send(revoke(held), Claims(claims=(claim("b"),)))
        await synchronise(worker.client, peer)
        assert "packhorse-job-b" not in {task.get_name() for task in asyncio.all_tasks()}
        go_on.set()
        assert (await ended(peer)).job == "b"


@pytest.mark.parametrize("ahead", [-1, 99_991])
def test_prefetch_has_bounds(ahead: int) -> None:
    with pytest.raises(InvalidValue, match="prefetch"):
        Worker(prefetch=ahead)

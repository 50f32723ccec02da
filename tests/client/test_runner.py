"""Claims over a connection's end, with a broker that says what the test wants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from packhorse import Context, Worker, errors
from packhorse_protocol.messages import (
    Bye,
    Claim,
    ClaimJobs,
    ClaimRef,
    Claims,
    Complete,
    Completion,
    Done,
    Ended,
    Fail,
    Get,
    JobView,
    Problem,
    Release,
    ReportProgress,
    Revocation,
    Revoke,
    Take,
    WriteLog,
)
from tests.client.scripted import Peer, ScriptedBroker

STALE = Problem(code="stale_claim", message="this claim is over")


def claim(job: str, *, fence: int = 1, job_type: str = "t", attempt: int = 1) -> Claim:
    token = fence.to_bytes(8, "big") + job.encode().ljust(8, b"-")
    return Claim(job=job, token=token, fence=fence, type=job_type, attempt=attempt, payload=b"")


class Jobs:
    """Job functions that go on when the test says so."""

    def __init__(self, scripted: ScriptedBroker, **options: Any) -> None:
        self.worker = Worker(dial=scripted.dial, concurrency=4, **options)
        self.running: asyncio.Queue[str] = asyncio.Queue()
        self.cancelled: asyncio.Queue[str] = asyncio.Queue()
        self.said: list[str] = []
        """What each run says before all else."""
        self._ends: dict[str, asyncio.Event] = {}
        self.worker.job("t")(self.run)

    async def run(self, ctx: Context) -> str:
        end = self._ends.setdefault(ctx.job, asyncio.Event())
        for percent, line in enumerate(self.said):
            await ctx.progress(percent, line)
            await ctx.log(line)
        self.running.put_nowait(ctx.job)
        try:
            await end.wait()
        except asyncio.CancelledError:
            self.cancelled.put_nowait(ctx.job)
            raise
        return "done"

    def end(self, job: str) -> None:
        self._ends[job].set()


@asynccontextmanager
async def working(
    scripted: ScriptedBroker, *, prefetch: int = 0, **options: Any
) -> AsyncIterator[tuple[Jobs, Peer]]:
    """A worker that takes jobs of type t; it leaves when the test has let go of its peers."""
    jobs = Jobs(scripted, prefetch=prefetch, **options)
    opening = asyncio.create_task(jobs.worker.__aenter__())
    peer = await scripted.accept()
    await peer.welcome()
    take = await peer.expect(Take)
    assert (take.types, take.credit) == ({"t": 4 + prefetch}, 4 + prefetch)
    peer.ok(take, Done())
    await opening
    yield jobs, peer


async def resumed(scripted: ScriptedBroker, *, known: bool = True) -> Peer:
    """The worker's next connection, up to its renewed `take`."""
    peer = await scripted.accept()
    await peer.welcome(resumed=known)
    return peer


async def leave(jobs: Jobs, peer: Peer) -> None:
    """The worker ends in peace."""
    leaving = asyncio.create_task(jobs.worker.__aexit__(None, None, None))
    take = await peer.expect(Take)
    assert (take.types, take.credit) == ({}, 0)
    peer.ok(take, Done())
    peer.ok(await peer.expect(Bye), Done())
    await leaving


async def test_ends_of_one_turn_leave_in_one_frame(scripted: ScriptedBroker) -> None:
    async with working(scripted) as (jobs, peer):
        peer.send(Claims(claims=(claim("a"), claim("b"), claim("c"))))
        for job in "abc":
            assert await jobs.running.get() == job
        for job in "abc":
            jobs.end(job)
        complete = await peer.expect(Complete)
        assert complete.jobs == tuple(
            Completion(job=job, token=claim(job).token, result=b"\xa4done") for job in "abc"
        )
        peer.ok(complete, *[Ended(state="COMPLETE")] * 3)
        await leave(jobs, peer)


async def test_a_job_has_a_task_until_its_function_ends(scripted: ScriptedBroker) -> None:
    def has_task() -> bool:
        return "packhorse-job-a" in {task.get_name() for task in asyncio.all_tasks()}

    async with working(scripted) as (jobs, peer):
        peer.send(Claims(claims=(claim("a"),)))
        await jobs.running.get()
        assert has_task()
        jobs.end("a")
        complete = await peer.expect(Complete)
        assert not has_task()
        peer.ok(complete, Ended(state="COMPLETE"))
        await leave(jobs, peer)


async def test_a_claim_that_is_pushed_again_goes_on(scripted: ScriptedBroker) -> None:
    async with working(scripted) as (jobs, peer):
        peer.send(Claims(claims=(claim("a"),)))
        await jobs.running.get()
        await peer.close()
        peer = await resumed(scripted)
        peer.send(Claims(claims=(claim("a"), claim("b"))))
        peer.ok(await peer.expect(Take), Done())
        assert await jobs.running.get() == "b"
        assert jobs.running.empty()
        for job in "ab":
            jobs.end(job)
            complete = await peer.expect(Complete)
            assert complete.jobs[0].job == job
            peer.ok(complete, Ended(state="COMPLETE"))
        await leave(jobs, peer)


@pytest.mark.parametrize("answer", [Ended(state="COMPLETE"), STALE, "not_found"])
async def test_an_end_without_answer_is_told_again(
    scripted: ScriptedBroker, answer: object
) -> None:
    async with working(scripted) as (jobs, peer):
        peer.send(Claims(claims=(claim("a"),)))
        await jobs.running.get()
        jobs.end("a")
        first = await peer.expect(Complete)
        await peer.close()
        peer = await resumed(scripted)
        peer.send(Claims(claims=(claim("a"),)))
        second = await peer.expect(Complete)
        assert second.jobs == first.jobs
        gone = Problem(code="not_found", message="there is no such job")
        peer.ok(second, gone if answer == "not_found" else answer)
        peer.ok(await peer.expect(Take), Done())
        await leave(jobs, peer)


async def test_claims_may_come_right_behind_the_welcome(scripted: ScriptedBroker) -> None:
    jobs = Jobs(scripted, client_id="me", secret=b"s" * 32)
    opening = asyncio.create_task(jobs.worker.__aenter__())
    peer = await scripted.accept()
    await peer.welcome(Claims(claims=(claim("a"),)), resumed=True)
    peer.ok(await peer.expect(Take), Done())
    await opening
    assert await jobs.running.get() == "a"
    jobs.end("a")
    peer.ok(await peer.expect(Complete), Ended(state="COMPLETE"))
    await leave(jobs, peer)


async def test_a_forgotten_worker_lets_go(scripted: ScriptedBroker) -> None:
    async with working(scripted) as (jobs, peer):
        peer.send(Claims(claims=(claim("a"),)))
        await jobs.running.get()
        await peer.close()
        peer = await resumed(scripted, known=False)
        assert await jobs.cancelled.get() == "a"
        peer.ok(await peer.expect(Take), Done())
        await leave(jobs, peer)


async def test_a_revoked_claim_is_let_go(scripted: ScriptedBroker) -> None:
    async with working(scripted) as (jobs, peer):
        first, second = claim("a"), claim("a", fence=2)
        peer.send(Claims(claims=(first,)))
        await jobs.running.get()
        unknown = Revocation(job="x", token=second.token, reason="removed")
        known = Revocation(job="a", token=first.token, reason="taken_back")
        peer.send(Revoke(claims=(unknown, known)), Claims(claims=(second,)))
        assert await jobs.cancelled.get() == "a"
        assert await jobs.running.get() == "a"
        jobs.end("a")
        complete = await peer.expect(Complete)
        assert complete.jobs[0].token == second.token
        peer.ok(complete, Ended(state="COMPLETE"))
        await leave(jobs, peer)


async def test_a_claim_revoked_before_it_ran_never_runs(scripted: ScriptedBroker) -> None:
    async with working(scripted) as (jobs, peer):
        revocation = Revocation(job="a", token=claim("a").token, reason="removed")
        peer.send(
            Claims(claims=(claim("a"),)), Revoke(claims=(revocation,)), Claims(claims=(claim("b"),))
        )
        assert await jobs.running.get() == "b"
        jobs.end("b")
        complete = await peer.expect(Complete)
        assert [ended.job for ended in complete.jobs] == ["b"]
        peer.ok(complete, Ended(state="COMPLETE"))
        await leave(jobs, peer)


async def test_what_comes_while_leaving_is_given_back(scripted: ScriptedBroker) -> None:
    async with working(scripted) as (jobs, peer):
        peer.send(Claims(claims=(claim("a"),)))
        await jobs.running.get()
        leaving = asyncio.create_task(jobs.worker.__aexit__(None, None, None))
        take = await peer.expect(Take)
        peer.send(Claims(claims=(claim("late"),)))
        release = await peer.expect(Release)
        assert release.claims == (ClaimRef(job="late", token=claim("late").token),)
        peer.ok(release, Ended(state="QUEUED"))
        peer.ok(take, Done())
        jobs.end("a")
        peer.ok(await peer.expect(Complete), Ended(state="COMPLETE"))
        peer.ok(await peer.expect(Bye), Done())
        await leaving


def job_of_type(job_type: str) -> JobView:
    return JobView(id="a", type=job_type, state="QUEUED", version=1, created_at=1)


async def test_a_job_of_a_type_without_function_is_not_claimed(scripted: ScriptedBroker) -> None:
    async with working(scripted) as (jobs, peer):
        claiming = asyncio.create_task(jobs.worker.claim("a"))
        peer.ok(await peer.expect(Get), job_of_type("other"))
        with pytest.raises(errors.InvalidValue, match=r"job a: .* no function for type 'other'"):
            await claiming
        await leave(jobs, peer)


async def test_a_job_that_changed_its_type_is_given_back(scripted: ScriptedBroker) -> None:
    """Removed, and another one created with its id, before it was claimed."""
    async with working(scripted) as (jobs, peer):
        claiming = asyncio.create_task(jobs.worker.claim("a"))
        peer.ok(await peer.expect(Get), job_of_type("t"))
        peer.ok(await peer.expect(ClaimJobs), claim("a", job_type="other"))
        await claiming
        peer.ok(await peer.expect(Release), Ended(state="QUEUED"))
        await leave(jobs, peer)


async def test_a_worker_that_stops_claims_nothing(scripted: ScriptedBroker) -> None:
    async with working(scripted) as (jobs, peer):
        leaving = asyncio.create_task(jobs.worker.__aexit__(None, None, None))
        take = await peer.expect(Take)
        with pytest.raises(errors.ClientClosed, match="stopping"):
            await jobs.worker.claim("a")
        peer.ok(take, Done())
        peer.ok(await peer.expect(Bye), Done())
        await leaving


async def test_a_claim_by_id_whose_answer_was_lost(scripted: ScriptedBroker) -> None:
    async with working(scripted) as (jobs, peer):
        claiming = asyncio.create_task(jobs.worker.claim("a"))
        peer.ok(await peer.expect(Get), job_of_type("t"))
        await peer.expect(ClaimJobs)
        await peer.close()
        peer = await resumed(scripted)
        peer.send(Claims(claims=(claim("a"),)))
        peer.ok(await peer.expect(Take), Done())
        request = await peer.expect(ClaimJobs)
        peer.ok(request, Problem(code="wrong_state", message="the job is STARTED"))
        await claiming
        assert await jobs.running.get() == "a"
        jobs.end("a")
        peer.ok(await peer.expect(Complete), Ended(state="COMPLETE"))
        await leave(jobs, peer)


async def test_a_result_that_the_broker_finds_too_large(scripted: ScriptedBroker) -> None:
    async with working(scripted) as (jobs, peer):
        peer.send(Claims(claims=(claim("a"),)))
        await jobs.running.get()
        jobs.end("a")
        complete = await peer.expect(Complete)
        peer.ok(complete, Problem(code="too_large", message="the result has no room"))
        fail = await peer.expect(Fail)
        [failure] = fail.jobs
        assert (failure.job, failure.retry, failure.error.type) == ("a", False, "TooLarge")
        peer.ok(fail, Ended(state="FAILED"))
        await leave(jobs, peer)


async def test_an_end_that_is_refused_is_logged(
    scripted: ScriptedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(scripted) as (jobs, peer):
        peer.send(Claims(claims=(claim("a"),)))
        await jobs.running.get()
        jobs.end("a")
        peer.refuse(await peer.expect(Complete), "forbidden")
        await leave(jobs, peer)
    assert "the end of job a was not taken" in caplog.text


async def test_a_worker_that_may_not_run_says_so(scripted: ScriptedBroker) -> None:
    jobs = Jobs(scripted)
    opening = asyncio.create_task(jobs.worker.__aenter__())
    peer = await scripted.accept()
    await peer.welcome()
    peer.refuse(await peer.expect(Take), "forbidden")
    peer.ok(await peer.expect(Bye), Done())
    with pytest.raises(errors.Forbidden):
        await opening


# -- reports --------------------------------------------------------------------------------------


async def test_reports_come_before_the_end(scripted: ScriptedBroker) -> None:
    async with working(scripted) as (jobs, peer):
        jobs.said = ["one", "two", "three"]
        peer.send(Claims(claims=(claim("a"),)))
        jobs.end(await jobs.running.get())
        first = await peer.expect(ReportProgress)
        assert [(report.percent, report.text) for report in first.reports] == [(0, "one")]
        peer.ok(first, Done())
        log = await peer.expect(WriteLog)
        assert [report.messages for report in log.reports] == [("one",), ("two",)]
        peer.ok(log, Done(), Done())
        second = await peer.expect(ReportProgress)
        assert [(report.percent, report.text) for report in second.reports] == [(2, "three")]
        peer.ok(second, Done())
        log = await peer.expect(WriteLog)
        assert [report.messages for report in log.reports] == [("three",)]
        peer.ok(log, Done())
        peer.ok(await peer.expect(Complete), Ended(state="COMPLETE"))
        await leave(jobs, peer)

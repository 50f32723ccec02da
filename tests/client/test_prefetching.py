"""Claims that a worker holds before it has places for them."""

import asyncio

import pytest

from packhorse import InvalidValue, Worker
from packhorse_protocol.messages import (
    Bye,
    Cancellation,
    Cancelling,
    ClaimRef,
    Claims,
    Complete,
    Done,
    Ended,
    Release,
    Revocation,
    Revoke,
    Take,
)
from tests.client.scripted import Peer, ScriptedBroker
from tests.client.test_runner import Jobs, claim, leave, resumed, working


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


async def test_a_place_that_falls_free_is_taken_without_a_word(scripted: ScriptedBroker) -> None:
    async with working(scripted, prefetch=3) as (jobs, peer):
        await begun(jobs, peer, "abcdefg")
        assert jobs.running.empty()
        jobs.end("b")
        assert await jobs.running.get() == "e"  # nothing was answered in between
        complete = await peer.expect(Complete)
        peer.ok(complete, Ended(state="COMPLETE"))
        await completed(jobs, peer, "a", "c", "d", "e", "f", "g")
        assert [jobs.running.get_nowait() for _ in range(2)] == ["f", "g"]
        await leave(jobs, peer)


async def test_what_has_not_begun_is_given_back_at_the_end(scripted: ScriptedBroker) -> None:
    async with working(scripted, prefetch=3) as (jobs, peer):
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


async def test_what_is_cancelled_before_it_began_is_given_back(scripted: ScriptedBroker) -> None:
    async with working(scripted, prefetch=3) as (jobs, peer):
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


async def test_what_is_revoked_before_it_began_never_runs(scripted: ScriptedBroker) -> None:
    async with working(scripted, prefetch=3) as (jobs, peer):
        await begun(jobs, peer, "abcdef")
        revoked = Revocation(job="e", token=claim("e").token, reason="timeout")
        peer.send(Revoke(claims=(revoked,)))
        # The answer that follows is read after it.
        await completed(jobs, peer, "a")
        assert await jobs.running.get() == "f"
        await completed(jobs, peer, *"bcdf")
        await leave(jobs, peer)


async def test_claims_that_wait_are_kept_over_a_resume(scripted: ScriptedBroker) -> None:
    async with working(scripted, prefetch=3) as (jobs, peer):
        await begun(jobs, peer, "abcdef")
        await peer.close()
        peer = await resumed(scripted)
        peer.send(Claims(claims=tuple(claim(name) for name in "abcdef")))
        peer.ok(await peer.expect(Take), Done())
        await completed(jobs, peer, *"abcdef")
        assert [jobs.running.get_nowait() for _ in range(2)] == ["e", "f"]
        assert jobs.running.empty()
        await leave(jobs, peer)


async def test_a_forgotten_worker_lets_go_of_what_waits(scripted: ScriptedBroker) -> None:
    async with working(scripted, prefetch=3) as (jobs, peer):
        await begun(jobs, peer, "abcdef")
        await peer.close()
        peer = await resumed(scripted, known=False)
        assert {await jobs.cancelled.get() for _ in range(4)} == set("abcd")
        peer.ok(await peer.expect(Take), Done())
        assert jobs.running.empty()
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


@pytest.mark.parametrize("prefetch", [-1, 99_991])
def test_prefetch_has_bounds(prefetch: int) -> None:
    with pytest.raises(InvalidValue, match="prefetch"):
        Worker(prefetch=prefetch)

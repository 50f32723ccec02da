"""How a runner takes it that a job is to be cancelled."""

from packhorse_conformance.scenario import scenario
from packhorse_conformance.stage import Stage, cancelling, claim, claims, token
from packhorse_conformance.verdict import expect


@scenario("10")
async def ends_what_is_to_be_cancelled(stage: Stage) -> None:
    """A job that is to be cancelled is ended, with its token."""
    peer = await stage.run({"slow": "hold"})
    peer.send(claims(claim("held", type="slow")))
    await stage.driver.event("running", job="held")
    peer.send(cancelling("held", why="nobody needs it"))
    end = await peer.attempt_end("held")
    expect(end["token"] == token("held"), "the claim's token", end)
    await stage.driver.event("ended", job="held")


@scenario("10")
async def cancels_one_of_several(stage: Stage) -> None:
    """Only the named claim is cancelled, also where the request comes twice."""
    peer = await stage.run({"slow": "hold"})
    peer.send(claims(claim("a", type="slow"), claim("b", type="slow")))
    for job in ("a", "b"):
        await stage.driver.event("running", job=job)
    peer.send(cancelling("a"), cancelling("a", grace_ms=10_000), cancelling("never-had"))
    await peer.attempt_end("a")
    await stage.driver.event("ended", job="a")
    expect(not stage.driver.count("ended", job="b"), "`b` to run on", "its end")
    peer.send(cancelling("b"))
    await peer.attempt_end("b")
    await stage.driver.event("ended", job="b")


@scenario("10")
async def cancels_what_was_just_claimed(stage: Stage) -> None:
    """The claim and its cancellation may come in one segment."""
    peer = await stage.run({"slow": "hold", "work": "echo"})
    peer.send(claims(claim("held", type="slow")), cancelling("held"))
    end = await peer.attempt_end("held")
    expect(end["token"] == token("held"), "the claim's token", end)
    peer.send(claims(claim("next")))
    await peer.attempt_end("next", "complete")


@scenario("10")
async def cancels_after_a_resume(stage: Stage) -> None:
    """The push comes again after a resume, and ends the job then if it had been lost before."""
    peer = await stage.run({"slow": "hold"})
    peer.send(claims(claim("held", type="slow")))
    await stage.driver.event("running", job="held")
    back = await stage.resumed(peer, claims(claim("held", type="slow")), cancelling("held"))
    end = await back.attempt_end("held")
    expect(end["token"] == token("held"), "the claim's token", end)
    await stage.driver.event("ended", job="held")
    expect(stage.driver.count("running", job="held") == 1, "one run of it", "two")


@scenario("14")
async def asks_for_a_cancellation(stage: Stage) -> None:
    """`cancel` says the grace time and the reason, and tells the state."""
    peer = await stage.connect()
    answer = stage.driver.do("cancel", job="a", grace_ms=1_500, why="no longer \u2713")
    cancel = await peer.expect("cancel")
    expect(cancel["jobs"] == ["a"], "the job", cancel)
    expect(cancel.get("grace_ms") == 1_500, "`grace_ms` 1500", cancel)
    expect(cancel.get("why") == "no longer \u2713", "the reason", cancel)
    peer.ok(cancel, {"state": "STARTED"})
    found = await answer.ok()
    expect(found.get("state") == "STARTED", "the state STARTED", found)

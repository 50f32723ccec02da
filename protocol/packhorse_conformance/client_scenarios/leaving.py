"""How a connection or a client ends: by the broker's word, or by the client's own."""

from packhorse_conformance.channel import Ended
from packhorse_conformance.scenario import scenario
from packhorse_conformance.stage import Stage, claim, claims, token, view
from packhorse_conformance.verdict import expect


@scenario("7")
async def says_bye(stage: Stage) -> None:
    """A client that is closed says `bye` last, and what it is asked after that is refused."""
    peer = await stage.connect()
    answer = stage.driver.do("close")
    peer.done(await peer.expect("bye"))
    await peer.close()
    await answer.ok()
    await stage.driver.do("cancel", job="a").error("closed")
    await stage.finish()
    expect(len(stage.broker.peers) == 1, "no further connection", len(stage.broker.peers))


@scenario("7")
async def closes_without_an_answer(stage: Stage) -> None:
    """A broker that closes without an answer to `bye` keeps no client from leaving."""
    peer = await stage.connect()
    answer = stage.driver.do("close")
    await peer.expect("bye")
    peer.abort()
    await answer.ok()
    await stage.finish()
    expect(len(stage.broker.peers) == 1, "no further connection", len(stage.broker.peers))


@scenario("7")
async def gives_way_to_a_newer_connection(stage: Stage) -> None:
    """A superseded client is over: it tells so, and does not connect again."""
    peer = await stage.connect()
    peer.close_with("superseded")
    await peer.close()
    await stage.driver.do("cancel", job="a").error("superseded", "closed")
    await stage.finish()
    expect(len(stage.broker.peers) == 1, "no further connection", len(stage.broker.peers))


@scenario("17")
async def comes_back_when_it_was_removed(stage: Stage) -> None:
    """`client_gone`: the client connects again; its claims are gone, and what runs is stopped."""
    peer = await stage.run({"slow": "hold", "work": "echo"})
    peer.send(claims(claim("held", type="slow")))
    await stage.driver.event("running", job="held")
    peer.close_with("client_gone")
    await peer.close()
    back, _ = await stage.comes_back(resumed=False, registered_at=1_790_000_999_999)
    await stage.driver.event("ended", lambda event: event["how"] != "complete", job="held")
    back.send(claims(claim("next")))
    await back.attempt_end("next", "complete")


@scenario("17")
async def comes_back_after_a_retryable_end(stage: Stage) -> None:
    """`silent`, `slow_reader` and `draining` close the connection; the client resumes."""
    peer = await stage.connect()
    for code in ("silent", "slow_reader", "draining"):
        peer.close_with(code)
        await peer.close()
        peer, _ = await stage.comes_back()
        await stage.still_answers(peer)


@scenario("16")
async def leaves_a_draining_broker(stage: Stage) -> None:
    """`drain`: the client takes its answers and goes, at the latest when the broker closes."""
    peer = await stage.connect()
    answer = stage.driver.do("get", jobs=["a"])
    get = await peer.expect("get")
    peer.send({"t": "drain", "grace_ms": 30_000})
    peer.ok(get, view("a"))
    await answer.ok()
    peer.close_with("draining")
    await peer.close()
    back, _ = await stage.comes_back()
    await stage.still_answers(back)


@scenario("16")
async def ends_jobs_of_a_draining_broker(stage: Stage) -> None:
    """What was claimed from a draining broker ends: there, or after the resume."""
    peer = await stage.run({"work": "echo"})
    peer.send(claims(claim("a", payload=b"x")), {"t": "drain", "grace_ms": 30_000})
    try:
        end = await peer.attempt_end("a")
    except Ended:
        back, _ = await stage.comes_back()
        back.send(claims(claim("a", payload=b"x")))
        end = await back.attempt_end("a")
    expect(end["token"] == token("a"), "the claim's token", end)

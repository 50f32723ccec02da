"""Heartbeats both ways, and silence."""

from packhorse_conformance.scenario import scenario
from packhorse_conformance.stage import Stage, cancelling, claim, claims
from packhorse_conformance.verdict import expect


@scenario("8")
async def beats(stage: Stage) -> None:
    """A client that has nothing to say sends `beat` after `heartbeat_ms`, again and again."""
    peer = await stage.connect(heartbeat_ms=50, timeout_ms=60_000)
    for _ in range(3):
        await peer.beat()
    await stage.still_answers(peer)


@scenario("8")
async def beats_while_it_runs_a_job(stage: Stage) -> None:
    """A job that runs holds up no heartbeat."""
    peer = await stage.run({"slow": "hold"}, heartbeat_ms=50, timeout_ms=60_000)
    peer.send(claims(claim("held", type="slow")))
    await stage.driver.event("running", job="held")
    for _ in range(3):
        await peer.beat()
    peer.send(cancelling("held"))
    await peer.attempt_end("held")


@scenario("8")
async def gives_up_a_silent_broker(stage: Stage) -> None:
    """A broker that is silent for `timeout_ms` is dead: the client closes and resumes."""
    peer = await stage.connect(heartbeat_ms=100, timeout_ms=400)
    await peer.end("that the client closes after `timeout_ms` of silence")
    back, hello = await stage.comes_back()
    expect(hello.get("client") == peer.client, "the same client again", hello)
    await stage.still_answers(back)


@scenario("8")
async def hears_a_beat(stage: Stage) -> None:
    """While the broker beats, however little else it says, the connection stays."""
    peer = await stage.connect(heartbeat_ms=500, timeout_ms=3_000)
    for _ in range(7):  # longer than the timeout
        await peer.beat()
        peer.send({"t": "beat"})
    await stage.still_answers(peer)


@scenario("8")
async def hears_any_frame(stage: Stage) -> None:
    """Any frame is a sign of life, also one that the client does not know."""
    peer = await stage.connect(heartbeat_ms=500, timeout_ms=3_000)
    for _ in range(7):
        await peer.beat()
        peer.send({"t": "weather", "sunny": True})
    await stage.still_answers(peer)

"""What a client does when its connection is lost."""

from packhorse_conformance.peer import problem
from packhorse_conformance.scenario import scenario
from packhorse_conformance.stage import Stage, cancelling, claim, claims, news, token, view
from packhorse_conformance.verdict import expect

ANOTHER_MS = 1_790_000_999_999
"""Another `registered_at` than that of the first `welcome`."""


@scenario("7")
async def comes_back_as_itself(stage: Stage) -> None:
    """After a lost connection the client connects with its id and its secret, again and again."""
    peer = await stage.connect()
    for _ in range(3):
        peer = await stage.resumed(peer)
        await stage.still_answers(peer)


@scenario("7")
async def comes_back_after_an_end_in_good_order(stage: Stage) -> None:
    """A connection that the broker closed without a word is a lost one."""
    peer = await stage.connect()
    await peer.close()
    back, hello = await stage.comes_back()
    expect(hello.get("secret") == peer.secret, "the secret of the first `welcome`", hello)
    await stage.still_answers(back)


@scenario("8")
async def tries_until_the_broker_is_there(stage: Stage) -> None:
    """A broker that can't be reached, or ends in the handshake, is tried again."""
    peer = await stage.connect()
    await stage.broker.deafen()
    peer.abort()
    await stage.broker.listen()
    half = await stage.broker.accept("that the client connects again (section 8)")
    await half.expect("hello")
    half.abort()
    back, _ = await stage.comes_back()
    await stage.still_answers(back)


@scenario("18")
async def repeats_or_tells_what_was_unanswered(stage: Stage) -> None:
    """A request that was unanswered is repeated after the resume, or told as `disconnected`."""
    peer = await stage.connect()
    answer = stage.driver.do("get", jobs=["a"])
    await peer.expect("get")
    back = await stage.resumed(peer)
    get = await stage.request_or_answer(back, "get", answer)
    if get is None:
        told = await answer.problem()
        expect(told["code"] == "disconnected", "`disconnected`", told)
        return
    back.ok(get, view("a"))
    await answer.ok()


@scenario("10")
async def takes_again(stage: Stage) -> None:
    """A resumed runner sends `take` again, as it was."""
    peer = await stage.run({"work": "echo"}, credit=3)
    back = await stage.resumed(peer)
    take = await back.expect("take")
    expect(take["types"] == {"work": 3} and take["credit"] == 3, "the same `take`", take)
    back.done(take)
    back.send(claims(claim("a")))
    await back.attempt_end("a", "complete")


@scenario("10")
async def goes_on_with_what_it_runs(stage: Stage) -> None:
    """A claim that is pushed again after the resume is not run twice: it goes on."""
    peer = await stage.run({"slow": "hold", "work": "echo"})
    peer.send(claims(claim("held", type="slow")))
    await stage.driver.event("running", job="held")
    back = await stage.resumed(peer, claims(claim("held", type="slow")))
    back.send(claims(claim("next")))
    await back.attempt_end("next", "complete")
    expect(not stage.driver.count("ended", job="held"), "`held` to run on", "its end")
    back.send(cancelling("held"))
    end = await back.attempt_end("held")
    expect(end["token"] == token("held"), "the claim's token", end)
    await stage.finish()
    runs = stage.driver.count("running", job="held")
    expect(runs == 1, "one run of `held`", f"{runs} runs")


@scenario("10")
async def runs_what_it_never_got(stage: Stage) -> None:
    """A claim whose first push was lost with its connection is run after the resume."""
    peer = await stage.run({"work": "echo"})
    back = await stage.resumed(peer, claims(claim("lost")))
    end = await back.attempt_end("lost", "complete")
    expect(end["token"] == token("lost"), "the claim's token", end)


@scenario("18")
async def repeats_the_end_of_an_attempt(stage: Stage) -> None:
    """A `complete` that was not answered is said again after the resume, with the same token."""
    peer = await stage.run({"work": "echo"})
    peer.send(claims(claim("a", payload=b"x")))
    await peer.expect("complete")
    back = await stage.resumed(peer, claims(claim("a", payload=b"x")))
    end = await back.attempt_end("a", "complete")
    expect(end["token"] == token("a"), "the same token", end)
    expect(end.get("result") == b"x", "the same result", end)


@scenario("18")
async def takes_gone_for_done(stage: Stage) -> None:
    """A repeated `complete` that is answered `not_found` had been done: the runner goes on."""
    peer = await stage.run({"work": "echo"})
    peer.send(claims(claim("a")))
    await peer.expect("complete")
    back = await stage.resumed(peer, claims(claim("next")))
    while True:
        complete = await back.expect("complete")
        jobs = [item["job"] for item in complete["jobs"]]
        gone, done = problem("not_found"), {"state": "COMPLETE"}
        back.ok(complete, *(done if job == "next" else gone for job in jobs))
        if "next" in jobs:
            return


@scenario("7")
async def stops_what_is_lost(stage: Stage) -> None:
    """`resumed` false: the claims are gone, what runs is stopped, and the runner takes anew."""
    peer = await stage.run({"slow": "hold", "work": "echo"})
    peer.send(claims(claim("held", type="slow")))
    await stage.driver.event("running", job="held")
    back = await stage.resumed(peer, resumed=False)
    await stage.driver.event("ended", lambda event: event["how"] != "complete", job="held")
    await back.expect("take")
    back.send(claims(claim("next")))
    await back.attempt_end("next", "complete")


@scenario("7")
async def stops_what_another_store_never_had(stage: Stage) -> None:
    """With another store the client is registered anew, and what ran is stopped."""
    peer = await stage.run({"slow": "hold"})
    peer.send(claims(claim("held", type="slow")))
    await stage.driver.event("running", job="held")
    peer.abort()
    back, _ = await stage.comes_back(resumed=False, store="store-2", registered_at=ANOTHER_MS)
    await stage.driver.event("ended", lambda event: event["how"] != "complete", job="held")
    await back.expect("take")


@scenario("7")
async def notices_another_registration(stage: Stage) -> None:
    """Another `registered_at` than before means that the registration was lost in between."""
    peer = await stage.run({"slow": "hold"})
    peer.send(claims(claim("held", type="slow")))
    await stage.driver.event("running", job="held")
    peer.abort()
    await stage.comes_back(resumed=True, registered_at=ANOTHER_MS)
    await stage.driver.event("ended", lambda event: event["how"] != "complete", job="held")


@scenario("12")
async def watches_again(stage: Stage) -> None:
    """A resumed client watches its jobs again."""
    peer = await stage.connect()
    answer = stage.driver.do("watch", jobs=["a"])
    peer.ok(await peer.expect("watch"), {"state": "QUEUED", "version": 1})
    await answer.ok()
    back = await stage.resumed(peer)
    watch = await back.expect("watch")
    expect(watch["jobs"] == ["a"], "the job", watch)
    back.ok(watch, {"state": "STARTED", "version": 2})
    back.send(news("a", 3, state="COMPLETE"))
    await stage.driver.event("news", lambda event: event["news"].get("state") == "COMPLETE")

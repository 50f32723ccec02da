"""How a client runs jobs."""

import asyncio

from packhorse_conformance.peer import problem
from packhorse_conformance.scenario import scenario
from packhorse_conformance.stage import Stage, cancelling, claim, claims, revoke, token
from packhorse_conformance.verdict import expect

ALL_BYTES = bytes(range(256))


@scenario("10")
async def says_what_it_takes(stage: Stage) -> None:
    """`take` has the types with their numbers, and the credit."""
    peer = await stage.connect()
    stage.driver.do("run", types={"a": 2, "b": 3}, credit=4, how={"a": "echo", "b": "echo"})
    _, take = await stage.takes(peer)
    expect(take["types"] == {"a": 2, "b": 3}, "the types and their numbers", take)
    expect(take["credit"] == 4, "the credit 4", take)


@scenario("10")
async def completes_with_the_result(stage: Stage) -> None:
    """A job that was pushed is run and completed, with its token and its result as binary."""
    peer = await stage.run({"work": "echo", "turn": "reverse"})
    peer.send(claims(claim("a", payload=ALL_BYTES)))
    await stage.driver.event("running", job="a", type="work", attempt=1)
    completion = await peer.attempt_end("a", "complete")
    expect(completion["token"] == token("a"), "the claim's token", completion)
    expect(completion.get("result") == ALL_BYTES, "the payload as result", completion)
    await stage.driver.event("ended", job="a", how="complete")
    peer.send(claims(claim("b", type="turn", payload=ALL_BYTES, attempt=2, attempts=3)))
    await stage.driver.event("running", job="b", type="turn", attempt=2)
    completion = await peer.attempt_end("b", "complete")
    expect(completion.get("result") == ALL_BYTES[::-1], "the payload reversed", completion)


@scenario("10")
async def runs_what_has_no_payload(stage: Stage) -> None:
    """An absent payload is an empty one; and unknown keys of a claim are ignored."""
    peer = await stage.run({"work": "echo"})
    peer.send(claims(claim("a", later=[1.5], headers={}, key="k", remaining_ms=60_000)))
    completion = await peer.attempt_end("a", "complete")
    expect(completion.get("result", b"") == b"", "an empty result", completion)


@scenario("10")
async def runs_large_payloads(stage: Stage) -> None:
    """A payload and a result of 256 KiB pass."""
    peer = await stage.run({"work": "echo"})
    payload = ALL_BYTES * 1024
    peer.send(claims(claim("a", payload=payload)))
    completion = await peer.attempt_end("a", "complete")
    expect(completion.get("result") == payload, "the payload as result", len(completion))


@scenario("10")
async def runs_what_comes_before_the_answer(stage: Stage) -> None:
    """Claims may come before the answer to `take`, and many in one push and one segment."""
    peer = await stage.connect()
    answer = stage.driver.do("run", types={"work": 9}, credit=9, how={"work": "echo"})
    runner, take = await stage.takes(peer)
    jobs = [f"job-{number}" for number in range(6)]
    early, late = [claim(job) for job in jobs[:4]], [claim(job) for job in jobs[4:]]
    runner.send(claims(*early), {"t": "beat"}, claims(*late))
    runner.done(take)
    await answer.ok()
    tokens: dict[str, bytes] = {}
    for request in await runner.expect_all("complete", len(jobs)):
        tokens |= {item["job"]: item["token"] for item in request["jobs"]}
        runner.ok(request, *({"state": "COMPLETE"} for _ in request["jobs"]))
    expect(tokens == {job: token(job) for job in jobs}, "each job with its own token", tokens)
    for job in jobs:
        await stage.driver.event("ended", job=job, how="complete")


@scenario("10")
async def runs_jobs_side_by_side(stage: Stage) -> None:
    """Jobs within the credit run at the same time: one that is held keeps no other."""
    peer = await stage.run({"slow": "hold", "work": "echo"})
    peer.send(claims(claim("held", type="slow")))
    await stage.driver.event("running", job="held")
    peer.send(claims(claim("a")))
    await peer.attempt_end("a", "complete")
    expect(not stage.driver.count("ended", job="held"), "`held` to run on", "its end")
    peer.send(cancelling("held"))
    await peer.attempt_end("held")


@scenario("10")
async def fails_with_the_error(stage: Stage) -> None:
    """A function that fails ends the attempt by `fail`, which asks for another one."""
    peer = await stage.run({"work": "fail"})
    peer.send(claims(claim("a", payload="no disk \u2713".encode(), attempts=3)))
    failure = await peer.attempt_end("a", "fail")
    expect(failure["token"] == token("a"), "the claim's token", failure)
    expect(failure["error"].get("type") == "DriverError", "the type `DriverError`", failure)
    expect(failure["error"].get("message") == "no disk \u2713", "the message", failure)
    expect(failure.get("retry", True), "`retry` true, or absent", failure)
    await stage.driver.event("ended", job="a", how="failed")


@scenario("10")
async def fails_for_good(stage: Stage) -> None:
    """A function that wants no further attempt says `retry` false."""
    peer = await stage.run({"work": "fail_for_good"})
    peer.send(claims(claim("a", payload=b"broken", attempts=3)))
    failure = await peer.attempt_end("a", "fail")
    expect(failure.get("retry") is False, "`retry` false", failure)


@scenario("10")
async def reports_before_it_completes(stage: Stage) -> None:
    """Progress and log lines have the token, leave in order, and before the attempt ends."""
    peer = await stage.run({"work": "report"})
    peer.send(claims(claim("a", payload=b"x")))
    await peer.attempt_end("a", "complete")
    tags = [message["t"] for message in peer.heard]
    before = peer.heard[: tags.index("complete")]
    reports = [
        (message["t"], report)
        for message in before
        if message["t"] in ("progress", "log")
        for report in message["reports"]
    ]
    expect(
        all(report["job"] == "a" and report["token"] == token("a") for _, report in reports),
        "reports with the job and its token",
        reports,
    )
    lines = [line for tag, report in reports if tag == "log" for line in report["messages"]]
    expect(lines == ["first", "second \u2713"], "both log lines, in order", lines)
    steps = [report["percent"] for tag, report in reports if tag == "progress"]
    expect(steps == sorted(steps) and steps[-1:] == [100], "progress up to 100", steps)


@scenario("10")
async def bears_a_stale_claim(stage: Stage) -> None:
    """An end that is refused with `stale_claim` or `not_found` is over; the next job runs."""
    peer = await stage.run({"work": "echo"})
    for job, code in (("a", "stale_claim"), ("b", "not_found")):
        peer.send(claims(claim(job)))
        complete = await peer.expect("complete")
        peer.ok(complete, problem(code))
    peer.send(claims(claim("c")))
    completion = await peer.attempt_end("c")
    expect(completion["token"] == token("c"), "the end of `c`", completion)
    ends = [item["job"] for message in peer.heard for item in message.get("jobs", ())]
    expect(ends == ["a", "b", "c"], "each end said once", ends)


@scenario("10")
async def tells_ends_by_their_entries(stage: Stage) -> None:
    """In a batch of ends each entry is for its own job: one that is refused spoils no other."""
    peer = await stage.run({"work": "echo"})
    jobs = [f"job-{number}" for number in range(4)]
    peer.send(claims(*map(claim, jobs)))
    for complete in await peer.expect_all("complete", len(jobs)):
        for item in complete["jobs"]:
            expect(item["token"] == token(item["job"]), "the job's own token", item)
        refused = [item["job"] == "job-1" for item in complete["jobs"]]
        entries = [problem("stale_claim") if bad else {"state": "COMPLETE"} for bad in refused]
        peer.ok(complete, *entries)
    peer.send(claims(claim("next")))
    await peer.attempt_end("next", "complete")


@scenario("10")
async def repeats_a_retryable_end(stage: Stage) -> None:
    """A `complete` that is answered `unavailable` is repeated with the same token."""
    peer = await stage.run({"work": "echo"})
    peer.send(claims(claim("a", payload=b"x")))
    peer.refuse(await peer.expect("complete"), "unavailable", retry_after_ms=1)
    completion = await peer.attempt_end("a")
    expect(completion["token"] == token("a"), "the same token", completion)
    expect(completion.get("result") == b"x", "the same result", completion)


@scenario("10")
async def stops_what_is_revoked(stage: Stage) -> None:
    """A claim that is revoked, for whatever reason, stops; the next job runs."""
    peer = await stage.run({"slow": "hold", "work": "echo"})
    for reason in ("removed", "taken_back", "timeout", "cancelled"):
        peer.send(claims(claim(reason, type="slow")))
        await stage.driver.event("running", job=reason)
        peer.send(revoke(reason, reason))
        await stage.driver.event("ended", lambda event: event["how"] != "complete", job=reason)
    peer.send(revoke("never-had", "removed"), claims(claim("next")))
    await peer.attempt_end("next", "complete")


@scenario("10")
async def drains(stage: Stage) -> None:
    """A runner that runs down takes nothing more, and finishes what runs."""
    peer = await stage.run({"slow": "hold"})
    peer.send(claims(claim("held", type="slow")))
    await stage.driver.event("running", job="held")
    answer = stage.driver.do("drain")
    take = await peer.expect("take")
    nothing = take["credit"] == 0 or not any(take["types"].values())
    expect(nothing, "a `take` of nothing", take)
    peer.done(take)
    peer.send(cancelling("held"))
    await peer.attempt_end("held")
    await stage.driver.event("ended", job="held")
    seeing_off = asyncio.create_task(peer.see_off())
    await answer.ok()
    seeing_off.cancel()

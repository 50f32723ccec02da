"""Cancelling jobs in each of their states."""

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site, ref
from packhorse_conformance.verdict import expect


@scenario("14")
async def cancels_what_waits(site: Site) -> None:
    """PENDING and QUEUED jobs are FAILED at once, and their handlers get an outcome."""
    wire = await site.client()
    for delay_ms in (0, 3_600_000):
        job = await site.job(wire, handle=True, delay_ms=delay_ms)
        entry = await wire.one("cancel", jobs=[job], why="no longer \u2713")
        expect(entry["state"] == "FAILED", "FAILED", entry)
        view = await wire.one("get", jobs=[job])
        cancel = view.get("cancel", {})
        right = (cancel.get("by"), cancel.get("why")) == (wire.client, "no longer \u2713")
        expect(right, "who asked and why", view)
        [outcome] = await wire.outcomes(1)
        expect(outcome.get("reason") == "CANCELLED", "the reason CANCELLED", outcome)
        entry = await wire.one("cancel", jobs=[job])
        expect(entry["state"] == "FAILED", "FAILED, and no problem, when repeated", entry)


@scenario("14")
async def tells_the_runner(site: Site) -> None:
    """A STARTED job's runner is told, and may still report; `complete` makes it COMPLETE."""
    wire, other = await site.client(), await site.client()
    claim = await site.claimed(wire)
    entry = await other.one("cancel", jobs=[claim["job"]], grace_ms=60_000, why="wrong file")
    expect(entry["state"] == "STARTED", "STARTED", entry)
    cancelled = await wire.cancellation(claim["job"])
    right = (cancelled["token"], cancelled.get("why")) == (claim["token"], "wrong file")
    expect(right, "the token, and why", cancelled)
    expect(0 < cancelled["grace_ms"] <= 60_000, "`grace_ms` up to 60000", cancelled)
    await wire.one("progress", reports=[ref(claim, percent=99)])
    entry = await wire.one("complete", jobs=[ref(claim)])
    expect(entry["state"] == "COMPLETE", "COMPLETE", entry)


@scenario("14")
async def ends_as_cancelled(site: Site) -> None:
    """A cancelled job that fails or is released is FAILED as CANCELLED, and not tried again,
    whatever the `fail` says of that."""
    wire = await site.client()
    for tag, said in (
        ("fail", {}),
        ("fail", {"retry": False}),
        ("fail", {"retry": True, "retry_in_ms": 0}),
        ("fail", {"retry_in_ms": 3_600_000}),
        ("release", {}),
    ):
        claim = await site.claimed(wire, handle=True, attempts=9)
        await wire.one("cancel", jobs=[claim["job"]], grace_ms=60_000)
        await wire.cancellation(claim["job"])
        if tag == "fail":
            end = ref(claim, error={"message": "stopped"}, **said)
            entry = await wire.one("fail", jobs=[end])
        else:
            entry = await wire.one("release", claims=[ref(claim)])
        expect(entry["state"] == "FAILED", f"FAILED after `{tag}` {said}", entry)
        view = await wire.one("get", jobs=[claim["job"]])
        right = (view["state"], view.get("reason")) == ("FAILED", "CANCELLED")
        expect(right, f"FAILED as CANCELLED after `{tag}` {said}", view)
        [outcome] = await wire.outcomes(1)
        expect(outcome.get("reason") == "CANCELLED", "an outcome as CANCELLED", outcome)
        told = await wire.one("attempts", jobs=[claim["job"]])
        awaited = [attempt for attempt in told["attempts"] if attempt.get("next_at", 0)]
        expect(not awaited, f"no `next_at` after `{tag}` {said}", awaited)
        await wire.problem("wrong_state", "claim", jobs=[claim["job"]])


@scenario("10")
async def keeps_the_error(site: Site) -> None:
    """Whatever the `fail` says of another attempt, the job is CANCELLED, with the error of it."""
    wire = await site.client()
    error = {"type": "Stopped", "message": "as you wished \u2713"}
    for again in ({"retry": True, "retry_in_ms": 0}, {"retry": True, "retry_in_ms": 60_000}, {}):
        claim = await site.claimed(wire, handle=True, attempts=9)
        await wire.one("cancel", jobs=[claim["job"]], grace_ms=60_000)
        entry = await wire.one("fail", jobs=[ref(claim, error=error, **again)])
        expect(entry["state"] == "FAILED", f"FAILED with {again}", entry)
        [outcome] = await wire.outcomes(1)
        right = (outcome.get("reason"), outcome.get("error")) == ("CANCELLED", error)
        expect(right, "the reason CANCELLED, and the error", outcome)


@scenario("14")
async def ends_with_its_runner(site: Site) -> None:
    """A cancelled job whose runner is lost is CANCELLED, and not tried again."""
    producer, runner = await site.client(), await site.client()
    job = await site.job(producer, handle=True, attempts=9)
    await runner.one("claim", jobs=[job])
    await producer.one("cancel", jobs=[job], grace_ms=60_000)
    await runner.answer(runner.begin("bye"))
    [outcome] = await producer.outcomes(1)
    expect(outcome.get("reason") == "CANCELLED", "the reason CANCELLED", outcome)


@scenario("14")
async def ends_with_its_run_timeout(site: Site) -> None:
    """A run timeout ends a cancelled job as CANCELLED, also at its last attempt."""
    wire = await site.client()
    for attempts in (1, 9):
        timeouts = {"run_ms": 3_600_000}
        claim = await site.claimed(wire, handle=True, attempts=attempts, timeouts=timeouts)
        await wire.one("cancel", jobs=[claim["job"]], grace_ms=60_000)
        await wire.one("extend", claims=[ref(claim, run_ms=30)])
        [outcome] = await wire.outcomes(1)
        expect(outcome.get("reason") == "CANCELLED", "the reason CANCELLED", outcome)


@scenario("14")
async def ends_by_its_total_timeout(site: Site) -> None:
    """A total timeout ends a cancelled job as JOB_TIMEOUT."""
    wire = await site.client()
    job = site.name("job")
    create = site.new(id=job, attempts=9, timeouts={"total_ms": 300})
    begun = [
        wire.begin("create", jobs=[create], handle=True),
        wire.begin("claim", jobs=[job]),
        wire.begin("cancel", jobs=[job], grace_ms=60_000),
    ]
    site.remember(job)
    for request in begun:
        answer = await wire.answer(request)
        expect(answer["t"] == "ok" and "problem" not in answer["results"][0], "each done", answer)
    [outcome] = await wire.outcomes(1)
    right = (outcome.get("reason"), outcome.get("expired")) == ("JOB_TIMEOUT", "total")
    expect(right, "JOB_TIMEOUT by `total`", outcome)


@scenario("14")
async def takes_the_claim_away(site: Site) -> None:
    """When the grace time is over the claim is revoked; `grace_ms` 0 does so at once."""
    wire = await site.client()
    for grace_ms in (50, 0):
        claim = await site.claimed(wire, attempts=9)
        await wire.one("cancel", jobs=[claim["job"]], grace_ms=grace_ms)
        await wire.revocation(claim["job"], "cancelled")
        await wire.problem("stale_claim", "complete", jobs=[ref(claim)])
        view = await wire.one("get", jobs=[claim["job"]])
        right = (view["state"], view.get("reason")) == ("FAILED", "CANCELLED")
        expect(right, "FAILED as CANCELLED", view)


@scenario("14")
async def shortens_the_grace_time(site: Site) -> None:
    """Cancelled again, an earlier end replaces the later one, and not the other way round."""
    wire = await site.client()
    claim = await site.claimed(wire)
    job = claim["job"]
    await wire.one("cancel", jobs=[job], grace_ms=60_000, why="first")
    await wire.cancellation(job)
    until = (await wire.one("get", jobs=[job]))["cancel"]["until"]
    await wire.one("cancel", jobs=[job], grace_ms=3_600_000, why="later")
    view = await wire.one("get", jobs=[job])
    right = (view["cancel"]["until"], view["cancel"].get("why")) == (until, "first")
    expect(right, "the first request to hold", view["cancel"])
    await wire.one("cancel", jobs=[job], grace_ms=50)
    cancelled = await wire.cancellation(job)
    right = (cancelled["grace_ms"] <= 50, cancelled.get("why")) == (True, "first")
    expect(
        right, "`cancelling` again, with the shorter time and the reason that there was", cancelled
    )
    await wire.revocation(job, "cancelled")


@scenario("14")
async def refuses_what_has_ended(site: Site) -> None:
    """A job that has ended otherwise is `wrong_state`, one that is not there `not_found`."""
    wire = await site.client()
    claim = await site.claimed(wire, persistent=True)
    await wire.one("complete", jobs=[ref(claim)])
    problem = await wire.problem("wrong_state", "cancel", jobs=[claim["job"]])
    state = problem.get("details", {}).get("state")
    expect(state == "COMPLETE", "`details.state` COMPLETE", problem)
    await wire.problem("not_found", "cancel", jobs=[site.name("missing")])


@scenario("10")
async def tells_again_after_a_resume(site: Site) -> None:
    """A runner that comes back is told again what is to be cancelled, with its claims."""
    wire = await site.client()
    claim = await site.claimed(wire)
    await wire.one("cancel", jobs=[claim["job"]], grace_ms=60_000, why="again")
    wire.abort()
    back = await site.resume(wire)
    [again] = await back.claims(1)
    expect(again["token"] == claim["token"], "the same claim", again)
    cancelled = await back.cancellation(claim["job"])
    expect(cancelled.get("why") == "again", "why", cancelled)

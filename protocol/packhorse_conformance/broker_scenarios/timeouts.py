"""The timeouts of a job: idle, run and total."""

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site, ref
from packhorse_conformance.verdict import expect


@scenario("9")
async def ends_who_waits_too_long(site: Site) -> None:
    """`idle_ms` ends a job that has been QUEUED so long: JOB_TIMEOUT, `idle`."""
    wire = await site.client()
    await site.job(wire, handle=True, timeouts={"idle_ms": 30})
    [outcome] = await wire.outcomes(1)
    right = (outcome.get("reason"), outcome.get("expired")) == ("JOB_TIMEOUT", "idle")
    expect(right, "JOB_TIMEOUT by `idle`", outcome)


@scenario("9")
async def ends_an_attempt(site: Site) -> None:
    """`run_ms` ends an attempt: its runner is told, its token is stale, the next one begins."""
    wire = await site.client()
    job = await site.job(wire, attempts=2, timeouts={"run_ms": 50})
    await wire.ask("take", types={site.type(): 1}, credit=1)
    [claim] = await wire.claims(1)
    expect(0 < claim.get("remaining_ms", 0) <= 50, "`remaining_ms` up to 50", claim)
    revoked = await wire.revocation(job, "timeout")
    expect(revoked["token"] == claim["token"], "the claim's token", revoked)
    await wire.problem("stale_claim", "complete", jobs=[ref(claim)])
    [claim] = await wire.claims(1)
    expect(claim["attempt"] == 2, "the attempt 2", claim)
    await wire.revocation(job, "timeout")
    view = await wire.one("get", jobs=[job])
    right = (view["state"], view.get("reason"), view.get("expired"), view.get("timed_out"))
    expect(right == ("FAILED", "JOB_TIMEOUT", "run", 2), "FAILED by `run`, twice", view)


@scenario("9")
async def ends_the_job(site: Site) -> None:
    """`total_ms` ends the job in whatever state: STARTED, with a `revoke`, and QUEUED."""
    wire = await site.client()
    claim = await site.claimed(wire, handle=True, attempts=9, timeouts={"total_ms": 60})
    await wire.revocation(claim["job"], "timeout")
    [outcome] = await wire.outcomes(1)
    right = (outcome.get("reason"), outcome.get("expired")) == ("JOB_TIMEOUT", "total")
    expect(right, "JOB_TIMEOUT by `total`", outcome)
    await site.job(wire, handle=True, timeouts={"total_ms": 30})
    [outcome] = await wire.outcomes(1)
    expect(outcome.get("expired") == "total", "`total`", outcome)


@scenario("10")
async def tells_the_shortest(site: Site) -> None:
    """`remaining_ms` is the shortest of what is left; absent where there is no limit."""
    wire = await site.client()
    timeouts = {"run_ms": 3_600_000, "total_ms": 60_000}
    claim = await site.claimed(wire, timeouts=timeouts)
    left_ms = claim.get("remaining_ms", 0)
    expect(0 < left_ms <= 60_000, "what is left of the total", claim)
    claim = await site.claimed(wire)
    expect("remaining_ms" not in claim, "no `remaining_ms`", claim)


@scenario("10")
async def extends(site: Site) -> None:
    """`extend` moves the end of the attempt, never past the total; without one nothing changes."""
    wire = await site.client()
    claim = await site.claimed(wire, timeouts={"run_ms": 30_000, "total_ms": 600_000})
    entry = await wire.one("extend", claims=[ref(claim, run_ms=300_000)])
    longer = 30_000 < entry["remaining_ms"] <= 300_000
    expect(longer, "`remaining_ms` up to 300000", entry)
    entry = await wire.one("extend", claims=[ref(claim, run_ms=10_000_000)])
    left_ms = entry["remaining_ms"]
    expect(300_000 < left_ms <= 600_000, "what is left of the total", entry)
    entry = await wire.one("extend", claims=[ref(claim, run_ms=5_000)])
    expect(0 < entry["remaining_ms"] <= 5_000, "shorter than before", entry)
    claim = await site.claimed(wire)
    entry = await wire.one("extend", claims=[ref(claim, run_ms=5_000)])
    expect("remaining_ms" not in entry, "no limit", entry)


@scenario("9")
async def shows_the_deadline(site: Site) -> None:
    """`deadline` tells when the next timeout is over."""
    wire = await site.client()
    job = await site.job(wire, timeouts={"idle_ms": 60_000, "total_ms": 3_600_000})
    view = await wire.one("get", jobs=[job])
    expect(view.get("deadline") == view["queued_at"] + 60_000, "the end of `idle`", view)
    claim = await wire.one("claim", jobs=[job])
    view = await wire.one("get", jobs=[job])
    expect(view.get("deadline") == view["queued_at"] + 3_600_000, "the end of `total`", view)
    await wire.one("release", claims=[ref(claim)])

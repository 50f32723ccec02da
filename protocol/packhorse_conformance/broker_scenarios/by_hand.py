"""What people do to single jobs, and the list of it."""

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site, ref
from packhorse_conformance.verdict import expect


@scenario("14")
async def retries(site: Site) -> None:
    """A FAILED job is QUEUED again, with so many more attempts; handlers get another outcome."""
    wire = await site.client()
    claim = await site.claimed(wire, handle=True)
    await wire.one("fail", jobs=[ref(claim, error={"message": "x"})])
    [first] = await wire.outcomes(1)
    entry = await wire.one("retry", jobs=[claim["job"]], attempts=2, why="the disk is back")
    expect(entry["state"] == "QUEUED", "QUEUED", entry)
    view = await wire.one("get", jobs=[claim["job"]])
    right = (view["attempts"], view.get("current_attempt"), view.get("retried")) == (3, 1, 1)
    expect(right, "3 attempts in all, 1 of them spent, retried once", view)
    expect("error" not in view and "reason" not in view, "no error and no reason", view)
    claim = await wire.one("claim", jobs=[claim["job"]])
    expect(claim["attempt"] == 2, "the attempt 2", claim)
    await wire.one("complete", jobs=[ref(claim)])
    [second] = await wire.outcomes(1)
    right = second["state"] == "COMPLETE" and second["version"] > first["version"]
    expect(right, "COMPLETE, with a larger `version`", second)
    await wire.problem("wrong_state", "retry", jobs=[claim["job"]])


@scenario("14")
async def retries_what_was_cancelled(site: Site) -> None:
    """A cancelled job may be retried: its cancellation is gone."""
    wire = await site.client()
    job = await site.job(wire, persistent=True)
    await wire.one("cancel", jobs=[job])
    await wire.one("retry", jobs=[job])
    view = await wire.one("get", jobs=[job])
    expect(view["state"] == "QUEUED" and "cancel" not in view, "QUEUED, no `cancel`", view)


@scenario("14")
async def keeps_the_larger_number(site: Site) -> None:
    """`retry` leaves `attempts` as they are where more remain than it asks for."""
    wire = await site.client()
    claim = await site.claimed(wire, attempts=9)
    await wire.one("fail", jobs=[ref(claim, error={}, retry=False)])
    await wire.one("retry", jobs=[claim["job"]], attempts=2)
    view = await wire.one("get", jobs=[claim["job"]])
    expect(view["attempts"] == 9, "9 attempts in all", view)


@scenario("14")
async def forgives_losses(site: Site) -> None:
    """Losses before a `retry` no longer count towards the job's `lost_limit`."""
    producer = await site.client()
    job = await site.job(producer, handle=True, attempts=9, lost_limit=2)
    await _lose(site, job)
    await _lose(site, job)
    [outcome] = await producer.outcomes(1)
    expect(outcome.get("reason") == "RUNNER_TIMEOUT", "RUNNER_TIMEOUT", outcome)
    await producer.one("retry", jobs=[job], attempts=5)
    await _lose(site, job)
    view = await producer.one("get", jobs=[job])
    expect((view["state"], view.get("lost")) == ("QUEUED", 3), "QUEUED, 3 lost in all", view)


async def _lose(site: Site, job: str) -> None:
    """Claims it as somebody who leaves."""
    runner = await site.client()
    await runner.one("claim", jobs=[job])
    await runner.answer(runner.begin("bye"))


@scenario("14")
async def begins_the_total_anew(site: Site) -> None:
    """A retried job has its whole total timeout once more."""
    total_ms = 60
    wire = await site.client()
    job = await site.job(wire, handle=True, timeouts={"total_ms": total_ms})
    await wire.outcomes(1)
    await wire.one("retry", jobs=[job])
    [outcome] = await wire.outcomes(1)
    expect(outcome.get("expired") == "total", "`total`", outcome)
    view = await wire.one("get", jobs=[job])
    lived_ms = view["finished_at"] - view["queued_at"]
    expect(lived_ms >= total_ms, f"at least {total_ms} ms since it was queued again", lived_ms)


@scenario("14")
async def takes_the_key_back(site: Site) -> None:
    """A retried job needs its unique key again: `duplicate` where another one holds it."""
    wire = await site.client()
    unique = {"key": "k"}
    claim = await site.claimed(wire, unique=unique)
    await wire.one("fail", jobs=[ref(claim, error={})])
    holder = await site.job(wire, unique=unique)
    problem = await wire.problem("duplicate", "retry", jobs=[claim["job"]])
    expect(problem["details"].get("job") == holder, "`details.job` of the holder", problem)
    await wire.one("remove", jobs=[holder])
    await wire.one("retry", jobs=[claim["job"]])
    await wire.problem("duplicate", "create", jobs=[site.new(unique=unique)])


@scenario("14")
async def bounds_the_attempts(site: Site) -> None:
    """`attempts` never grows above 1000: then `retry` is `too_many`."""
    wire = await site.client()
    claim = await site.claimed(wire)
    job = claim["job"]
    await wire.one("fail", jobs=[ref(claim, error={})])
    await wire.one("retry", jobs=[job], attempts=1_000)
    view = await wire.one("get", jobs=[job])
    expect(view["attempts"] <= 1_000, "at most 1000 attempts", view["attempts"])


@scenario("14")
async def runs_now(site: Site) -> None:
    """A PENDING job is QUEUED at once; in another state it is `wrong_state`."""
    wire = await site.client()
    job = await site.job(wire, delay_ms=3_600_000)
    entry = await wire.one("run_now", jobs=[job])
    expect(entry["state"] == "QUEUED", "QUEUED", entry)
    problem = await wire.problem("wrong_state", "run_now", jobs=[job])
    state = problem.get("details", {}).get("state")
    expect(state == "QUEUED", "`details.state` QUEUED", problem)
    await wire.problem("not_found", "run_now", jobs=[site.name("missing")])


@scenario("14")
async def queues_at_the_end(site: Site) -> None:
    """What `run_now` or `retry` queues stands behind what was QUEUED before."""
    wire = await site.client()
    delayed, failed, waiting = [site.id(name) for name in ("delayed", "failed", "waiting")]
    await site.job(wire, id=delayed, delay_ms=3_600_000)
    claim = await site.claimed(wire, id=failed)
    await wire.one("fail", jobs=[ref(claim, error={})])
    await site.job(wire, id=waiting)
    await wire.one("run_now", jobs=[delayed])
    await wire.one("retry", jobs=[failed])
    await wire.ask("take", types={site.type(): 3}, credit=3)
    claimed = [claim["job"] for claim in await wire.claims(3)]
    expect(claimed == [waiting, delayed, failed], "the one that waited first", claimed)


@scenario("14")
async def removes(site: Site) -> None:
    """`remove` takes a job away in any state; its runner is told, its log goes with it."""
    wire = await site.client()
    claim = await site.claimed(wire)
    await wire.one("remove", jobs=[claim["job"]])
    await wire.revocation(claim["job"], "removed")
    await wire.problem("not_found", "complete", jobs=[ref(claim)])
    await wire.problem("not_found", "logs", job=claim["job"])
    await wire.problem("not_found", "remove", jobs=[claim["job"]])


@scenario("14")
async def removes_in_some_states(site: Site) -> None:
    """With `states` only jobs in one of these are removed."""
    wire = await site.client()
    claim = await site.claimed(wire)
    problem = await wire.problem(
        "wrong_state", "remove", jobs=[claim["job"]], states=["QUEUED", "PENDING"]
    )
    state = problem.get("details", {}).get("state")
    expect(state == "STARTED", "`details.state` STARTED", problem)
    await wire.one("remove", jobs=[claim["job"]], states=["STARTED"])


@scenario("14")
async def lists_what_was_done(site: Site) -> None:
    """`actions` has what was done by hand, newest first: what, by whom, why, to which job."""
    wire = await site.client()
    job = await site.job(wire, delay_ms=3_600_000)
    await wire.one("run_now", jobs=[job], why="in a hurry \u2713")
    await wire.one("cancel", jobs=[job], why="no longer")
    await wire.one("cancel", jobs=[job], why="changes nothing")
    await wire.one("retry", jobs=[job])
    await wire.one("remove", jobs=[job])
    page = await wire.one("actions", limit=1_000)
    mine = [action for action in page["actions"] if action.get("job") == job]
    done = [(action["action"], action.get("why", "")) for action in mine]
    newest_first = [
        ("remove", ""),
        ("retry", ""),
        ("cancel", "no longer"),
        ("run_now", "in a hurry \u2713"),
    ]
    expect(sorted(done) == sorted(newest_first), "each once", done)
    times = [action["at"] for action in page["actions"]]
    expect(times == sorted(times, reverse=True), "the newest first", times[:10])
    by = {action["by"] for action in mine}
    expect(by == {wire.client}, "the client that did it", by)
    expect({action.get("type") for action in mine} == {site.type()}, "the job's type", mine)


@scenario("14")
async def notes_it_in_the_log(site: Site) -> None:
    """What was done by hand is an entry of the type `action` in the job's log."""
    wire = await site.client()
    job = await site.job(wire, delay_ms=3_600_000)
    await wire.one("run_now", jobs=[job], why="in a hurry")
    page = await wire.one("logs", job=job)
    [entry] = page["entries"]
    said = (entry["type"], entry["message"], entry.get("by"), entry["attempt"])
    right = ("action", "run_now: in a hurry", wire.client, 0)
    expect(said == right, f"{right}", entry)


@scenario("14")
async def reads_actions_page_by_page(site: Site) -> None:
    """`actions` goes on by `cursor`; what is no cursor is `malformed`."""
    wire = await site.client()
    for _ in range(3):
        job = await site.job(wire)
        await wire.one("remove", jobs=[job])
    page = await wire.one("actions", limit=1)
    first = page["actions"][0]
    expect("cursor" in page, "a `cursor` while there are more", page)
    page = await wire.one("actions", limit=1, cursor=page["cursor"])
    expect(page["actions"] and page["actions"][0]["at"] <= first["at"], "older ones", page)
    await wire.refused("malformed", "actions", cursor=b"no cursor")

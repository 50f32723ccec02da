"""Claims: by credit and by id, given back, and their tokens."""

from typing import Any

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site, ref
from packhorse_conformance.verdict import Skipped, expect


@scenario("10")
async def pushes_what_is_queued(site: Site) -> None:
    """Jobs are pushed in the order of their queue, those that wait and those that come."""
    wire = await site.client()
    first = [site.id(f"job-{number}") for number in range(3)]
    said: dict[str, Any] = {"payload": b"x", "key": "k", "headers": {"h": "v"}, "attempts": 3}
    await site.create(wire, *[site.new(id=job, **said) for job in first])
    await wire.ask("take", types={site.type(): 10}, credit=10)
    found = await wire.claims(3)
    expect([claim["job"] for claim in found] == first, "the oldest first", found)
    claim = found[0]
    expect((claim["type"], claim["attempt"]) == (site.type(), 1), "its type, attempt 1", claim)
    expect(claim == {**claim, **said}, f"{said}", claim)
    tokens = {claim["token"] for claim in found}
    expect(len(tokens) == 3, "a token for each", found)
    new = await site.job(wire)
    [claim] = await wire.claims(1)
    expect(claim["job"] == new, "the job that came", claim)


@scenario("10")
async def keeps_to_the_credit(site: Site) -> None:
    """No more claims are held than `credit`, nor of a type than its own number."""
    wire = await site.client()
    for plain in ("a", "b"):
        await site.create(wire, *[site.new(plain) for _ in range(4)])
    await wire.ask("take", types={site.type("a"): 1, site.type("b"): 4}, credit=3)
    found = await wire.claims(3)
    types = sorted(claim["type"] for claim in found)
    right = types.count(site.type("a")) <= 1
    expect(right, "at most one of the type `a`", types)
    await wire.one("complete", jobs=[ref(found[0])])
    [another] = await wire.claims(1)
    expect(another["job"] not in {claim["job"] for claim in found}, "another job", another)
    await wire.fence()
    wire.nothing_more("claims")


@scenario("10")
async def counts_all_claims(site: Site) -> None:
    """Claims by id count against the credit; less credit takes nothing away."""
    wire = await site.client()
    held = await site.claimed(wire)
    await wire.ask("take", types={site.type(): 5, site.type("fence"): 5}, credit=1)
    await site.job(wire)
    await wire.ask("take", types={}, credit=0)
    view = await wire.one("get", jobs=[held["job"]])
    expect(view["state"] == "STARTED", "the claim to be held on", view)
    wire.nothing_more("claims")
    await wire.ask("take", types={site.type(): 5}, credit=2)
    await wire.claims(1)


@scenario("10")
async def replaces_a_take(site: Site) -> None:
    """A `take` replaces the former one: types that are not named any more are not pushed."""
    wire = await site.client()
    await wire.ask("take", types={site.type("old"): 5}, credit=5)
    await wire.ask("take", types={site.type("new"): 5}, credit=5)
    await site.job(wire, "old")
    new = await site.job(wire, "new")
    [claim] = await wire.claims(1)
    expect(claim["job"] == new, "the job of the new type", claim)


@scenario("9")
async def goes_by_priority(site: Site) -> None:
    """A higher priority is claimed first; within one the oldest."""
    wire = await site.client()
    priorities = (0, -5, 9, 9)
    jobs = [site.id(f"job-{place}") for place in range(len(priorities))]
    await site.create(
        wire,
        *[site.new(id=job, priority=number) for job, number in zip(jobs, priorities, strict=True)],
    )
    await wire.ask("take", types={site.type(): 1}, credit=1)
    order = []
    for _ in jobs:
        [claim] = await wire.claims(1)
        order.append(jobs.index(claim["job"]))
        await wire.one("complete", jobs=[ref(claim)])
    expect(order.index(2) < order.index(3), "the older of two first", order)
    expect(order[0] == 2 or order[1] == 2, "the highest priority at the head", order)


@scenario("10")
async def shares_by_weights(site: Site) -> None:
    """While two types have jobs waiting, they are claimed in proportion to their weights."""
    wire = await site.client()
    if (await wire.one("info")).get("partitions", 0) > 1:
        raise Skipped("how weights hold for several partitions together is not specified")
    for plain in ("often", "seldom"):
        await site.create(wire, *[site.new(plain) for _ in range(40)])
    types = {site.type("often"): 40, site.type("seldom"): 40}
    await wire.ask("take", types=types, credit=40, weights={site.type("often"): 3})
    found = [claim["type"] for claim in await wire.claims(40)]
    often = found.count(site.type("often"))
    expect(27 <= often <= 33, "about 30 of 40 of the type with the weight 3", often)


@scenario("10")
async def claims_by_id(site: Site) -> None:
    """`claim` claims exactly these jobs, each for itself, without credit."""
    wire, other = await site.client(), await site.client()
    job = await site.job(wire)
    found, missing = await wire.ask("claim", jobs=[job, site.name("missing")])
    expect(found.get("job") == job and found.get("attempt") == 1, "the claim", found)
    expect(missing.get("problem", {}).get("code") == "not_found", "`not_found`", missing)
    for client in (wire, other):
        problem = await client.problem("wrong_state", "claim", jobs=[job])
        state = problem.get("details", {}).get("state")
        expect(state == "STARTED", "`details.state` STARTED", problem)


@scenario("10")
async def gives_back(site: Site) -> None:
    """`release` queues the job at its former place and spends no attempt; the fence grows."""
    wire = await site.client()
    claim = await site.claimed(wire, id=site.id("first"))
    await site.job(wire, id=site.id("second"))
    entry = await wire.one("release", claims=[ref(claim)])
    expect(entry["state"] == "QUEUED", "QUEUED", entry)
    view = await wire.one("get", jobs=[claim["job"]])
    right = (view.get("current_attempt", 0), view.get("released")) == (0, 1)
    expect(right, "no attempt spent, one release", view)
    await wire.ask("take", types={site.type(): 1}, credit=1)
    [again] = await wire.claims(1)
    expect(again["job"] == claim["job"], "the released job first", again)
    expect(again["attempt"] == 1, "the first attempt again", again)
    expect(again["fence"] > claim["fence"], "a larger `fence`", again)
    expect(again["token"] != claim["token"], "another token", again)


@scenario("10")
async def completes(site: Site) -> None:
    """`complete` ends the job; the result is kept untouched for who handles it."""
    wire = await site.client()
    claim = await site.claimed(wire, persistent=True)
    result = bytes(range(256))
    entry = await wire.one("complete", jobs=[ref(claim, result=result)])
    expect(entry["state"] == "COMPLETE", "COMPLETE", entry)
    view = await wire.one("get", jobs=[claim["job"]])
    expect(view.get("result") == result, "the result", view)
    expect(view["state"] == "COMPLETE" and view["finished_at"] > 0, "its end", view)


@scenario("10")
async def refuses_a_large_result(site: Site) -> None:
    """A result over `limits.result_bytes` is `too_large`; the claim is still held."""
    wire = await site.client()
    claim = await site.claimed(wire)
    large = b"x" * (wire.limits["result_bytes"] + 1)
    problem = await wire.problem("too_large", "complete", jobs=[ref(claim, result=large)])
    limit = problem.get("details", {}).get("limit")
    expect(limit == str(len(large) - 1), "`details.limit`", problem)
    await wire.one("complete", jobs=[ref(claim, result=large[1:])])


@scenario("10")
async def repeats_an_end(site: Site) -> None:
    """The same end with the same token is answered like the first time; another is stale."""
    wire = await site.client()
    claim = await site.claimed(wire, persistent=True)
    for _ in range(2):
        entry = await wire.one("complete", jobs=[ref(claim)])
        expect(entry["state"] == "COMPLETE", "COMPLETE", entry)
    await wire.problem("stale_claim", "release", claims=[ref(claim)])
    await wire.problem("stale_claim", "fail", jobs=[ref(claim, error={})])
    await wire.one("remove", jobs=[claim["job"]])
    await wire.problem("not_found", "complete", jobs=[ref(claim)])


@scenario("10")
async def refuses_stale_claims(site: Site) -> None:
    """With a token that is not the current one, everything is `stale_claim` and changes nothing."""
    wire, other = await site.client(), await site.client()
    old = await site.claimed(wire, timeouts={"run_ms": 3_600_000})
    await wire.one("release", claims=[ref(old)])
    new = await other.one("claim", jobs=[old["job"]])
    before = await wire.one("get", jobs=[old["job"]])
    await wire.problem("stale_claim", "complete", jobs=[ref(old, result=b"x")])
    await wire.problem("stale_claim", "fail", jobs=[ref(old, error={"message": "x"})])
    await wire.problem("stale_claim", "extend", claims=[ref(old, run_ms=1)])
    await wire.problem("stale_claim", "progress", reports=[ref(old, percent=1)])
    await wire.problem("stale_claim", "log", reports=[ref(old, messages=["x"])])
    await wire.problem("stale_claim", "complete", jobs=[ref(new)])  # another client's
    await other.problem("stale_claim", "complete", jobs=[{**ref(new), "token": bytes(16)}])
    after = await wire.one("get", jobs=[old["job"]])
    expect(after == before, "an unchanged job", after)
    await other.one("complete", jobs=[ref(new)])


@scenario("10")
async def tells_missing_from_stale(site: Site) -> None:
    """For a job that is not there each of them is `not_found`."""
    wire = await site.client()
    nobody = {"job": site.name("nobody"), "token": bytes(16)}
    await wire.problem("not_found", "complete", jobs=[nobody])
    await wire.problem("not_found", "fail", jobs=[{**nobody, "error": {}}])
    await wire.problem("not_found", "release", claims=[nobody])
    await wire.problem("not_found", "extend", claims=[{**nobody, "run_ms": 1}])
    await wire.problem("not_found", "progress", reports=[{**nobody, "percent": 1}])
    await wire.problem("not_found", "log", reports=[{**nobody, "messages": ["x"]}])


@scenario("5")
async def ends_each_of_a_batch(site: Site) -> None:
    """In a batch of ends each succeeds or fails by itself, in order."""
    wire = await site.client()
    one, two = await site.claimed(wire), await site.claimed(wire)
    nobody = {"job": site.name("nobody"), "token": bytes(16)}
    entries = await wire.ask("complete", jobs=[ref(one), nobody, ref(two), ref(one)])
    states = [entry.get("state") or entry["problem"]["code"] for entry in entries]
    right = states[:3] == ["COMPLETE", "not_found", "COMPLETE"]
    expect(right, "COMPLETE, `not_found`, COMPLETE", states)

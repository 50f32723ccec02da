"""Types: what is set about them, and what they show."""

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site, ref
from packhorse_conformance.verdict import expect


@scenario("13")
async def pauses(site: Site) -> None:
    """A paused type gives out no jobs, by credit or by id, until it is resumed."""
    wire = await site.client()
    await site.configure(wire, paused=True)
    await wire.ask("take", types={site.type(): 5, site.type("fence"): 5}, credit=5)
    job = await site.job(wire)
    fence = await site.job(wire, "fence")
    [claim] = await wire.claims(1)
    expect(claim["job"] == fence, "a job of the other type", claim)
    problem = await wire.problem("wrong_state", "claim", jobs=[job])
    paused = problem.get("details", {}).get("paused")
    expect(paused == "true", "`details.paused` `true`", problem)
    [why] = await wire.ask("why", jobs=[job])
    codes = [cause["code"] for cause in why["causes"]]
    expect("paused" in codes, "the cause `paused`", why)
    await site.configure(wire, paused=False)
    [claim] = await wire.claims(1)
    expect(claim["job"] == job, "the job of the resumed type", claim)


@scenario("13")
async def resumes_by_itself(site: Site) -> None:
    """`paused_until` ends a pause; without `paused` true it is `malformed`."""
    wire = await site.client()
    job = await site.job(wire)
    until = (await wire.one("info"))["now_ms"] + 100
    await site.configure(wire, paused=True, paused_until=until)
    await wire.ask("take", types={site.type(): 5}, credit=5)
    [claim] = await wire.claims(1)
    expect(claim["job"] == job, "the job, when the time had come", claim)
    change = {"type": site.type(), "paused_until": until}
    await wire.problem("malformed", "configure", types=[change])


@scenario("13")
async def drains_a_type(site: Site) -> None:
    """A draining type takes no new jobs; what is there runs, and a repetition is `existed`."""
    wire = await site.client()
    new = site.new(id=site.name("before"))
    await site.create(wire, new)
    await site.configure(wire, draining=True)
    [shown] = (await wire.one("types", types=[site.type()]))["types"]
    expect(shown.get("draining") is True, "`draining` true", shown)
    await wire.problem("type_draining", "create", jobs=[site.new()])
    [entry] = await site.create(wire, new)
    expect(entry.get("existed") is True, "`existed`", entry)
    claim = await wire.one("claim", jobs=[new["id"]])
    await wire.one("complete", jobs=[ref(claim)])
    await site.configure(wire, draining=False)
    await site.job(wire)


@scenario("9")
async def keeps_to_a_budget(site: Site) -> None:
    """Beyond `max_jobs` a `create` is refused with `quota`, which is retryable; 0 is no bound."""
    wire = await site.client()
    await site.configure(wire, max_jobs=2)
    for _ in range(2):
        await site.job(wire)
    problem = await wire.problem("quota", "create", jobs=[site.new()])
    limit = problem.get("details", {}).get("limit")
    expect(limit == "2", "`details.limit` 2", problem)
    await site.configure(wire, max_jobs=0, max_bytes=100)
    await wire.problem("quota", "create", jobs=[site.new(payload=b"x" * 200)])
    await site.configure(wire, max_bytes=0)
    await site.job(wire, payload=b"x" * 200)


@scenario("13")
async def keeps_as_the_type_says(site: Site) -> None:
    """`keep_complete` and `keep_failed` say how jobs are kept that nobody handles."""
    wire = await site.client()
    await site.configure(wire, keep_complete={"keep_ms": 3_600_000}, keep_failed={"keep_ms": 0})
    claim = await site.claimed(wire)
    await wire.one("complete", jobs=[ref(claim)])
    view = await wire.one("get", jobs=[claim["job"]])
    right = view.get("expires_at") == view["finished_at"] + 3_600_000
    expect(right, "`expires_at` an hour after its end", view)
    claim = await site.claimed(wire)
    await wire.one("fail", jobs=[ref(claim, error={})])
    await wire.problem("not_found", "get", jobs=[claim["job"]])


@scenario("11")
async def keeps_so_many(site: Site) -> None:
    """Beyond `keep_jobs` finished jobs go that nobody handles, soon and not at once."""
    wire = await site.client()
    await site.configure(wire, keep_failed={"keep_ms": 3_600_000, "keep_jobs": 1})
    entries = await site.create(wire, *[site.new() for _ in range(3)])
    jobs = [entry["job"] for entry in entries]
    await wire.ask("watch", jobs=jobs)
    for claim in await wire.ask("claim", jobs=jobs):
        await wire.one("fail", jobs=[ref(claim, error={})])
    gone: set[str] = set()
    while len(gone) < 2:
        push = await wire.push("events", "`events` with `removed` of two jobs")
        gone |= {event["job"] for event in push["events"] if event.get("removed")}
    [kept] = set(jobs) - gone
    view = await wire.one("get", jobs=[kept])
    expect(view["state"] == "FAILED", "one to stay", view)


@scenario("13")
async def shows_types(site: Site) -> None:
    """`types` shows what there is of a type, what was set, by whom and when."""
    wire = await site.client()
    await site.create(wire, site.new(payload=b"x" * 50), site.new(delay_ms=3_600_000))
    until = wire.welcome["now_ms"] + 3_600_000
    said = {
        "max_jobs": 9,
        "max_bytes": 10_000,
        "keep_failed": {"keep_ms": 5, "keep_jobs": 7},
        "keep_complete": {"keep_ms": 6},
        "paused": True,
        "paused_until": until,
    }
    await site.configure(wire, **said)
    await wire.ask("take", types={site.type(): 1}, credit=1)
    shown = await wire.one("types", types=[site.type(), site.type("never")])
    [mine, never] = shown["types"]
    expect(mine["type"] == site.type(), "the types in the order of the names", shown)
    counts = {state: count for state, count in mine["counts"].items() if count}
    expect(counts == {"QUEUED": 1, "PENDING": 1}, "one QUEUED, one PENDING", mine)
    for field, value in said.items():
        expect(mine.get(field) == value, f"`{field}` {value!r}", mine.get(field))
    expect(mine.get("runners") == 1, "one runner", mine)
    expect(mine.get("jobs_bytes", 0) >= 50, "at least 50 bytes", mine)
    changed = (mine.get("by"), mine.get("changed_at", 0) > 0)
    expect(changed == (wire.client, True), "who changed it, and when", mine)
    expect(never["counts"] == {} or not any(never["counts"].values()), "nothing in it", never)


@scenario("13")
async def reads_types_page_by_page(site: Site) -> None:
    """All types come in the order of their names, and `after` goes on."""
    wire = await site.client()
    await site.create(wire, *[site.new(plain) for plain in ("a", "b", "c")])
    found: list[str] = []
    after = site.name("")[:-1]  # which stands before all of this scenario
    while len(found) < 3:
        page = await wire.one("types", after=after, limit=1)
        found += [shown["type"] for shown in page["types"]]
        expect(page.get("more", False) or len(found) == 3, "`more` true", page)
        after = found[-1]
    expect(found == [site.type(plain) for plain in "abc"], "the types in order", found)


@scenario("13")
async def counts_jobs(site: Site) -> None:
    """`counts` is exact: type to state to number."""
    wire = await site.client()
    await site.create(wire, *[site.new() for _ in range(3)], site.new(delay_ms=3_600_000))
    claim = await site.claimed(wire, persistent=True)
    await wire.one("complete", jobs=[ref(claim)])
    await site.claimed(wire)
    shown = await wire.one("counts", types=[site.type(), site.type("never")])
    found = {state: count for state, count in shown["types"][site.type()].items() if count}
    right = {"QUEUED": 3, "PENDING": 1, "COMPLETE": 1, "STARTED": 1}
    expect(found == right, f"{right}", shown)


@scenario("13")
async def refuses_a_type_twice(site: Site) -> None:
    """An item whose type stands before it in the same request is `malformed`."""
    wire = await site.client()
    twice = [{"type": site.type(), "max_jobs": 0}, {"type": site.type(), "max_jobs": 1}]
    first, second = await wire.ask("configure", types=twice)
    expect(first == {}, "the first to be done", first)
    expect(second.get("problem", {}).get("code") == "malformed", "`malformed`", second)
    schemas = [{"type": site.type(), "schema": b""}] * 2
    first, second = await wire.ask("publish", schemas=schemas)
    expect(second.get("problem", {}).get("code") == "malformed", "`malformed`", second)


@scenario("13")
async def keeps_schemas(site: Site) -> None:
    """A published schema is shown as it was sent, by whom and when; empty takes it away."""
    wire = await site.client()
    schema = b'{"type": "object", "title": "\xc3\xa4"}'
    await wire.one("publish", schemas=[{"type": site.type(), "schema": schema}])
    found, none = await wire.ask("schema", types=[site.type(), site.type("never")])
    right = (found.get("schema"), found.get("by")) == (schema, wire.client)
    expect(right and found.get("at", 0) > 0, "the schema, by whom and when", found)
    expect(none.get("schema", b"") == b"", "no schema", none)
    for wrong in (b"{", b"7", b'"text"', b"[]", b"\xff", b"null"):
        item = {"type": site.type(), "schema": wrong}
        await wire.problem("malformed", "publish", schemas=[item])
    await wire.one("publish", schemas=[{"type": site.type(), "schema": b"true"}])
    await wire.one("publish", schemas=[{"type": site.type(), "schema": b""}])
    [found] = await wire.ask("schema", types=[site.type()])
    expect(found.get("schema", b"") == b"", "no schema any more", found)


@scenario("13")
async def tells_the_minutes(site: Site) -> None:
    """`minutes` tells what happened to a type's jobs, soon and not at once."""
    wire = await site.client()
    claim = await site.claimed(wire)
    await wire.one("complete", jobs=[ref(claim)])
    claim = await site.claimed(wire, attempts=2)
    await wire.one("release", claims=[ref(claim)])
    claim = await wire.one("claim", jobs=[claim["job"]])
    await wire.one("fail", jobs=[ref(claim, error={})])
    claim = await wire.one("claim", jobs=[claim["job"]])
    await wire.one("fail", jobs=[ref(claim, error={})])
    await wire.one("cancel", jobs=[await site.job(wire)])
    await wire.one("remove", jobs=[await site.job(wire)])
    right = {
        "created": 4,
        "started": 4,
        "completed": 1,
        "failed": 1,
        "retried": 1,
        "released": 1,
        "cancelled": 1,
        "removed": 2,  # the one by hand, and the COMPLETE one that nobody handles
    }
    sums: dict[str, int] = {}
    while sums != right:  # the scenario's own time ends it
        shown = await wire.one("minutes", type=site.type())
        sums = {key: sum(minute.get(key, 0) for minute in shown["minutes"]) for key in right}
        over = {key: count for key, count in sums.items() if count > right[key]}
        expect(not over, f"at most {right}", over)
        expect(all(minute["at"] % 60_000 == 0 for minute in shown["minutes"]), "minutes", shown)

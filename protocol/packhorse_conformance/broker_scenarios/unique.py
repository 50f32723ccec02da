"""Unique keys: one job of a type has one at a time."""

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site, ref
from packhorse_conformance.verdict import expect


@scenario("9")
async def rejects_a_duplicate(site: Site) -> None:
    """`reject`: the problem `duplicate` names the holder and its state; other types are free."""
    wire = await site.client()
    holder = await site.job(wire, unique={"key": "k"})
    problem = await wire.problem("duplicate", "create", jobs=[site.new(unique={"key": "k"})])
    details = problem.get("details", {})
    right = details.get("job") == holder and details.get("state") == "QUEUED"
    expect(right, "`details.job` and `details.state` of the holder", problem)
    await site.job(wire, "another", unique={"key": "k"})
    await site.job(wire, unique={"key": "another"})


@scenario("9")
async def joins_the_holder(site: Site) -> None:
    """`join`: the creator becomes a handler of the holder, and gets its outcome."""
    wire, joiner = await site.client(), await site.client()
    claim = await site.claimed(wire, unique={"key": "k"})
    new = site.new(unique={"key": "k", "on_duplicate": "join"})
    [entry] = await site.create(joiner, new, group=site.name("group"))
    right = (entry["job"], entry["state"], entry.get("duplicate"))
    expect(right == (claim["job"], "STARTED", "joined"), "`joined` the holder", entry)
    view = await wire.one("get", jobs=[claim["job"]])
    expect(view.get("handlers") == [joiner.client], "the creator as handler", view)
    expect(view.get("groups") == [site.name("group")], "its group as handler", view)
    await wire.one("complete", jobs=[ref(claim)])
    [outcome] = await joiner.outcomes(1)
    expect(outcome["job"] == claim["job"], "the holder's outcome", outcome)


@scenario("9")
async def replaces_the_holder(site: Site) -> None:
    """`replace`: a holder that was never claimed gets the new content and keeps its id."""
    wire = await site.client()
    holder = await site.job(wire, payload=b"old", unique={"key": "k"})
    new = site.new(payload=b"new", attempts=7, unique={"key": "k", "on_duplicate": "replace"})
    [entry] = await site.create(wire, new)
    right = entry["job"] == holder and entry.get("duplicate") == "replaced"
    expect(right, "`replaced` the holder", entry)
    claim = await wire.one("claim", jobs=[holder])
    expect(claim.get("payload") == b"new" and claim.get("attempts") == 7, "new content", claim)
    await wire.problem("duplicate", "create", jobs=[new])


@scenario("9")
async def frees_the_key_at_the_end(site: Site) -> None:
    """`until_finished`: held while it runs, free when it has ended or was removed."""
    wire = await site.client()
    new = site.new(unique={"key": "k"})
    claim = await site.claimed(wire, unique={"key": "k"})
    await wire.problem("duplicate", "create", jobs=[new])
    await wire.one("complete", jobs=[ref(claim)])
    job = await site.job(wire, unique={"key": "k"})
    await wire.one("remove", jobs=[job])
    await site.job(wire, unique={"key": "k"})


@scenario("9")
async def frees_the_key_at_the_start(site: Site) -> None:
    """`until_started`: free as soon as the job was claimed."""
    wire = await site.client()
    unique = {"key": "k", "scope": "until_started"}
    claim = await site.claimed(wire, unique=unique)
    await site.job(wire, unique=unique)
    await wire.one("release", claims=[ref(claim)])


@scenario("9")
async def keeps_the_key_for_a_window(site: Site) -> None:
    """`window`: held for so long from the creation, though the job has ended and gone."""
    wire = await site.client()
    unique = {"key": "k", "scope": "window", "window_ms": 3_600_000}
    claim = await site.claimed(wire, unique=unique)
    view = await wire.one("get", jobs=[claim["job"]])
    expect(view.get("unique") == unique, f"{unique}", view)
    await wire.one("complete", jobs=[ref(claim)])
    for on_duplicate in ("reject", "join", "replace"):
        new = site.new(unique={**unique, "on_duplicate": on_duplicate})
        problem = await wire.problem("duplicate", "create", jobs=[new])
        expect(problem["details"].get("job") == claim["job"], "the former holder", problem)


@scenario("9")
async def wants_a_window_for_its_scope(site: Site) -> None:
    """The scope `window` without `window_ms` refuses the item with `malformed`."""
    wire = await site.client()
    new = site.new(unique={"key": "k", "scope": "window"})
    [good, bad] = await site.create(wire, site.new(), new)
    expect("job" in good, "the other item to be done", good)
    expect(bad.get("problem", {}).get("code") == "malformed", "`malformed`", bad)


@scenario("9")
async def repeats_no_duplicate_of_itself(site: Site) -> None:
    """The repetition of a create with a chosen id is `existed`, not a duplicate of itself."""
    wire = await site.client()
    new = site.new(id=site.unique_id("itself", "k"), unique={"key": "k"})
    await site.create(wire, new)
    [entry] = await site.create(wire, new)
    expect(entry.get("existed") is True, "`existed`", entry)


@scenario("9")
async def repeats_no_replacement(site: Site) -> None:
    """The repetition of a create that has replaced replaces nothing again."""
    wire = await site.client()
    holder = await site.job(wire, unique={"key": "k"})
    unique = {"key": "k", "on_duplicate": "replace"}
    new = site.new(id=site.unique_id("replacing", "k"), payload=b"new", unique=unique)
    await site.create(wire, new)
    before = await wire.one("get", jobs=[holder])
    [entry] = await site.create(wire, new)
    right = entry["job"] == holder and entry.get("duplicate") == "replaced"
    expect(right, "`replaced` again", entry)
    after = await wire.one("get", jobs=[holder])
    expect(after["version"] == before["version"], "an unchanged holder", after)

"""Progress and logs, written and read."""

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site, ref
from packhorse_conformance.verdict import expect


@scenario("10")
async def keeps_progress(site: Site) -> None:
    """The newest progress is shown; a new claim begins without."""
    wire = await site.client()
    claim = await site.claimed(wire)
    await wire.one("progress", reports=[ref(claim, percent=90, text="far")])
    await wire.one("progress", reports=[ref(claim, percent=10, text="back \u2713")])
    view = await wire.one("get", jobs=[claim["job"]])
    right = view.get("progress") == {"percent": 10, "text": "back \u2713"}
    expect(right, "the newest progress", view)
    await wire.one("release", claims=[ref(claim)])
    await wire.one("claim", jobs=[claim["job"]])
    view = await wire.one("get", jobs=[claim["job"]])
    expect("progress" not in view, "no progress in a new claim", view)


@scenario("12")
async def keeps_the_log_in_order(site: Site) -> None:
    """Lines and progress are in the log, in order, from offset 0 without gaps."""
    wire = await site.client()
    claim = await site.claimed(wire)
    await wire.one("log", reports=[ref(claim, messages=["first", "", "third \u2713\n"])])
    await wire.one("progress", reports=[ref(claim, percent=50, text="half")])
    await wire.one("log", reports=[ref(claim, messages=["last"])])
    page = await wire.one("logs", job=claim["job"])
    expect((page["first"], page["end"]) == (0, 5), "offsets 0 to 5", page)
    entries = [
        (entry["offset"], entry["type"], entry["message"], entry.get("percent"))
        for entry in page["entries"]
    ]
    right = [
        (0, "log", "first", None),
        (1, "log", "", None),
        (2, "log", "third \u2713\n", None),
        (3, "progress", "half", 50),
        (4, "log", "last", None),
    ]
    expect(entries == right, "the entries in order", entries)
    expect({entry["attempt"] for entry in page["entries"]} == {1}, "the attempt 1", page)
    view = await wire.one("get", jobs=[claim["job"]])
    expect(view.get("log_end") == 5, "`log_end` 5", view)
    [watched] = await wire.ask("watch", jobs=[claim["job"]])
    same = (watched.get("log_end"), watched.get("progress")) == (5, view["progress"])
    expect(same, "`log_end` and the progress", watched)


@scenario("12")
async def reads_a_log_by_offset(site: Site) -> None:
    """`offset` and `limit` choose the entries; at `end` there is nothing more."""
    wire = await site.client()
    claim = await site.claimed(wire)
    await wire.one("log", reports=[ref(claim, messages=[str(number) for number in range(10)])])
    page = await wire.one("logs", job=claim["job"], offset=3, limit=2)
    expect([entry["offset"] for entry in page["entries"]] == [3, 4], "entries 3 and 4", page)
    page = await wire.one("logs", job=claim["job"], offset=page["end"])
    expect(page["entries"] == [], "nothing at the end", page)
    await wire.problem("not_found", "logs", job=site.name("missing"))


@scenario("10")
async def refuses_a_long_line(site: Site) -> None:
    """A line over `limits.log_message_bytes` of UTF-8 is `too_large`, and nothing is added."""
    wire = await site.client()
    claim = await site.claimed(wire)
    limit = wire.limits["log_message_bytes"]
    await wire.one("log", reports=[ref(claim, messages=["x" * limit])])
    lines = ["short", "\u2713" * (limit // 3 + 1)]
    await wire.problem("too_large", "log", reports=[ref(claim, messages=lines)])
    page = await wire.one("logs", job=claim["job"])
    expect(page["end"] == 1, "the first line alone", page["end"])


@scenario("12")
async def tells_watchers(site: Site) -> None:
    """A watched job's changes are pushed: state, progress, log, in the order of its version."""
    wire, watcher = await site.client(), await site.client()
    job = await site.job(wire)
    watched, missing = await watcher.ask("watch", jobs=[job, site.name("missing")])
    expect((watched["state"], watched["version"]) == ("QUEUED", 1), "QUEUED, version 1", watched)
    expect(missing.get("problem", {}).get("code") == "not_found", "`not_found`", missing)
    claim = await wire.one("claim", jobs=[job])
    await wire.one("progress", reports=[ref(claim, percent=50)])
    await wire.one("log", reports=[ref(claim, messages=["a line"])])
    await wire.one("fail", jobs=[ref(claim, error={})])
    events = await watcher.events(job, lambda event: event.get("state") == "FAILED")
    versions = [event["version"] for event in events]
    expect(versions == sorted(versions), "the order of `version`", versions)
    lines = [entry["message"] for event in events for entry in event.get("log", ())]
    expect("a line" in lines, "the line in `log`", events)
    percents = [event["progress"]["percent"] for event in events if "progress" in event]
    expect(50 in percents, "the progress", events)
    await wire.one("remove", jobs=[job])
    await watcher.events(job, lambda event: event.get("removed", False))


@scenario("12")
async def stops_telling(site: Site) -> None:
    """After `unwatch` no events come any more, whether the job was watched or not."""
    wire, watcher = await site.client(), await site.client()
    quiet, loud = await site.job(wire), await site.job(wire)
    await watcher.ask("watch", jobs=[quiet, loud])
    entries = await watcher.ask("unwatch", jobs=[quiet, site.name("never")])
    expect(entries == [{}, {}], "two empty entries", entries)
    await wire.one("remove", jobs=[quiet])
    await wire.one("remove", jobs=[loud])
    events = await watcher.push("events")
    expect({event["job"] for event in events["events"]} == {loud}, "the other job alone", events)

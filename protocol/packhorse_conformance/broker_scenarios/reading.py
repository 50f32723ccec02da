"""Reading: single jobs, lists, and why a job does not run."""

from typing import Any

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site, ref
from packhorse_conformance.verdict import expect
from packhorse_conformance.wire import Wire

CAUSE_FIELDS: dict[str, tuple[str, ...]] = {
    "delayed": ("until",),
    "retry_wait": ("until",),
    "behind": ("jobs",),
    "running": ("client", "since"),
    "cancelling": ("client", "since", "until"),
    "finished": ("since",),
}
"""Cause to the fields that it has."""


async def _listed(wire: Wire, **which: Any) -> list[Any]:
    """All jobs of a list, page by page."""
    found: list[Any] = []
    cursor = None
    while True:
        page = await wire.one("list", cursor=cursor, **which)
        found += page["jobs"]
        cursor = page.get("cursor")
        if cursor is None:
            return found


@scenario("12")
async def gets_each_for_itself(site: Site) -> None:
    """`get` shows each job in the order of the request, the same job twice, a missing one."""
    wire = await site.client()
    one, two = await site.job(wire), await site.job(wire)
    found = await wire.ask("get", jobs=[two, site.name("missing"), one, two])
    ids = [entry.get("id") for entry in found]
    expect(ids == [two, None, one, two], "each in its place", ids)
    expect(found[1]["problem"]["code"] == "not_found", "`not_found`", found[1])


@scenario("12")
async def raises_the_version(site: Site) -> None:
    """Each change of a job raises its `version` by one."""
    wire = await site.client()
    claim = await site.claimed(wire, attempts=2)
    versions = [(await wire.one("get", jobs=[claim["job"]]))["version"]]
    await wire.one("fail", jobs=[ref(claim, error={})])
    versions.append((await wire.one("get", jobs=[claim["job"]]))["version"])
    expect(versions == [2, 3], "2 after the claim, 3 after its end", versions)


@scenario("12")
async def lists_in_pages(site: Site) -> None:
    """`list` shows each job once, page by page, in the order of its queue, or turned round."""
    wire = await site.client()
    jobs = [site.id(f"job-{number}") for number in range(25)]
    await site.create(wire, *[site.new(id=job) for job in jobs])
    found = await _listed(wire, type=site.type(), limit=4)
    expect([job["id"] for job in found] == jobs, "25 jobs in order", len(found))
    found = await _listed(wire, type=site.type(), newest_first=True, limit=7)
    expect([job["id"] for job in found] == jobs[::-1], "the newest first", len(found))


@scenario("12")
async def lists_by_state(site: Site) -> None:
    """`states` chooses; states come in their order."""
    wire = await site.client()
    queued = await site.job(wire)
    pending = await site.job(wire, delay_ms=3_600_000)
    claim = await site.claimed(wire)
    failed = await site.claimed(wire)
    await wire.one("fail", jobs=[ref(failed, error={})])
    found = await _listed(wire, type=site.type())
    ids = [job["id"] for job in found]
    right = [pending, queued, claim["job"], failed["job"]]
    expect(ids == right, "PENDING, QUEUED, STARTED, FAILED", found)
    found = await _listed(wire, type=site.type(), states=["FAILED", "STARTED"])
    expect([job["id"] for job in found] == right[2:], "STARTED and FAILED", found)


@scenario("12")
async def lists_by_label_and_key(site: Site) -> None:
    """`label` finds jobs of all types, `unique_key` the one that holds it; all have to match."""
    wire = await site.client()
    label = site.name("label")[:64]
    one = await site.job(wire, "one", labels=[label])
    two = await site.job(wire, "two", labels=[label, "other"])
    found = await _listed(wire, label=label)
    expect({job["id"] for job in found} == {one, two}, "both", found)
    times = [job["created_at"] for job in found]
    expect(times == sorted(times), "the order of `created_at`", times)
    found = await _listed(wire, label=label, type=site.type("two"))
    expect([job["id"] for job in found] == [two], "that of the type `two`", found)
    holder = await site.job(wire, unique={"key": "k"})
    found = await _listed(wire, type=site.type(), unique_key="k")
    expect([job["id"] for job in found] == [holder], "the holder", found)
    found = await _listed(wire, type=site.type(), unique_key="another")
    expect(found == [], "nothing", found)
    await wire.refused("malformed", "list", unique_key="k")


@scenario("12")
async def lists_by_time(site: Site) -> None:
    """`since` and `until` bound the time that belongs to the state; `until` is not included."""
    wire = await site.client()
    job = await site.job(wire)
    at = (await wire.one("get", jobs=[job]))["queued_at"]
    for since, until, count in ((at, at + 1, 1), (at + 1, at + 9, 0), (0, at, 0)):
        found = await _listed(wire, type=site.type(), since=since, until=until)
        expect(len(found) == count, f"{count} jobs from {since} to {until}", found)


@scenario("12")
async def refuses_other_cursors(site: Site) -> None:
    """What is no cursor, or one of another list, is `malformed`."""
    wire = await site.client()
    await site.create(wire, *[site.new() for _ in range(3)])
    page = await wire.one("list", type=site.type(), limit=1)
    expect("cursor" in page, "a cursor", page)
    cursor = page["cursor"]
    await wire.refused("malformed", "list", type=site.type("other"), cursor=cursor)
    await wire.refused("malformed", "list", type=site.type(), states=["FAILED"], cursor=cursor)
    await wire.refused("malformed", "list", type=site.type(), cursor=b"none")


@scenario("12")
async def summarises(site: Site) -> None:
    """An entry of a list has what the job says of itself."""
    wire = await site.client()
    said: dict[str, Any] = {"key": "k", "labels": ["a"], "priority": 5, "attempts": 3}
    job = await site.job(wire, unique={"key": "u"}, **said)
    [found] = await _listed(wire, type=site.type())
    for field, value in said.items():
        expect(found.get(field) == value, f"`{field}` {value!r}", found)
    right = (found["id"], found["type"], found["state"], found.get("unique_key"))
    expect(right == (job, site.type(), "QUEUED", "u"), "id, type, state, key", found)


@scenario("12")
async def tells_why(site: Site) -> None:
    """`why` tells what keeps a job from running, in each state."""
    wire = await site.client()
    first, behind = site.id("first"), site.id("behind")
    await site.create(wire, site.new(id=first), site.new(id=behind))
    delayed = await site.job(wire, delay_ms=3_600_000)
    running = (await site.claimed(wire, "running"))["job"]
    waiting = await site.claimed(wire, "waiting", attempts=2, persistent=True)
    await wire.one("fail", jobs=[ref(waiting, error={}, retry_in_ms=3_600_000)])
    ended = await site.job(wire, persistent=True)
    await wire.one("cancel", jobs=[ended])
    cancelled = await site.claimed(wire, "cancelled")
    await wire.one("cancel", jobs=[cancelled["job"]], grace_ms=60_000)
    expected = {
        first: "no_runner",
        behind: "behind",
        delayed: "delayed",
        running: "running",
        waiting["job"]: "retry_wait",
        ended: "finished",
        cancelled["job"]: "cancelling",
    }
    entries = await wire.ask("why", jobs=[*expected, site.name("missing")])
    for code, entry in zip(expected.values(), entries, strict=False):
        codes = [cause["code"] for cause in entry["causes"]]
        expect(code in codes, f"the cause `{code}`", entry)
        expect(all(cause["message"] for cause in entry["causes"]), "words for people", entry)
        [cause] = [cause for cause in entry["causes"] if cause["code"] == code]
        lacking = [field for field in CAUSE_FIELDS.get(code, ()) if not cause.get(field)]
        expect(not lacking, f"{lacking} of the cause `{code}`", cause)
    code = entries[-1].get("problem", {}).get("code")
    expect(code == "not_found", "`not_found`", entries[-1])


@scenario("12")
async def tells_about_itself(site: Site) -> None:
    """`info` agrees with the `welcome`, and its clock goes on."""
    wire = await site.client()
    info = await wire.one("info")
    for key in ("broker", "store"):
        expect(info[key] == wire.welcome[key], f"`{key}` of the `welcome`", info)
    expect(info["now_ms"] >= wire.welcome["now_ms"], "a clock that goes on", info)
    expect(info["connections"] >= 1 and info["clients"] >= 1, "at least this client", info)


@scenario("15")
async def refuses_what_has_no_room(site: Site) -> None:
    """An entry that would make the reply too large is `too_large`; the others are shown."""
    wire = await site.client()
    payload = b"x" * wire.limits["payload_bytes"]
    count = min(wire.limits["frame_bytes"] // len(payload) + 1, wire.limits["batch"])
    jobs = [await site.job(wire, payload=payload) for _ in range(count)]
    entries = await wire.ask("get", jobs=jobs)
    codes = [entry["problem"]["code"] if "problem" in entry else "shown" for entry in entries]
    expect(set(codes) == {"shown", "too_large"}, "some shown, the rest `too_large`", codes)
    [entry] = await wire.ask("get", jobs=[jobs[codes.index("too_large")]])
    expect("problem" not in entry, "to be shown alone", "a problem")

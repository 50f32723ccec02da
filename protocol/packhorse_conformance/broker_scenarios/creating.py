"""Creating jobs: ids, content, delays and limits."""

import re
import zlib
from typing import Any

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site
from packhorse_conformance.verdict import Skipped, expect

MADE_ID = re.compile(r"[0-9a-hjkmnp-tv-z]{16}")


@scenario("9")
async def makes_ids(site: Site) -> None:
    """The broker's ids have 16 characters of Crockford's base 32, and a tag with a unique key."""
    wire = await site.client()
    jobs = [site.new(), site.new(), site.new(unique={"key": "customer-7"})]
    plain, other, unique = [entry["job"] for entry in await site.create(wire, *jobs)]
    expect(MADE_ID.fullmatch(plain), "16 characters of Crockford's base 32", plain)
    expect(plain != other, "different ids", plain)
    name, _, tag = unique.partition("~")
    right = MADE_ID.fullmatch(name) and re.fullmatch(r"[0-9a-f]{8}", tag)
    expect(right, "an id and `~` with 8 hexadecimal digits", unique)


@scenario("9")
async def tags_ids_of_unique_jobs(site: Site) -> None:
    """The tag is the CRC-32 of type, zero byte and key."""
    wire = await site.client()
    job = await site.job(wire, unique={"key": "gr\u00f6\u00dfe"})
    crc = zlib.crc32(site.type().encode() + b"\0" + "gr\u00f6\u00dfe".encode())
    expect(job.endswith(f"~{crc:08x}"), f"an id that ends in ~{crc:08x}", job)


@scenario("9")
async def keeps_all_that_was_said(site: Site) -> None:
    """`get` shows each field as the creator sent it, binary untouched."""
    wire = await site.client()
    said: dict[str, Any] = {
        "payload": bytes(range(256)),
        "key": "tenant-7 \u2713",
        "headers": {"content-type": "text/plain", "\u00e4": ""},
        "attempts": 5,
        "persistent": True,
        "priority": -1_000,
        "backoff": {"type": "list", "delays_ms": [1, 2], "jitter": "share", "jitter_percent": 9},
        "timeouts": {"idle_ms": 3_600_000, "run_ms": 60_000, "total_ms": 7_200_000},
        "lost_limit": 3,
        "labels": ["nightly", "\u2713"],
        "unique": {"key": "report", "scope": "until_started"},
        "keep_ms": 5_000,
    }
    job = await site.job(wire, "gr\u00f6\u00dfe/\U0001f600", **said)
    view = await wire.one("get", jobs=[job])
    for field, value in said.items():
        expect(view.get(field) == value, f"`{field}` {value!r}", view.get(field))
    expect(view["type"] == site.type("gr\u00f6\u00dfe/\U0001f600"), "its type", view["type"])
    expect(view.get("created_by") == wire.client, "its creator", view)
    expect((view["state"], view["version"]) == ("QUEUED", 1), "QUEUED, version 1", view)
    times = view.get("created_at", 0), view.get("queued_at", 0)
    expect(0 < times[0] <= times[1], "when it was created and queued", times)


@scenario("9")
async def keeps_each_backoff(site: Site) -> None:
    """`get` shows a backoff of each type as the creator sent it."""
    wire = await site.client()
    for backoff in (
        {"type": "fixed", "delay_ms": 7, "jitter": "full"},
        {"type": "linear", "delay_ms": 7, "max_ms": 9},
        {"type": "exponential", "delay_ms": 7, "factor_percent": 150, "jitter": "equal"},
    ):
        job = await site.job(wire, backoff=backoff)
        view = await wire.one("get", jobs=[job])
        expect(view.get("backoff") == backoff, f"{backoff}", view.get("backoff"))


@scenario("9")
async def carries_payloads_of_any_size(site: Site) -> None:
    """No payload, and one of `limits.payload_bytes`; one byte more is `too_large`."""
    wire = await site.client()
    largest = wire.limits["payload_bytes"]
    for payload in (b"", b"x" * largest):
        job = await site.job(wire, payload=payload)
        view = await wire.one("get", jobs=[job])
        same = view.get("payload", b"") == payload
        expect(same, f"a payload of {len(payload)} bytes", len(view.get("payload", b"")))
    [small, large] = await site.create(wire, site.new(), site.new(payload=b"x" * (largest + 1)))
    expect("job" in small, "the other item to be done", small)
    code = large.get("problem", {}).get("code")
    expect(code == "too_large", "`too_large`", large)
    limit = large["problem"].get("details", {}).get("limit")
    expect(limit == str(largest), f"`details.limit` {largest}", large)


@scenario("9")
async def answers_in_the_order_of_the_items(site: Site) -> None:
    """The entries are in the order of the items, which take effect in this order."""
    wire = await site.client()
    names = [site.name(f"job-{number}") for number in range(5)]
    again = [site.new(id=name) for name in (*names, names[0])]
    entries = await site.create(wire, *again)
    expect([entry["job"] for entry in entries] == [*names, names[0]], "all in order", entries)
    existed = [entry.get("existed", False) for entry in entries]
    expect(existed == [False] * 5 + [True], "the sixth to be the first again", existed)


@scenario("9")
async def creates_once(site: Site) -> None:
    """A chosen id makes `create` repeatable, for others too: `existed`, with the state now."""
    wire, other = await site.client(), await site.client()
    new = site.new(id=site.name("once"), payload=b"x", labels=["b", "a"])
    [entry] = await site.create(wire, new)
    expect(not entry.get("existed", False), "a new job", entry)
    await wire.one("claim", jobs=[new["id"]])
    [again] = await site.create(other, new)
    right = again.get("existed") is True and again["state"] == "STARTED"
    expect(right, "`existed`, and STARTED", again)


@scenario("9")
async def refuses_other_content(site: Site) -> None:
    """Other content under a chosen id is `conflict`, and so is an id that the broker made."""
    wire = await site.client()
    new = site.new(id=site.name("conflict"), payload=b"x")
    await site.create(wire, new)
    for other in ({"payload": b"y"}, {"attempts": 2}, {"key": "k"}, {"type": site.type("other")}):
        problem = await wire.problem("conflict", "create", jobs=[{**new, **other}])
        state = problem.get("details", {}).get("state")
        expect(state == "QUEUED", "`details.state` QUEUED", problem)
    made = await site.job(wire)
    await wire.problem("conflict", "create", jobs=[site.new(id=made)])


@scenario("9")
async def takes_an_id_again_after_its_job(site: Site) -> None:
    """The id of a removed job is free: the same `create` makes a new job."""
    wire = await site.client()
    new = site.new(id=site.name("again"))
    await site.create(wire, new)
    await wire.one("remove", jobs=[new["id"]])
    [entry] = await site.create(wire, new)
    expect(not entry.get("existed", False), "a new job", entry)


@scenario("9")
async def makes_handlers_of_creators(site: Site) -> None:
    """With `handle` and `group` both are handlers, also of a job that existed."""
    wire = await site.client()
    new = site.new(id=site.name("handled"))
    await site.create(wire, new)
    await site.create(wire, new, handle=True, group=site.name("group"))
    view = await wire.one("get", jobs=[new["id"]])
    expect(view.get("handlers") == [wire.client], "the client as handler", view)
    expect(view.get("groups") == [site.name("group")], "the group as handler", view)


@scenario("9")
async def delays(site: Site) -> None:
    """A delayed job is PENDING until its time, the later of the two; then it is QUEUED."""
    wire = await site.client()
    later = await site.job(wire, delay_ms=3_600_000)
    view = await wire.one("get", jobs=[later])
    expect(view["state"] == "PENDING", "PENDING", view)
    right = view["delayed_until"] == view["created_at"] + 3_600_000
    expect(right, "`delayed_until` an hour after `created_at`", view)
    end = 253_402_300_799_999
    latest = await site.job(wire, delay_ms=1, delay_until=end)
    view = await wire.one("get", jobs=[latest])
    expect(view["delayed_until"] == end, "the later of both", view)
    past = await site.job(wire, delay_until=1)
    view = await wire.one("get", jobs=[past])
    expect(view["state"] == "QUEUED", "QUEUED for a time in the past", view)


@scenario("9")
async def queues_when_the_time_has_come(site: Site) -> None:
    """A delay ends: the job is claimed then, its first attempt."""
    wire = await site.client()
    await wire.ask("take", types={site.type(): 1}, credit=1)
    job = await site.job(wire, delay_ms=50)
    [claim] = await wire.claims(1)
    right = claim["job"] == job and claim["attempt"] == 1
    expect(right, "the first attempt of the delayed job", claim)


@scenario("9")
async def counts_a_label_once(site: Site) -> None:
    """A label that is given twice counts once."""
    wire = await site.client()
    job = await site.job(wire, labels=["a", "b", "a"])
    view = await wire.one("get", jobs=[job])
    expect(sorted(view.get("labels", [])) == ["a", "b"], "`a` and `b`", view)


@scenario("9")
async def refuses_durability_it_has_not(site: Site) -> None:
    """`disk` is refused with `not_durable` where the store does not offer it; else it is done."""
    wire = await site.client()
    if not wire.welcome.get("kept"):
        raise Skipped("the broker does not tell what its store keeps")
    [entry] = await site.create(wire, site.new(durability="disk"))
    if "problem" in entry:
        expect(entry["problem"]["code"] == "not_durable", "`not_durable`", entry)
        expect(wire.welcome["kept"] != "disk", "a job, as `kept` is `disk`", entry)
        return
    view = await wire.one("get", jobs=[entry["job"]])
    expect(view.get("durability") == "disk", "`durability` `disk`", view)

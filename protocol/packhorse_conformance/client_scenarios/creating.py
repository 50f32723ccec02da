"""How a client creates jobs."""

from typing import Any

from packhorse_conformance.peer import problem
from packhorse_conformance.scenario import scenario
from packhorse_conformance.stage import Stage, created, in_base64
from packhorse_conformance.verdict import expect

FULL: dict[str, Any] = {
    "type": "gr\u00f6\u00dfe/\u2713\U0001f600",
    "id": "chosen",
    "key": "tenant-7",
    "headers": {"content-type": "text/plain", "\u2713": ""},
    "attempts": 5,
    "persistent": True,
    "delay_ms": 60_000,
    "delay_until": 253_402_300_799_999,
    "priority": -1_000,
    "backoff": {"type": "exponential", "delay_ms": 100, "factor_percent": 300, "jitter": "full"},
    "timeouts": {"idle_ms": 1, "run_ms": 60_000, "total_ms": 3_600_000},
    "lost_limit": 3,
    "labels": ["nightly", "\u00e4"],
    "unique": {"key": "report-11", "scope": "until_started", "on_duplicate": "join"},
    "keep_ms": 5_000,
}


@scenario("9")
async def sends_payloads_untouched(stage: Stage) -> None:
    """Payloads go as binary, untouched: all bytes, none at all, and 200 KiB."""
    peer = await stage.connect()
    payloads = [bytes(range(256)), b"", b"\x00", "no text: \u2713".encode(), bytes(200 * 1024)]
    answer = stage.driver.do(
        "create", jobs=[{"type": "work", "payload": in_base64(payload)} for payload in payloads]
    )
    sent: list[bytes] = []
    for request in await peer.expect_all("create", len(payloads)):
        sent += [job.get("payload", b"") for job in request["jobs"]]
        peer.ok(request, *map(created, request["jobs"]))
    expect(sent == payloads, "the payloads as they were given", [len(data) for data in sent])
    found = (await answer.ok())["jobs"]
    expect(len(found) == len(payloads), "an entry for each job", found)


@scenario("9")
async def sends_all_fields(stage: Stage) -> None:
    """Each field of a NewJob is sent as it was said."""
    peer = await stage.connect()
    answer = stage.driver.do("create", jobs=[FULL])
    create = await peer.expect("create")
    [job] = create["jobs"]
    for field, value in FULL.items():
        expect(_holds(job.get(field), value), f"`{field}` {value!r}", job.get(field))
    peer.ok(create, created(job))
    [found] = (await answer.ok())["jobs"]
    expect(found.get("job") == "chosen", "the id that was chosen", found)


def _holds(sent: Any, said: Any) -> bool:
    """Whether it has all that was said; more may be there, with its default."""
    if isinstance(said, dict) and isinstance(sent, dict):
        return all(_holds(sent.get(key), value) for key, value in said.items())
    return bool(sent == said)


@scenario("9")
async def tells_the_id_of_the_answer(stage: Stage) -> None:
    """The id in the entry is the job's, whoever chose it: here the holder of a unique key."""
    peer = await stage.connect()
    unique = {"key": "one", "on_duplicate": "join"}
    answer = stage.driver.do("create", jobs=[{"type": "work", "unique": unique}])
    peer.ok(
        await peer.expect("create"), {"job": "holder", "state": "STARTED", "duplicate": "joined"}
    )
    [found] = (await answer.ok())["jobs"]
    expect(found.get("job") == "holder", "the holder's id", found)
    expect(found.get("duplicate") == "joined", "`duplicate` `joined`", found)


@scenario("9")
async def becomes_a_handler(stage: Stage) -> None:
    """With `handle` or `group` the request says so."""
    peer = await stage.connect()
    answer = stage.driver.do("create", jobs=[{"type": "work"}], handle=True)
    create = await peer.expect("create")
    expect(create.get("handle") is True, "`handle` true", create)
    peer.ok(create, created(create["jobs"][0]))
    await answer.ok()
    answer = stage.driver.do("create", jobs=[{"type": "work"}], group="mail")
    create = await peer.expect("create")
    expect(create.get("group") == "mail", "`group` `mail`", create)
    expect(not create.get("handle"), "`handle` false", create)
    peer.ok(create, created(create["jobs"][0]))
    await answer.ok()


@scenario("9")
async def takes_not_met_for_no_failure(stage: Stage) -> None:
    """An `ok` with `durability` `not_met` is no failure: the job was created."""
    peer = await stage.connect()
    answer = stage.driver.do("create", jobs=[{"type": "work", "durability": "disk"}])
    create = await peer.expect("create")
    expect(create["jobs"][0].get("durability") == "disk", "`durability` `disk`", create)
    entry = created(create["jobs"][0])
    peer.send({"t": "ok", "id": create["id"], "results": [entry], "durability": "not_met"})
    [found] = (await answer.ok())["jobs"]
    expect(found.get("job") == entry["job"], "the job's id", found)


@scenario("9")
async def refuses_or_tells_a_large_payload(stage: Stage) -> None:
    """A payload over `limits.payload_bytes` ends in `too_large`, said by library or broker."""
    peer = await stage.connect(limits={"payload_bytes": 1_000})
    answer = stage.driver.do("create", jobs=[{"type": "work", "payload": in_base64(bytes(1_001))}])
    create = await stage.request_or_answer(peer, "create", answer)
    if create is not None:
        peer.ok(create, problem("too_large", details={"limit": "1000"}))
    told = await answer.problem()
    expect(told["code"] in ("too_large", "invalid"), "`too_large` or `invalid`", told)
    await stage.still_answers(peer)


@scenario("3")
async def keeps_to_the_frame(stage: Stage) -> None:
    """Many jobs at once leave in frames of at most `limits.frame_bytes`."""
    limits = {"frame_bytes": 600_000, "payload_bytes": 60_000, "result_bytes": 1_000}
    peer = await stage.connect(limits=limits)
    payload = in_base64(bytes(60_000))
    answer = stage.driver.do("create", jobs=[{"type": "work", "payload": payload}] * 20)
    for request in await peer.expect_all("create", 20):
        peer.ok(request, *map(created, request["jobs"]))
    found = (await answer.ok())["jobs"]
    expect(len(found) == 20 and all("job" in job for job in found), "20 jobs", found)


@scenario("18")
async def never_creates_twice_by_itself(stage: Stage) -> None:
    """A `create` whose answer was lost is told as lost, or repeated with the same ids."""
    peer = await stage.connect()
    answer = stage.driver.do("create", jobs=[{"type": "work"}, {"type": "work"}])
    first = [job for request in await peer.expect_all("create", 2) for job in request["jobs"]]
    peer.abort()
    again, _ = await stage.comes_back()
    if await stage.request_or_answer(again, "create", answer) is None:
        line = await answer.line()
        told = (
            [line["error"]] if "error" in line else [job["problem"] for job in line["ok"]["jobs"]]
        )
        lost = all(problem["code"] == "disconnected" for problem in told)
        expect(lost, "`disconnected`", line)
        return
    chosen = [job.get("id") for job in first]
    expect(None not in chosen, "ids that were chosen before the first try", chosen)


@scenario("18")
async def repeats_a_create_as_it_was(stage: Stage) -> None:
    """A `create` with a chosen id that is repeated after a resume has the same content."""
    peer = await stage.connect()
    answer = stage.driver.do("create", jobs=[FULL], handle=True)
    [first] = (await peer.expect("create"))["jobs"]
    peer.abort()
    again, _ = await stage.comes_back()
    repeated = await stage.request_or_answer(again, "create", answer)
    if repeated is None:
        told = await answer.problem()
        expect(told["code"] == "disconnected", "`disconnected`", told)
        return
    expect(repeated["jobs"] == [first], "the same content", repeated["jobs"])
    expect(repeated.get("handle") is True, "`handle` again", repeated)
    again.ok(repeated, created(first, existed=True))
    [found] = (await answer.ok())["jobs"]
    expect(found.get("job") == "chosen", "the job's id", found)

"""How a broker reads frames and values."""

import msgpack

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site
from packhorse_conformance.values import packed, wide
from packhorse_conformance.verdict import expect
from packhorse_conformance.wire import Wire
from packhorse_protocol.limits import MAX_ELEMENTS
from packhorse_protocol.messages import BROKER_MESSAGES

NOBODY = "no-such-job-in-frames"


@scenario("3")
async def reads_requests_byte_by_byte(site: Site) -> None:
    """A request that comes byte by byte is one request."""
    wire = await site.client()
    await wire.send_slowly(wire.frame(wire.request("get", 1, jobs=[NOBODY])))
    answer = await wire.answer(1)
    expect(answer["t"] == "ok", "`ok`", answer)


@scenario("5")
async def reads_many_requests_in_a_segment(site: Site) -> None:
    """Pipelined requests are each answered once, in whatever order, beats between them."""
    wire = await site.client()
    requests = [wire.request("get", number, jobs=[NOBODY] * number) for number in range(1, 30)]
    wire.send(*(part for request in requests for part in (request, {"t": "beat"})))
    for request in reversed(requests):
        answer = await wire.answer(request["id"])
        expect(answer["t"] == "ok", "`ok`", answer)


@scenario("5")
async def takes_any_request_id(site: Site) -> None:
    """An id is any integer from 1 to 2^63-1, and may be used again when it was answered."""
    wire = await site.client()
    for request_id in (2**63 - 1, 1, 2**32, 1):
        wire.send(wire.request("info", request_id))
        answer = await wire.answer(request_id)
        expect(answer["t"] == "ok", "`ok`", answer)


@scenario("4")
async def reads_the_longest_encodings(site: Site) -> None:
    """Any of msgpack's encodings of a value is accepted, not the shortest alone."""
    wire = await site.client()
    new = site.new(payload=b"\x00\xff", priority=7, labels=["a"], headers={"a": "b"}, attempts=3)
    request = wire.request("create", 1, jobs=[{**new, "id": site.name("wide")}])
    wire.expects(request)
    wire.send_bytes(wire.frame_of(wide(request)))
    answer = await wire.answer(1)
    expect(answer["t"] == "ok" and "job" in answer["results"][0], "the job", answer)
    [again] = await site.create(wire, {**new, "id": site.name("wide")})
    expect(again.get("existed") is True, "the same job: `existed`", again)


@scenario("4")
async def reads_signed_encodings(site: Site) -> None:
    """A positive integer in a signed encoding is the same integer."""
    wire = await site.client()
    for number in (b"\xd0\x07", b"\xd1\x00\x07", b"\xd2" + bytes(3) + b"\x07"):
        wire.expects({"t": "info", "id": 7})
        wire.send_bytes(wire.frame_of(b"\x82\xa1t\xa4info\xa2id" + number))
        answer = await wire.answer(7)
        expect(answer["t"] == "ok", "`ok`", answer)


@scenario("4")
async def reads_keys_in_any_order(site: Site) -> None:
    """The order of keys means nothing: the tag may come last."""
    wire = await site.client()
    wire.send(dict(reversed(wire.request("get", 1, jobs=[NOBODY]).items())))
    answer = await wire.answer(1)
    expect(answer["t"] == "ok", "`ok`", answer)


@scenario("5")
async def reads_defaults_as_absent(site: Site) -> None:
    """Explicit defaults, and nil where the default is absent, are like absent keys."""
    wire = await site.client()
    new = site.new(id=site.name("defaults"))
    await site.create(wire, new)
    defaults = {
        "payload": b"",
        "attempts": 1,
        "persistent": False,
        "delay_ms": 0,
        "delay_until": 0,
        "priority": 0,
        "labels": [],
        "headers": {},
    }
    absent = ("key", "backoff", "timeouts", "lost_limit", "unique", "keep_ms", "durability")
    [entry] = await site.create(wire, {**new, **defaults, **dict.fromkeys(absent)})
    expect(entry.get("existed") is True, "the same content: `existed`", entry)


@scenario("5")
async def ignores_unknown_keys(site: Site) -> None:
    """Unknown keys are ignored at every level, whatever they hold: floats, depth of 16."""
    wire = await site.client()
    deep: object = 1.5
    for level in range(12):
        deep = [deep] if level % 2 else {"deep": deep}
    new = site.new(
        later=deep,
        timeouts={"run_ms": 60_000, "later": 0.5},
        backoff={"type": "fixed", "later": [1.5]},
        unique={"key": "k", "later": None},
    )
    [entry] = await site.create(wire, new, later={"": deep})
    expect(entry.get("state") == "QUEUED", "the job", entry)


@scenario("4")
async def accepts_as_many_elements_as_allowed(site: Site) -> None:
    """A body whose containers have nearly 200000 elements in all is accepted."""
    wire = await site.client()
    rows = [[0] * 9_998] * (MAX_ELEMENTS // 10_000)
    await wire.problem("not_found", "get", jobs=[NOBODY], later=rows)


NO_MESSAGES = {
    "the byte that is never used": b"\xc1",
    "nothing of a map but its length": b"\x82",
    "an array": packed(["get"]),
    "a text": packed("get"),
    "an integer": packed(7),
    "an array that announces 4294967295 items": b"\x81\xa1t\xdd\xff\xff\xff\xff",
    "a map that announces 4294967295 entries": b"\xdf\xff\xff\xff\xff\xa1t",
    "binary that announces 4294967295 bytes": b"\x81\xa1t\xc6\xff\xff\xff\xff",
    "a map without a tag": packed({"id": "none"}),
    "a tag that is no text": packed({"t": 7}),
    "a tag that is binary": packed({"t": b"get"}),
    "two values": packed({"t": "beat"}) * 2,
    "a byte too many": packed({"t": "beat"}) + b"\xc0",
    "half a value": packed({"t": "get", "jobs": ["a"]})[:-1],
    "text that is no UTF-8": b"\x81\xa1t\xa1\xff",
    "a key that is a number": b"\x82\xa1t\xa4beat\x01\x01",
    "a depth of 100000": b"\x82\xa1t\xa4beat\xa1x" + b"\x91" * 100_000 + b"\xc0",
    "an extension in an unknown key": packed({"t": "beat", "later": msgpack.ExtType(5, b"x")}),
    "an empty extension": packed({"t": "beat", "later": [msgpack.ExtType(5, b"")]}),
    "a timestamp": packed({"t": "beat", "later": {"at": msgpack.Timestamp(1, 0)}}),
    "an array of 10001 items": packed({"t": "beat", "later": [0] * 10_001}),
    "a map of 1025 entries": packed({"t": "beat", "later": {str(n): 0 for n in range(1_025)}}),
    "a text of 131073 bytes": packed({"t": "beat", "later": "x" * 131_073}),
}


@scenario("4")
async def refuses_what_is_no_message(site: Site) -> None:
    """What is no value of the subset, or no map with a tag, is `malformed`; it goes on."""
    wire = await site.client()
    for what, body in NO_MESSAGES.items():
        wire.send_bytes(wire.frame_of(body))
        await _malformed_without_id(wire, what)
    await wire.fence()


async def _malformed_without_id(wire: Wire, what: str) -> None:
    error = await wire.push("error", f"the error `malformed` for {what}")
    right = error["code"] == "malformed" and "id" not in error and not error.get("closing")
    expect(right, f"`malformed`, without id, not closing, for {what}", error)


@scenario("5")
async def refuses_a_float_for_an_integer(site: Site) -> None:
    """A float is no integer, however whole; nor is a boolean."""
    wire = await site.client()
    for value in (7.0, 1.5, float("nan"), True):
        error = await wire.refused("malformed", "create", jobs=[site.new(priority=value)])
        path = error.get("details", {}).get("path", "")
        expect("priority" in path, "`priority` in `details.path`", error)


@scenario("4")
async def tells_text_from_binary(site: Site) -> None:
    """Text and binary are never interchangeable."""
    wire = await site.client()
    await wire.refused("malformed", "create", jobs=[site.new(payload="text")])
    await wire.refused("malformed", "create", jobs=[{"type": b"binary"}])
    await wire.refused("malformed", "get", jobs=[b"binary"])


@scenario("5")
async def refuses_wrong_request_ids(site: Site) -> None:
    """A request whose `id` is missing or can't be one is `malformed`, without an id."""
    wire = await site.client()
    for wrong in ({}, {"id": 0}, {"id": -1}, {"id": 2**63}, {"id": "1"}, {"id": True}, {"id": 1.0}):
        wire.send_bytes(wire.frame_of(packed({"t": "info", **wrong})))
        await _malformed_without_id(wire, f"`info` with {wrong}")
    await wire.fence()


@scenario("5")
async def refuses_unknown_tags(site: Site) -> None:
    """An unknown tag is `unsupported`, with the request's id; so is what only brokers send."""
    wire = await site.client()
    for tag in ("teleport", *BROKER_MESSAGES):
        if tag == "beat":
            continue
        wire.send({"t": tag, "id": 7})
        await wire.refusal("unsupported", 7)
    wire.send_bytes(wire.frame_of(packed({"t": "teleport"})))
    error = await wire.push("error")
    expect(error["code"] == "unsupported" and "id" not in error, "`unsupported`, no id", error)


@scenario("5")
async def does_nothing_of_a_malformed_batch(site: Site) -> None:
    """One bad item makes the message malformed: nothing of it is done."""
    wire = await site.client()
    good = site.new(id=site.name("good"))
    error = await wire.refused("malformed", "create", jobs=[good, site.new(attempts=0)])
    path = error.get("details", {}).get("path", "")
    expect("attempts" in path, "`attempts` in `details.path`", error)
    await wire.problem("not_found", "get", jobs=[good["id"]])


@scenario("20")
async def refuses_too_large_a_batch(site: Site) -> None:
    """More items than `limits.batch` are refused as a whole: `too_many`; so many are not."""
    wire = await site.client()
    batch = min(wire.limits["batch"], 9_999)
    entries = await wire.ask("get", jobs=[NOBODY] * batch)
    codes = {entry.get("problem", {}).get("code") for entry in entries}
    expect(codes == {"not_found"}, "`not_found` for each", codes)
    await wire.refused("too_many", "get", jobs=[NOBODY] * (batch + 1))

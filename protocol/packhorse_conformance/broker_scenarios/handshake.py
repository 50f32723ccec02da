"""How a broker lets clients in."""

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site
from packhorse_conformance.verdict import expect
from packhorse_protocol.limits import HANDSHAKE_FRAME_BYTES, MAX_FRAME_BYTES
from packhorse_protocol.messages import CLIENT_MESSAGES, ROLES


@scenario("7")
async def welcomes(site: Site) -> None:
    """A `hello` with nothing but a version is welcomed, with an id and a secret."""
    wire = await site.client()
    welcome = wire.welcome
    expect(welcome["version"] == 1, "version 1", welcome)
    expect(welcome["resumed"] is False, "`resumed` false", welcome)
    expect(len(welcome["secret"]) == 32, "a secret of 32 bytes", welcome)
    expect(set(welcome["roles"]) == set(ROLES), "all roles", welcome)
    await wire.fence()


@scenario("7")
async def tells_limits_that_hold_together(site: Site) -> None:
    """`limits` and intervals are such that any single job fits, and a beat can be missed."""
    welcome = (await site.client()).welcome
    limits = welcome["limits"]
    least = limits["payload_bytes"] + limits["result_bytes"] + 524_288
    fits = least <= limits["frame_bytes"] <= MAX_FRAME_BYTES
    expect(fits, f"`frame_bytes` of {least} to {MAX_FRAME_BYTES}", limits)
    alive = welcome["timeout_ms"] >= 3 * welcome["heartbeat_ms"] > 0
    expect(alive, "`timeout_ms` of at least three times `heartbeat_ms`", welcome)
    expect(limits["batch"] >= 1 and limits["in_flight"] >= 1, "room for a request", limits)


@scenario("7")
async def keeps_the_id_and_secret_that_came(site: Site) -> None:
    """An id and a secret of the client's own are registered, of any allowed length."""
    for secret in (b"s" * 16, b"s" * 64):
        name = site.name(f"\u2713-{len(secret)}")
        wire = await site.client(client=name, secret=secret)
        same = (wire.client, wire.secret) == (name, secret)
        expect(same, "the id and the secret that were sent", wire.welcome)


@scenario("7")
async def makes_different_ids(site: Site) -> None:
    """Two clients that bring no id get different ones, and different secrets."""
    one, other = await site.client(), await site.client()
    expect(one.client != other.client, "different ids", one.client)
    expect(one.secret != other.secret, "different secrets", "the same")


@scenario("7")
async def reads_a_later_hello(site: Site) -> None:
    """Unknown keys of a `hello`, and versions beside 1, are borne."""
    wire = await site.client(versions=[9, 1, 2**40], later={"a": [1.5]}, library="later 9.0")
    expect(wire.welcome["version"] == 1, "version 1", wire.welcome)


@scenario("3")
async def reads_a_hello_byte_by_byte(site: Site) -> None:
    """A `hello` that comes byte by byte is one `hello`."""
    wire = await site.dial()
    await wire.send_slowly(wire.frame({"t": "hello", "versions": [1]}))
    await wire.welcomed()


@scenario("7")
async def refuses_other_versions(site: Site) -> None:
    """`version_unsupported` names the versions that there are, and closes."""
    wire = await site.dial()
    wire.send({"t": "hello", "versions": [0, 7, 2**62]})
    error = await wire.closing_error("version_unsupported")
    supported = error.get("details", {}).get("supported", "").split(",")
    expect("1" in supported, "1 in `details.supported`", error)


@scenario("6")
async def wants_a_hello_first(site: Site) -> None:
    """Whatever else comes first is answered `hello_required`, and closes."""
    for tag in ("weather", *CLIENT_MESSAGES):
        if tag == "hello":
            continue
        wire = await site.dial()
        wire.send({"t": tag, "id": 7})
        await wire.closing_error("hello_required")


@scenario("6")
async def refuses_a_malformed_hello(site: Site) -> None:
    """A malformed `hello` is answered `hello_required`, whose path names the mistake."""
    wrong = {
        "versions": ([], ["1"], [1.0], [-1], list(range(17)), 1, None),
        "client": ("", "x" * 129, "a\x00b", "  ", 7, b"bin"),
        "secret": (b"s" * 15, b"s" * 65, "s" * 32),
        "roles": ([], ["king"], "create"),
        "timeout_ms": (-1, 1.5, "1", True),
        "library": ("x" * 1_025, 1),
    }
    for key, values in wrong.items():
        for value in values:
            wire = await site.dial()
            wire.send({"t": "hello", "versions": [1], key: value})
            error = await wire.closing_error("hello_required")
            path = error.get("details", {}).get("path", "")
            expect(key in path, f"`{key}` in `details.path` for {value!r}", error)


@scenario("6")
async def accepts_one_hello(site: Site) -> None:
    """A second `hello` is refused: before the `welcome` by closing, after it as `malformed`."""
    wire = await site.client()
    wire.send({"t": "hello", "versions": [1]})
    error = await wire.push("error")
    expect(error["code"] == "malformed" and "id" not in error, "`malformed` without id", error)
    expect(not error.get("closing"), "that the connection goes on", error)
    await wire.fence()


@scenario("3")
async def refuses_large_frames_before_the_hello(site: Site) -> None:
    """Until the `welcome` a frame has at most 16384 bytes: a longer one is `frame_too_large`."""
    wire = await site.dial()
    wire.send_bytes((HANDSHAKE_FRAME_BYTES + 1).to_bytes(4, "big") + b"\x82")
    await wire.closing_error("frame_too_large")


@scenario("3")
async def takes_the_largest_hello(site: Site) -> None:
    """A `hello` of 16384 bytes is read."""
    wire = await site.dial()
    message = {"t": "hello", "versions": [1], "later": b""}
    room = HANDSHAKE_FRAME_BYTES - len(wire.frame(message)) + 4 - 1  # a longer length of binary
    data = wire.frame({**message, "later": b"x" * room})
    expect(len(data) == 4 + HANDSHAKE_FRAME_BYTES, "a frame of the limit", len(data))
    wire.send_bytes(data)
    await wire.welcomed()


@scenario("3")
async def refuses_frames_that_can_not_be_cut(site: Site) -> None:
    """A length of 0 is `frame_malformed`, one over the limit `frame_too_large`; both close."""
    for welcomed in (False, True):
        wire = await site.client() if welcomed else await site.dial()
        wire.send_bytes(bytes(4))
        await wire.closing_error("frame_malformed")
    wire = await site.client()
    wire.send_bytes((wire.limits["frame_bytes"] + 1).to_bytes(4, "big") + b"\x82")
    await wire.closing_error("frame_too_large")


@scenario("6")
async def ends_what_says_nothing(site: Site) -> None:
    """A connection without a `hello` is closed with `handshake_timeout` after a few seconds."""
    wire = await site.dial()
    await wire.closing_error("handshake_timeout")


@scenario("7")
async def protects_an_id(site: Site) -> None:
    """A registered id without its secret is `client_exists`, with another one `secret_wrong`."""
    wire = await site.client(client=site.name("mine"))
    stranger = await site.dial()
    stranger.send({"t": "hello", "versions": [1], "client": wire.client})
    error = await stranger.closing_error("client_exists")
    wait_ms = error.get("retry_after_ms", 0)
    expect(0 < wait_ms <= wire.welcome["timeout_ms"], "`retry_after_ms` up to the timeout", error)
    thief = await site.dial()
    thief.send({"t": "hello", "versions": [1], "client": wire.client, "secret": b"w" * 32})
    await thief.closing_error("secret_wrong")
    await wire.fence()


@scenario("7")
async def lets_the_newer_connection_win(site: Site) -> None:
    """The same client again, with its secret, supersedes its former connection."""
    wire = await site.client()
    newer = await site.resume(wire)
    expect(newer.welcome["resumed"] is True, "`resumed` true", newer.welcome)
    expect(newer.client == wire.client, "the same id", newer.welcome)
    same = newer.welcome.get("registered_at") == wire.welcome.get("registered_at")
    expect(same, "the same `registered_at`", newer.welcome)
    await wire.closing_error("superseded")
    await newer.fence()


@scenario("7")
async def says_bye(site: Site) -> None:
    """`bye` is answered, then the broker closes, and the id is free."""
    wire = await site.client(client=site.name("leaves"))
    answer = await wire.answer(wire.begin("bye"))
    expect(answer["t"] == "ok" and answer["results"] == [{}], "`ok` with one empty entry", answer)
    rest = await wire.end("that the broker closes")
    expect(rest == [], "nothing after the answer", rest)
    again = await site.client_when_free(wire.client, b"t" * 32)
    expect(again.welcome["resumed"] is False, "`resumed` false", again.welcome)


@scenario("7")
async def removes_who_says_bye_elsewhere(site: Site) -> None:
    """What a client that left had claimed is QUEUED again, as after a lost runner."""
    producer, runner = await site.client(), await site.client()
    job = await site.job(producer, attempts=2)
    await runner.one("claim", jobs=[job])
    await runner.answer(runner.begin("bye"))
    view = await producer.one("get", jobs=[job])
    lost = (view["state"], view.get("lost", 0)) == ("QUEUED", 1)
    expect(lost, "QUEUED, with one lost attempt", view)


@scenario("6")
async def takes_nothing_before_the_welcome(site: Site) -> None:
    """What comes in the same segment as the `hello`, before its `welcome`, is `hello_required`."""
    wire = await site.dial()
    wire.send({"t": "hello", "versions": [1]}, {"t": "info", "id": 7})
    await wire.closing_error("hello_required")


@scenario("6")
async def ignores_what_follows_a_broken_frame(site: Site) -> None:
    """After a frame that can't be cut nothing is read: no answer but the closing error."""
    wire = await site.client()
    new = site.new(id=site.name("never"))
    wire.send_bytes(bytes(4) + wire.frame(wire.request("create", 7, jobs=[new])))
    await wire.closing_error("frame_malformed")
    other = await site.client()
    await other.problem("not_found", "get", jobs=[new["id"]])

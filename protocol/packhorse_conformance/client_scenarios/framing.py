"""How a client reads the stream: frames however they are cut, and values however written."""

import msgpack

from packhorse_conformance.channel import Ended
from packhorse_conformance.driver import Answer
from packhorse_conformance.peer import Peer, ok, problem
from packhorse_conformance.scenario import scenario
from packhorse_conformance.stage import Stage, claim, claims, in_base64, view
from packhorse_conformance.values import Message, packed, wide
from packhorse_conformance.verdict import expect
from packhorse_protocol.limits import MAX_ELEMENTS

PAYLOAD = bytes(range(256))


async def _asked(stage: Stage) -> tuple[Peer, Message, Answer]:
    """A client that waits for the answer to a `get`."""
    peer = await stage.connect()
    answer = stage.driver.do("get", jobs=["a"])
    return peer, await peer.expect("get"), answer


async def _shows_the_job(answer: Answer) -> None:
    [job] = (await answer.ok())["jobs"]
    expect(job.get("id") == "a", "the job `a`", job)
    expect(job.get("payload") == in_base64(PAYLOAD), "its payload", job)


@scenario("3")
async def reads_answers_byte_by_byte(stage: Stage) -> None:
    """An answer that comes byte by byte is one answer."""
    peer, get, answer = await _asked(stage)
    await peer.send_slowly(peer.frame(ok(get, view("a", payload=PAYLOAD))))
    await _shows_the_job(answer)


@scenario("3")
async def reads_several_frames_in_a_segment(stage: Stage) -> None:
    """Frames that come in one segment, the last one cut, are each a frame."""
    peer, get, answer = await _asked(stage)
    frames = b"".join(
        peer.frame(message)
        for message in (
            {"t": "beat"},
            {"t": "weather", "sunny": True},
            ok(get, view("a", payload=PAYLOAD)),
            {"t": "beat"},
        )
    )
    peer.send_bytes(frames[:-3])
    await peer.drain()
    peer.send_bytes(frames[-3:])
    await _shows_the_job(answer)
    await stage.still_answers(peer)


@scenario("3")
async def reads_a_large_frame(stage: Stage) -> None:
    """A frame of nearly `limits.frame_bytes` is read."""
    peer, get, answer = await _asked(stage)
    payload = PAYLOAD * 1024
    message = ok(get, view("a", payload=payload, result=payload, state="COMPLETE"))
    padding = peer.frame_bytes - len(packed(message)) - 100
    peer.ok(get, {**message["results"][0], "later": b"x" * padding})
    [job] = (await answer.ok())["jobs"]
    expect(job.get("payload") == in_base64(payload), "the payload of 256 KiB", len(str(job)))


@scenario("3")
async def closes_on_a_frame_over_the_limit(stage: Stage) -> None:
    """A frame over `limits.frame_bytes` ends the connection before it is read; then it resumes."""
    peer, _, _ = await _asked(stage)
    peer.send_bytes((peer.frame_bytes + 1).to_bytes(4, "big") + b"\x83")
    await peer.end("that the client closes before the frame's end")
    _, hello = await stage.comes_back()
    expect(hello.get("client") == peer.client, "the same client again", hello)


@scenario("3")
async def closes_on_an_empty_frame(stage: Stage) -> None:
    """A frame of the length 0 ends the connection; then it resumes."""
    peer, _, _ = await _asked(stage)
    peer.send_bytes(bytes(4))
    await peer.end("that the client closes")
    _, hello = await stage.comes_back()
    expect(hello.get("client") == peer.client, "the same client again", hello)


@scenario("4")
async def reads_the_longest_encodings(stage: Stage) -> None:
    """Any of msgpack's encodings of a value is accepted, not the shortest alone."""
    peer, get, answer = await _asked(stage)
    message = ok(get, view("a", payload=PAYLOAD, priority=7))
    peer.send_bytes(peer.frame_of(wide(message)))
    await _shows_the_job(answer)


@scenario("4")
async def reads_keys_in_any_order(stage: Stage) -> None:
    """The order of keys means nothing: the tag may come last."""
    peer, get, answer = await _asked(stage)
    job = dict(reversed(view("a", payload=PAYLOAD).items()))
    peer.send(dict(reversed(ok(get, job).items())))
    await _shows_the_job(answer)


@scenario("5")
async def reads_defaults_as_absent(stage: Stage) -> None:
    """An explicit default, and nil where the default is absent, are like an absent key."""
    peer, get, answer = await _asked(stage)
    defaults = {"attempts": 1, "current_attempt": 0, "persistent": False, "handlers": []}
    absent = dict.fromkeys(("key", "headers", "runner", "result", "error", "reason", "unique"))
    peer.ok(get, view("a", payload=PAYLOAD, **defaults, **absent))
    await _shows_the_job(answer)


@scenario("5")
async def ignores_unknown_keys(stage: Stage) -> None:
    """Unknown keys are ignored at every level, whatever they hold, floats too."""
    peer, get, answer = await _asked(stage)
    deep: object = 1.5
    for level in range(12):
        deep = [deep] if level % 2 else {"deep": deep}
    job = view("a", payload=PAYLOAD, later=deep, progress={"percent": 5, "later": 0.5})
    peer.send({**ok(get, job), "later": {"": None, "deep": deep}})
    await _shows_the_job(answer)


@scenario("4")
async def accepts_as_many_elements_as_allowed(stage: Stage) -> None:
    """A body whose containers have nearly 200000 elements in all is accepted."""
    peer, get, answer = await _asked(stage)
    rows = [[0] * 9_998] * (MAX_ELEMENTS // 10_000)
    peer.ok(get, view("a", payload=PAYLOAD, later=rows))
    await _shows_the_job(answer)


@scenario("19")
async def ignores_unknown_pushes(stage: Stage) -> None:
    """A push with an unknown tag counts as life and is ignored."""
    peer = await stage.connect()
    peer.send({"t": "weather", "sunny": True}, {"t": "x" * 200}, {"t": "weather", "id": 1})
    await stage.still_answers(peer)


NO_VALUES = (
    b"\xc1",  # the byte that is never used
    packed({"t": "beat"}) * 2,
    packed({"t": "claims", "claims": [1, 2, 3]})[:-1],
    b"\x81\xa1t\xa1\xff",  # text that is no UTF-8
)
HOSTILE = (
    b"\x81\xa1t\xdd\xff\xff\xff\xff",  # an array that announces 4294967295 items
    b"\x82\xa1t\xa7weather\xa1x" + b"\x91" * 100_000 + b"\xc0",  # a depth of 100000
    packed({"t": "weather", "sunny": msgpack.ExtType(5, b"")}),
)
NO_MESSAGES = (
    packed(["claims"]),
    packed({"claims": []}),
    packed({"t": 7}),
    packed({"t": "claims", "claims": "none"}),
    packed({"t": "drain", "grace_ms": 30_000.0}),
)


async def _survives(stage: Stage, bodies: tuple[bytes, ...]) -> None:
    peer = await stage.connect()
    for body in bodies:
        peer.send_bytes(peer.frame_of(body))
        peer = await stage.survives(peer)


@scenario("4")
async def survives_what_is_no_value(stage: Stage) -> None:
    """Bodies that are no value of msgpack end no client: it goes on, or closes and resumes."""
    await _survives(stage, NO_VALUES)


@scenario("4")
async def survives_what_is_hostile(stage: Stage) -> None:
    """Announced lengths, depth and extensions end no client: it goes on, or closes and resumes."""
    await _survives(stage, HOSTILE)


@scenario("5")
async def survives_what_is_no_message(stage: Stage) -> None:
    """Values that are no message end no client: it goes on, or closes and resumes."""
    await _survives(stage, NO_MESSAGES)


@scenario("5")
async def does_not_act_on_a_float(stage: Stage) -> None:
    """A claim whose `attempt` is a float, however whole, is refused: nothing is run."""
    peer = await stage.run({"work": "echo"})
    bad = {"job": "bad", "token": bytes(16), "fence": 1, "type": "work", "attempt": 1.0}
    peer.send({"t": "claims", "claims": [bad]}, claims(claim("next")))
    try:
        await peer.attempt_end("next")
    except Ended:
        await stage.comes_back()
    await stage.finish()
    expect(not stage.driver.count("running", job="bad"), "that the job is not run", "`running`")


@scenario("5")
async def tells_an_unreadable_answer(stage: Stage) -> None:
    """An `ok` whose entry can't be read is told as an error, or asked for again."""
    peer, get, answer = await _asked(stage)
    peer.ok(get, {"id": "a", "type": "work", "state": "ASLEEP", "version": 1})
    again = await stage.connects_before(answer)
    if again is not None:
        again.welcome(await again.expect("hello"), resumed=True)
        repeated = await stage.request_or_answer(again, "get", answer)
        if repeated is not None:
            again.ok(repeated, problem("not_found"))
            await answer.ok()
            return
    told = await answer.problem()
    expect(told["code"] in ("invalid", "disconnected"), "`invalid` or `disconnected`", told)

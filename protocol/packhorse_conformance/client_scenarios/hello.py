"""How a client registers."""

from packhorse_conformance.peer import SECRET
from packhorse_conformance.scenario import scenario
from packhorse_conformance.stage import Stage, in_base64
from packhorse_conformance.verdict import expect
from packhorse_protocol.limits import HANDSHAKE_FRAME_BYTES


@scenario("7")
async def offers_version_1(stage: Stage) -> None:
    """The first message is a valid `hello` that offers version 1."""
    stage.driver.do("connect", url=stage.broker.url)
    peer = await stage.broker.accept()
    hello = await peer.expect("hello")
    expect(1 in hello["versions"], "version 1 in `versions`", hello["versions"])


@scenario("7")
async def keeps_what_the_broker_chose(stage: Stage) -> None:
    """The id and the secret of the `welcome` are the client's."""
    answer = stage.driver.do("connect", url=stage.broker.url)
    peer = await stage.broker.accept()
    peer.welcome(await peer.expect("hello"), client="chosen-by-the-broker", secret=b"s" * 64)
    found = await answer.ok()
    expect(found["client"] == "chosen-by-the-broker", "the id of the `welcome`", found)
    expect(found["secret"] == in_base64(b"s" * 64), "the secret of the `welcome`", found)


@scenario("7")
async def sends_its_id_and_secret(stage: Stage) -> None:
    """An id and a secret of the program's own are in the `hello`."""
    secret = bytes(range(100, 148))
    stage.driver.do("connect", url=stage.broker.url, client="of-its-own \u2713", secret=secret)
    hello = await (await stage.broker.accept()).expect("hello")
    expect(hello.get("client") == "of-its-own \u2713", "the id that was given", hello)
    expect(hello.get("secret") == secret, "the secret that was given", hello)


@scenario("7")
async def sends_the_timeout_it_wishes(stage: Stage) -> None:
    """A timeout that the program wishes is in the `hello`."""
    stage.driver.do("connect", url=stage.broker.url, timeout_ms=12_345)
    hello = await (await stage.broker.accept()).expect("hello")
    expect(hello.get("timeout_ms") == 12_345, "`timeout_ms` 12345", hello)


@scenario("6")
async def waits_for_the_welcome(stage: Stage) -> None:
    """Between `hello` and `welcome` a client sends nothing, though it is asked to."""
    answer = stage.driver.do("connect", url=stage.broker.url)
    peer = await stage.broker.accept()
    hello = await peer.expect("hello")
    stage.driver.do("create", jobs=[{"type": "work"}])
    await stage.driver.look()
    await peer.look()
    peer.welcome(hello)
    await answer.ok()
    await stage.still_answers(peer)


@scenario("7")
async def accepts_a_later_welcome(stage: Stage) -> None:
    """A `welcome` of a later 1.x is accepted: unknown keys at each level, and features."""
    peer = await stage.connect(
        later={"nested": [1, 2.5, {"deep": None}]},
        features=["teleport", "x" * 128],
        library="a broker of 1.9",
        limits={"teleports": 7},
    )
    await stage.still_answers(peer)


@scenario("3")
async def accepts_a_welcome_byte_by_byte(stage: Stage) -> None:
    """A `welcome` that comes byte by byte is one `welcome`."""
    answer = stage.driver.do("connect", url=stage.broker.url)
    peer = await stage.broker.accept()
    hello = await peer.expect("hello")
    await peer.send_slowly(peer.frame(peer.welcome_of(hello)))
    found = await answer.ok()
    expect(found["secret"] == in_base64(SECRET), "the secret of the `welcome`", found)


@scenario("5")
async def reads_what_follows_the_welcome(stage: Stage) -> None:
    """What is in the same segment as the `welcome` is read: pushes may come right behind it."""
    answer = stage.driver.do("connect", url=stage.broker.url)
    peer = await stage.broker.accept()
    hello = await peer.expect("hello")
    unknown = {"t": "weather", "sunny": True}
    peer.welcome(hello, {"t": "beat"}, unknown, {"t": "beat"})
    await answer.ok()
    await stage.still_answers(peer)


@scenario("7")
async def closes_on_a_version_not_offered(stage: Stage) -> None:
    """A `welcome` that names a version that was not offered ends the connection."""
    answer = stage.driver.do("connect", url=stage.broker.url)
    peer = await stage.broker.accept()
    hello = await peer.expect("hello")
    peer.welcome(hello, version=max(hello["versions"]) + 1)
    await peer.end("that the client closes")
    await answer.error()


@scenario("7")
async def tells_that_no_version_is_spoken(stage: Stage) -> None:
    """`version_unsupported` ends the attempt to connect, with this code."""
    answer = stage.driver.do("connect", url=stage.broker.url)
    peer = await stage.broker.accept()
    await peer.expect("hello")
    peer.close_with("version_unsupported", details={"supported": "7,8"})
    await peer.close()
    error = await answer.error("version_unsupported")
    expect(not error["retryable"], "`retryable` false", error)


@scenario("7")
async def tells_that_the_secret_is_wrong(stage: Stage) -> None:
    """`secret_wrong` ends the attempt to connect, with this code."""
    answer = stage.driver.do("connect", url=stage.broker.url, client="somebody", secret=b"w" * 16)
    peer = await stage.broker.accept()
    await peer.expect("hello")
    peer.close_with("secret_wrong")
    await peer.close()
    await answer.error("secret_wrong")


@scenario("17")
async def may_try_again_after_a_retryable_refusal(stage: Stage) -> None:
    """`too_many_connections`, said before the `hello` was read, is told or tried again."""
    answer = stage.driver.do("connect", url=stage.broker.url, connect_timeout_ms=10_000)
    first = await stage.broker.accept()
    first.close_with("too_many_connections", retry_after_ms=1)
    await first.close()
    second = await stage.connects_before(answer)
    if second is None:
        await answer.error("too_many_connections", "disconnected")
        return
    second.welcome(await second.expect("hello"))
    await answer.ok()


@scenario("3")
async def closes_on_a_large_frame_before_the_welcome(stage: Stage) -> None:
    """Until the `welcome` no frame has more than 16384 bytes: a longer one is not read."""
    answer = stage.driver.do("connect", url=stage.broker.url)
    peer = await stage.broker.accept()
    await peer.expect("hello")
    peer.send_bytes((HANDSHAKE_FRAME_BYTES + 1).to_bytes(4, "big") + b"\x81")
    await peer.end("that the client closes before the frame's end")
    await answer.error()


@scenario("3")
async def closes_on_an_empty_frame_before_the_welcome(stage: Stage) -> None:
    """A frame of the length 0 in the place of the `welcome` ends the connection."""
    answer = stage.driver.do("connect", url=stage.broker.url)
    peer = await stage.broker.accept()
    await peer.expect("hello")
    peer.send_bytes(bytes(4))
    await peer.end("that the client closes")
    await answer.error()

"""The session over several connections, with a broker that says what the test wants."""

import asyncio
import logging
from typing import Any

import pytest

import packhorse
from packhorse import errors
from packhorse_protocol.messages import (
    Bye,
    Create,
    Created,
    Done,
    Drain,
    Event,
    Events,
    Get,
    Hello,
    Info,
    JobView,
    Problem,
    Remove,
    Watch,
    Watched,
)
from tests.client.scripted import SECRET, ScriptedBroker, connected

NOT_FOUND = Problem(code="not_found", message="there is no such job")
VIEW = JobView(id="a", type="t", state="QUEUED", version=1)


async def refused(scripted: ScriptedBroker, code: str, **options: Any) -> Exception:
    """What a client raises whose hello is answered with this code."""
    client = packhorse.connect(dial=scripted.dial, **options)
    opening = asyncio.create_task(client.__aenter__())
    peer = await scripted.accept()
    await peer.expect(Hello)
    peer.refuse(None, code, closing=True, retryable=code == "client_exists")
    with pytest.raises(errors.PackhorseError) as raised:
        await opening
    return raised.value


# -- the hello ----------------------------------------------------------------------------------


async def test_the_hello_says_who_it_is(scripted: ScriptedBroker) -> None:
    client = packhorse.connect(
        dial=scripted.dial,
        client_id="me",
        secret=SECRET,
        roles=["create", "handle"],
        timeout="12s",
    )
    opening = asyncio.create_task(client.__aenter__())
    hello = await (await scripted.accept()).welcome(resumed=True)
    await opening
    assert (hello.client, hello.secret, hello.timeout_ms) == ("me", SECRET, 12_000)
    assert hello.roles == ("create", "handle")
    assert hello.library.startswith("packhorse-python/")
    assert (client.id, client.secret, client.connected) == ("me", SECRET, True)
    await client.__aexit__(None, None, None)
    assert not client.connected


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("secret_wrong", errors.SecretWrong),
        ("client_exists", errors.ClientExists),
        ("version_unsupported", errors.VersionUnsupported),
        ("code_of_the_future", errors.Refused),
    ],
)
async def test_a_refused_hello_is_raised(
    scripted: ScriptedBroker, code: str, error: type[Exception]
) -> None:
    raised = await refused(scripted, code)
    assert type(raised) is error
    assert scripted.dialled == 1


async def test_a_hello_that_may_be_accepted_later_is_repeated(scripted: ScriptedBroker) -> None:
    client = packhorse.connect(dial=scripted.dial, wait_for_broker=None, stay=True)
    opening = asyncio.create_task(client.__aenter__())
    peer = await scripted.accept()
    await peer.expect(Hello)
    peer.refuse(None, "client_exists", closing=True, retryable=True)
    await (await scripted.accept()).welcome()
    await opening
    await client.__aexit__(None, None, None)


async def test_a_welcome_that_can_not_be_read_is_no_welcome(scripted: ScriptedBroker) -> None:
    client = packhorse.connect(dial=scripted.dial)
    opening = asyncio.create_task(client.__aenter__())
    peer = await scripted.accept()
    await peer.expect(Hello)
    peer.send_bytes(b"\x00\x00\x00\x01\xc0")
    with pytest.raises(errors.VersionUnsupported, match="can't be read"):
        await opening


async def test_a_connection_that_ends_in_the_handshake_is_no_broker(
    scripted: ScriptedBroker,
) -> None:
    client = packhorse.connect(dial=scripted.dial)
    opening = asyncio.create_task(client.__aenter__())
    await (await scripted.accept()).close()
    with pytest.raises(errors.BrokerUnavailable, match="closed the connection"):
        await opening


async def test_no_broker_is_said_with_its_cause(scripted: ScriptedBroker) -> None:
    scripted.unreachable = True
    with pytest.raises(errors.BrokerUnavailable) as raised:
        await packhorse.connect(dial=scripted.dial).__aenter__()
    assert raised.value.tried == {"in-process broker": "connection refused"}
    assert scripted.dialled == 1


async def test_the_first_connection_is_waited_for(scripted: ScriptedBroker) -> None:
    scripted.unreachable = True
    with pytest.raises(errors.BrokerUnavailable):
        await packhorse.connect(dial=scripted.dial, wait_for_broker="100ms").__aenter__()
    assert scripted.dialled > 1


async def test_an_interrupted_opening_leaves_nothing(scripted: ScriptedBroker) -> None:
    client = packhorse.connect(dial=scripted.dial)
    opening = asyncio.create_task(client.__aenter__())
    peer = await scripted.accept()
    await peer.expect(Hello)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert await peer.end() == []


# -- leaving ------------------------------------------------------------------------------------


async def test_a_client_without_an_id_of_its_own_says_bye(scripted: ScriptedBroker) -> None:
    client = packhorse.connect(dial=scripted.dial)
    opening = asyncio.create_task(client.__aenter__())
    peer = await scripted.accept()
    await peer.welcome()
    await opening
    closing = asyncio.create_task(client.__aexit__(None, None, None))
    peer.ok(await peer.expect(Bye), Done())
    await closing
    assert await peer.end() == []


async def test_a_client_that_can_come_back_just_closes(scripted: ScriptedBroker) -> None:
    client = packhorse.connect(dial=scripted.dial, client_id="me")
    opening = asyncio.create_task(client.__aenter__())
    peer = await scripted.accept()
    await peer.welcome()
    await opening
    await client.__aexit__(None, None, None)
    assert await peer.end() == []


async def test_a_closed_client_says_so(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        waiting = asyncio.create_task(client.get("a"))
        await peer.expect(Get)
    with pytest.raises(errors.ClientClosed):
        await waiting
    with pytest.raises(errors.ClientClosed):
        await client.get("a")
    with pytest.raises(errors.ClientClosed, match="opened once"):
        await client.__aenter__()


# -- coming back --------------------------------------------------------------------------------


async def test_what_was_not_answered_is_asked_again(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        creating = asyncio.create_task(client.create("thumb", {"n": 1}, handle=True))
        first = await peer.expect(Create)
        await peer.close()
        again = await scripted.accept()
        hello = await again.welcome(resumed=True)
        assert (hello.client, hello.secret) == ("client-1", SECRET)
        second = await again.expect(Create)
        assert second.jobs == first.jobs
        assert second.handle
        again.ok(second, Created(job=second.jobs[0].id or "", state="STARTED", existed=True))
        assert (await creating).id == first.jobs[0].id


async def test_requests_wait_for_the_connection_to_come_back(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        await peer.close()
        again = await scripted.accept()
        getting = asyncio.create_task(client.get("a"))
        await again.welcome(resumed=True)
        again.ok(await again.expect(Get), VIEW)
        assert await getting == VIEW


async def test_removing_what_a_first_try_removed_is_done(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        removing = asyncio.create_task(client.remove("a"))
        await peer.expect(Remove)
        await peer.close()
        again = await scripted.accept()
        await again.welcome(resumed=True)
        again.ok(await again.expect(Remove), NOT_FOUND)
        await removing


async def test_removing_what_never_was_is_an_error(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        removing = asyncio.create_task(client.remove("a"))
        peer.ok(await peer.expect(Remove), NOT_FOUND)
        with pytest.raises(errors.NotFound, match="job a: "):
            await removing


async def test_an_outage_ends_the_patience_of_requests(scripted: ScriptedBroker) -> None:
    async with connected(scripted, outage_timeout="50ms") as (client, peer):
        waiting = asyncio.create_task(client.get("a"))
        await peer.expect(Get)
        scripted.unreachable = True
        await peer.close()
        with pytest.raises(errors.BrokerUnavailable):
            await waiting
        with pytest.raises(errors.BrokerUnavailable):
            await client.get("a")
        scripted.unreachable = False
        await (await scripted.accept()).welcome(resumed=True)


async def test_an_unreadable_stream_is_a_lost_connection(
    scripted: ScriptedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(scripted) as (_, peer):
        peer.send_bytes(b"\xff\xff\xff\xff")
        await (await scripted.accept()).welcome(resumed=True)
    assert "frames can't be read" in caplog.text


async def test_a_silent_broker_is_a_lost_connection(
    scripted: ScriptedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(scripted, welcome={"timeout_ms": 50}):
        await (await scripted.accept()).welcome(resumed=True)
    assert "silent for 0.05 s" in caplog.text


async def test_a_silent_client_beats(scripted: ScriptedBroker) -> None:
    async with connected(scripted, welcome={"heartbeat_ms": 10}) as (_, peer):
        await peer.beat()
        await peer.beat()


@pytest.mark.parametrize(
    ("code", "retryable"),
    [("client_gone", False), ("slow_reader", True), ("silent", True), ("of_the_future", True)],
)
async def test_a_closed_session_is_begun_again(
    scripted: ScriptedBroker, code: str, retryable: bool
) -> None:
    async with connected(scripted) as (client, peer):
        peer.refuse(None, code, closing=True, retryable=retryable)
        again = await scripted.accept()
        await again.welcome()
        getting = asyncio.create_task(client.get("a"))
        again.ok(await again.expect(Get), VIEW)
        assert await getting == VIEW


async def test_a_superseded_client_does_not_come_back(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        waiting = asyncio.create_task(client.get("a"))
        await peer.expect(Get)
        peer.refuse(None, "superseded", closing=True)
        with pytest.raises(errors.Superseded):
            await waiting
        with pytest.raises(errors.Superseded):
            await client.info()
        with pytest.raises(errors.Superseded):
            await anext(client.outcomes())
        with pytest.raises(errors.Superseded):
            await anext(client.watch("a"))
        assert scripted.dialled == 1


async def test_a_mistake_of_ours_is_not_repeated(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        waiting = asyncio.create_task(client.get("a"))
        await peer.expect(Get)
        peer.refuse(None, "frame_too_large", closing=True)
        with pytest.raises(errors.Refused, match="frame_too_large"):
            await waiting
        assert scripted.dialled == 1


async def test_a_bye_that_is_not_answered_harms_nobody(
    scripted: ScriptedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    client = packhorse.connect(dial=scripted.dial)
    opening = asyncio.create_task(client.__aenter__())
    peer = await scripted.accept()
    await peer.welcome()
    await opening
    closing = asyncio.create_task(client.__aexit__(None, None, None))
    await peer.expect(Bye)
    await peer.close()
    await closing
    assert scripted.dialled == 1
    assert caplog.text == ""


async def test_a_refused_resume_ends_the_session(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        waiting = asyncio.create_task(client.get("a"))
        await peer.expect(Get)
        await peer.close()
        again = await scripted.accept()
        await again.expect(Hello)
        again.refuse(None, "secret_wrong", closing=True)
        with pytest.raises(errors.SecretWrong):
            await waiting


async def test_a_draining_broker_is_left_when_it_has_answered(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        events = client.watch("x")
        begun = asyncio.ensure_future(anext(events))
        peer.ok(await peer.expect(Watch), Watched(state="QUEUED", version=1))
        await begun
        before = asyncio.create_task(client.get("a"))
        request = await peer.expect(Get)
        peer.send(Drain(grace_ms=60_000), Events(events=(Event(job="x", version=2),)))
        await anext(events)  # so it has read what came before, too
        after = asyncio.create_task(client.info())
        peer.ok(request, VIEW)
        assert await before == VIEW
        again = await scripted.accept()
        await again.welcome(resumed=True)
        assert await peer.end() == []
        await again.expect(Watch)
        again.refuse(await again.expect(Info), "forbidden")
        with pytest.raises(errors.Forbidden):
            await after
        await events.aclose()


async def test_a_draining_broker_is_not_waited_for_longer_than_it_lives(
    scripted: ScriptedBroker,
) -> None:
    async with connected(scripted) as (client, peer):
        getting = asyncio.create_task(client.get("a"))
        await peer.expect(Get)
        peer.send(Drain(grace_ms=10))
        again = await scripted.accept()
        await again.welcome(resumed=True)
        again.ok(await again.expect(Get), VIEW)
        assert await getting == VIEW


# -- what a later broker may say ------------------------------------------------------------------


async def test_what_is_unknown_is_passed_over(
    scripted: ScriptedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "packhorse")
    async with connected(scripted) as (client, peer):
        peer.send_bytes(b"\x00\x00\x00\x09\x81\xa1t\xa5later")
        getting = asyncio.create_task(client.get("a"))
        peer.ok(await peer.expect(Get), VIEW)
        assert await getting == VIEW
    assert "a message of a later version" in caplog.text


async def test_an_answer_that_can_not_be_read_ends_its_request(scripted: ScriptedBroker) -> None:
    async with connected(scripted) as (client, peer):
        getting = asyncio.create_task(client.get("a"))
        request = await peer.expect(Get)
        peer.ok(request, Done())
        with pytest.raises(errors.ConnectionLost, match="can't be read"):
            await getting


async def test_a_complaint_about_nothing_in_particular_is_logged(
    scripted: ScriptedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(scripted) as (client, peer):
        peer.refuse(None, "malformed")
        getting = asyncio.create_task(client.get("a"))
        peer.ok(await peer.expect(Get), VIEW)
        await getting
    assert "could not read a frame of ours" in caplog.text

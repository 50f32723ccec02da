"""Who is let in, as whom, and what a connection may do before and after."""

import secrets
from typing import Any

import pytest

from packhorse_broker.broker import Broker
from packhorse_broker.clock import monotonic_ms
from packhorse_protocol import PROTOCOL_VERSION, Code
from packhorse_protocol.limits import HANDSHAKE_FRAME_BYTES
from packhorse_protocol.messages import (
    ROLES,
    Bye,
    Claim,
    ClaimJobs,
    ClaimRef,
    Claims,
    ClientBeat,
    Complete,
    Completion,
    CountJobs,
    Create,
    Error,
    Fail,
    Failure,
    Get,
    Handle,
    Handled,
    Hello,
    Info,
    LogReport,
    NewJob,
    Outcomes,
    ProgressReport,
    ReadLog,
    Refused,
    Release,
    Remove,
    ReportProgress,
    Role,
    Take,
    Unwatch,
    Watch,
    WriteLog,
)
from tests.support.brokers import Brokers, at_rest, until
from tests.support.wire import Wire

TOKEN = bytes(16)

ROLE_REQUESTS: list[tuple[Role, Any, dict[str, Any]]] = [
    ("create", Create, {"jobs": (NewJob(type="t"),)}),
    ("run", Take, {"types": {"t": 1}, "credit": 1}),
    ("run", ClaimJobs, {"jobs": ("j",)}),
    ("run", Release, {"claims": (ClaimRef(job="j", token=TOKEN),)}),
    ("run", ReportProgress, {"reports": (ProgressReport(job="j", token=TOKEN, percent=1),)}),
    ("run", WriteLog, {"reports": (LogReport(job="j", token=TOKEN, messages=("m",)),)}),
    ("run", Complete, {"jobs": (Completion(job="j", token=TOKEN),)}),
    ("run", Fail, {"jobs": (Failure(job="j", token=TOKEN, error=Error()),)}),
    ("handle", Handle, {"jobs": ("j",)}),
    ("handle", Handled, {"jobs": ("j",)}),
    ("read", Get, {"jobs": ("j",)}),
    ("read", ReadLog, {"job": "j"}),
    ("read", Watch, {"jobs": ("j",)}),
    ("read", Unwatch, {"jobs": ("j",)}),
    ("read", CountJobs, {}),
    ("read", Info, {}),
    ("admin", Remove, {"jobs": ("j",)}),
]


# -- the welcome


async def test_the_welcome_says_who_and_what(brokers: Brokers) -> None:
    broker = await brokers.start(
        broker_name="north",
        max_batch=7,
        max_in_flight=9,
        max_payload_bytes=1_000,
        max_result_bytes=2_000,
        max_log_message_bytes=300,
        max_frame_bytes=1024 * 1024,
        heartbeat_ms=1_000,
        client_timeout_ms=6_000,
    )
    wire = await brokers.connect(broker, "me", library="raw 1")
    welcome = wire.welcome
    assert welcome.version == PROTOCOL_VERSION
    assert (welcome.client, welcome.resumed, welcome.broker) == ("me", False, "north")
    assert len(welcome.secret) == 32
    assert welcome.roles == ROLES
    assert (welcome.heartbeat_ms, welcome.timeout_ms) == (1_000, 6_000)
    limits = welcome.limits
    assert (limits.batch, limits.in_flight, limits.frame_bytes) == (7, 9, 1024 * 1024)
    assert (limits.payload_bytes, limits.result_bytes) == (1_000, 2_000)
    assert limits.log_message_bytes == 300
    assert welcome.features == ()
    assert welcome.library.startswith("packhorse ")
    [info] = await wire.ask(Info)
    assert info.store == welcome.store
    assert info.broker == "north"
    assert info.now_ms >= welcome.now_ms >= info.started_ms > 0
    assert (info.connections, info.clients, info.schema) == (1, 1, 1)


async def test_an_id_and_a_secret_are_made_where_none_came(
    brokers: Brokers, broker: Broker
) -> None:
    first, second = await brokers.connect(broker), await brokers.connect(broker)
    assert first.id != second.id
    assert first.welcome.secret != second.welcome.secret


async def test_a_secret_of_the_clients_own_is_kept(brokers: Brokers, broker: Broker) -> None:
    secret = secrets.token_bytes(16)
    wire = await brokers.connect(broker, "me", secret=secret)
    assert wire.welcome.secret == secret
    assert not wire.welcome.resumed
    again = await brokers.connect(broker, "me", secret=secret)
    assert again.welcome.resumed
    assert again.welcome.secret == secret


@pytest.mark.parametrize(
    ("wished_ms", "given_ms", "heartbeat_ms"),
    [(None, 6_000, 2_000), (1, 1_500, 500), (4_500, 4_500, 1_500), (10**9, 30_000, 2_000)],
)
async def test_a_wished_timeout_is_kept_within_bounds(
    brokers: Brokers, wished_ms: int | None, given_ms: int, heartbeat_ms: int
) -> None:
    broker = await brokers.start(
        heartbeat_ms=2_000,
        client_timeout_ms=6_000,
        min_client_timeout_ms=1_500,
        max_client_timeout_ms=30_000,
    )
    welcome = (await brokers.connect(broker, timeout_ms=wished_ms)).welcome
    assert (welcome.timeout_ms, welcome.heartbeat_ms) == (given_ms, heartbeat_ms)


# -- refused


async def test_a_version_is_chosen_or_refused(brokers: Brokers, broker: Broker) -> None:
    newer = await brokers.connect(broker, versions=(9, PROTOCOL_VERSION, 7))
    assert newer.welcome.version == PROTOCOL_VERSION
    wire = await brokers.dial(broker)
    wire.send(Hello(versions=(7, 9)))
    error = await wire.closing_error()
    assert error.code == Code.VERSION_UNSUPPORTED
    assert error.details == {"supported": "1"}
    assert not error.retryable


async def refused_hello(wire: Wire, **hello: Any) -> Any:
    wire.send(Hello(versions=(1,), **hello))
    return await wire.closing_error()


async def test_a_registered_id_is_taken(brokers: Brokers, broker: Broker) -> None:
    first = await brokers.connect(broker, "me", timeout_ms=20_000)
    error = await refused_hello(await brokers.dial(broker), client="me")
    assert error.code == Code.CLIENT_EXISTS
    assert error.retryable
    assert error.retry_after_ms == 20_000
    error = await refused_hello(await brokers.dial(broker), client="me", secret=bytes(32))
    assert error.code == Code.SECRET_WRONG
    assert not error.retryable
    # The one that is registered noticed nothing.
    assert await first.ask(Info)


async def test_a_newer_connection_supersedes(brokers: Brokers, broker: Broker) -> None:
    first = await brokers.connect(broker, "me")
    second = await brokers.connect(broker, "me", secret=first.welcome.secret)
    assert second.welcome.resumed
    error = await first.closing_error()
    assert error.code == Code.SUPERSEDED
    assert not error.retryable
    [info] = await second.ask(Info)
    assert info.clients == 1


async def test_a_client_is_resumed_after_its_connection_was_lost(
    brokers: Brokers, broker: Broker
) -> None:
    first = await brokers.connect(broker, "me")
    await first.abort()
    second = await brokers.connect(broker, "me", secret=first.welcome.secret)
    assert second.welcome.registered_at == first.welcome.registered_at
    assert second.welcome.resumed


@pytest.mark.parametrize(
    ("frame", "path"),
    [
        (b"\x81\xa1t\xa4beat", ""),
        (b"\x81\xa1t\xa4info", "id"),
        (b"\x81\xa1t\xa5hello", "versions"),
        (b"\x82\xa1t\xa5hello\xa8versions\x90", "versions"),
        (b"\x82\xa1t\xa5hello\xa8versions\x91\xa1x", "versions[0]"),
        (b"\x83\xa1t\xa5hello\xa8versions\x91\x01\xa6secret\xc4\x01x", "secret"),
        (b"\x83\xa1t\xa5hello\xa8versions\x91\x01\xa5roles\x91\xa4king", "roles[0]"),
        (b"\x81\xa1t\xa5howdy", "t"),
        (b"\x93\x01\x02\x03", ""),
        (b"\xc1", ""),
    ],
)
async def test_nothing_but_a_valid_hello_comes_first(
    brokers: Brokers, broker: Broker, frame: bytes, path: str
) -> None:
    wire = await brokers.dial(broker)
    wire.send_bytes(len(frame).to_bytes(4, "big") + frame)
    error = await wire.closing_error()
    assert error.code == Code.HELLO_REQUIRED
    assert error.details == ({"path": path} if path else None)


async def test_a_second_hello_at_once_is_refused(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.dial(broker)
    hello = b"\x82\xa1t\xa5hello\xa8versions\x91\x01"
    wire.send_bytes(2 * (len(hello).to_bytes(4, "big") + hello))
    assert (await wire.closing_error()).code == Code.HELLO_REQUIRED


async def test_a_later_hello_is_malformed_and_harmless(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    hello = b"\x82\xa1t\xa5hello\xa8versions\x91\x01"
    wire.send_bytes(len(hello).to_bytes(4, "big") + hello)
    [info] = await wire.ask(Info)
    assert info.clients == 1
    [error] = wire.kept(Refused)
    assert (error.code, error.closing) == (Code.MALFORMED, False)


async def test_a_hello_has_16_kib(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.dial(broker)
    wire.send_bytes((HANDSHAKE_FRAME_BYTES + 1).to_bytes(4, "big"))
    assert (await wire.closing_error()).code == Code.FRAME_TOO_LARGE


async def test_silence_ends_the_handshake(brokers: Brokers) -> None:
    broker = await brokers.start(handshake_timeout_ms=10)
    wire = await brokers.dial(broker)
    error = await wire.closing_error()
    assert error.code == Code.HANDSHAKE_TIMEOUT
    assert error.retryable
    half = await brokers.dial(broker)
    half.send_bytes(b"\x00\x00")
    assert (await half.closing_error()).code == Code.HANDSHAKE_TIMEOUT


async def test_a_loop_that_stood_still_ends_no_handshake(brokers: Brokers) -> None:
    broker = await brokers.start(handshake_timeout_ms=60_000)
    wire = await brokers.dial(broker)
    await broker_knows(broker, 1)
    [connection] = broker.server._connections
    later_ms = monotonic_ms() + 60_001
    connection.pulse(later_ms, awake_since_ms=later_ms)
    assert not connection._closing
    connection.pulse(later_ms, awake_since_ms=0)
    assert (await wire.closing_error()).code == Code.HANDSHAKE_TIMEOUT


# -- how many


async def test_strangers_do_not_take_the_places_of_clients(brokers: Brokers) -> None:
    broker = await brokers.start(max_unauthenticated=2)
    known = await brokers.connect(broker)
    strangers = [await brokers.dial(broker) for _ in range(2)]
    await broker_knows(broker, 3)
    error = await (await brokers.dial(broker)).closing_error()
    assert error.code == Code.TOO_MANY_CONNECTIONS
    assert error.retryable
    assert error.retry_after_ms
    await strangers[0].greet()
    await brokers.connect(broker)
    await strangers[1].close()
    await known.ask(Info)


async def test_connections_are_capped(brokers: Brokers) -> None:
    broker = await brokers.start(max_connections=2)
    first = await brokers.connect(broker)
    await brokers.connect(broker)
    error = await (await brokers.dial(broker)).closing_error()
    assert error.code == Code.TOO_MANY_CONNECTIONS
    await first.ask(Bye)
    await first.ended()
    await broker_knows(broker, 1)
    await brokers.connect(broker)


async def broker_knows(broker: Broker, connections: int) -> None:
    """A new connection is accepted, a closed one noticed, in some later turn of the loop."""
    await until(lambda: broker.server.connections == connections)


# -- roles


@pytest.mark.parametrize(
    ("role", "request_kind", "fields"),
    ROLE_REQUESTS,
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_role_is_needed_and_enough(
    brokers: Brokers, broker: Broker, role: Role, request_kind: Any, fields: dict[str, Any]
) -> None:
    lacking = await brokers.connect(broker, roles=tuple(other for other in ROLES if other != role))
    error = await lacking.refusal(request_kind, **fields)
    assert error.code == Code.FORBIDDEN
    assert role in error.message
    assert not error.retryable
    [info] = await (await brokers.connect(broker)).ask(Info)
    assert info.clients == 2
    having = await brokers.connect(broker, roles=(role,))
    assert having.welcome.roles == (role,)
    assert await having.ask(request_kind, **fields)


async def test_creating_as_a_handler_needs_both_roles(brokers: Brokers, broker: Broker) -> None:
    jobs = (NewJob(type="t", id="j"),)
    creator = await brokers.connect(broker, roles=("create",))
    assert (await creator.refusal(Create, jobs=jobs, handle=True)).code == Code.FORBIDDEN
    handler = await brokers.connect(broker, roles=("handle",))
    assert (await handler.refusal(Create, jobs=jobs, handle=True)).code == Code.FORBIDDEN
    reader = await brokers.connect(broker, roles=("read",))
    [view] = await reader.ask(Get, jobs=("j",))
    assert view.code == Code.NOT_FOUND
    both = await brokers.connect(broker, roles=("create", "handle"))
    [created] = await both.ask(Create, jobs=jobs, handle=True)
    assert created.state == "QUEUED"


async def test_anybody_may_beat_and_leave(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker, roles=("read",))
    wire.send(ClientBeat())
    await wire.ask(Bye)
    assert await wire.ended() == []


async def test_a_client_may_come_back_with_other_roles(brokers: Brokers, broker: Broker) -> None:
    first = await brokers.connect(broker, "me", roles=("read",))
    second = await brokers.connect(broker, "me", secret=first.welcome.secret, roles=("create",))
    assert second.welcome.roles == ("create",)
    assert await second.ask(Create, jobs=(NewJob(type="t"),))
    assert (await second.refusal(Info)).code == Code.FORBIDDEN


async def test_claims_and_outcomes_wait_for_a_connection_with_the_role(
    brokers: Brokers, broker: Broker
) -> None:
    """Pushes of a role that the connection lacks are not sent."""
    me = await brokers.connect(broker, "me")
    held, done = [
        created.job for created in await me.ask(Create, jobs=(NewJob(type="t"),) * 2, handle=True)
    ]
    claims: tuple[Claim, ...] = await me.ask(ClaimJobs, jobs=(held, done))
    secret = me.welcome.secret
    await me.ask(Complete, jobs=(Completion(job=done, token=claims[1].token),))
    reader = await brokers.connect(broker, "me", secret=secret, roles=("read",))
    await at_rest(broker)
    await reader.ask(Info)
    assert not reader.kept(Claims)
    assert not reader.kept(Outcomes)
    runner = await brokers.connect(broker, "me", secret=secret, roles=("run",))
    [claim] = await runner.claims(1)
    assert claim == claims[0]
    handler = await brokers.connect(broker, "me", secret=secret, roles=("handle",))
    [outcome] = await handler.outcomes(1)
    assert outcome.job == done

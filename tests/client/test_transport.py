"""A connection's bytes, heartbeats and back-pressure."""

import asyncio
import socket

import pytest

from packhorse import transport
from packhorse.errors import ConnectionLost, InvalidValue
from packhorse.transport import Wire
from packhorse_protocol.errors import MalformedMessage
from packhorse_protocol.messages import BrokerBeat, BrokerMessage, Drain, Get, Hello, Welcome
from tests.client.scripted import Peer


async def joined() -> tuple[Wire, Peer, asyncio.Queue[BrokerMessage | MalformedMessage], list[str]]:
    """Both ends of a connection, what the client's received, and when it could write again."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    received: asyncio.Queue[BrokerMessage | MalformedMessage] = asyncio.Queue()
    again: list[str] = []
    _, wire = await asyncio.get_running_loop().create_unix_connection(
        lambda: Wire(received.put_nowait, lambda: again.append("writable")), sock=ours
    )
    peer = Peer(*await asyncio.open_unix_connection(sock=theirs), 1024 * 1024)
    return wire, peer, received, again


async def opened() -> tuple[Wire, Peer, asyncio.Queue[BrokerMessage | MalformedMessage], list[str]]:
    """The same after the welcome."""
    wire, peer, received, again = await joined()
    wire.send(Hello(versions=(1,)))
    wire.flush()
    await peer.welcome()
    assert isinstance(await received.get(), Welcome)
    return wire, peer, received, again


def can_write(wire: Wire) -> bool:
    return wire.writable


async def test_messages_arrive() -> None:
    wire, peer, received, _ = await opened()
    peer.send(BrokerBeat(), Drain(grace_ms=5))
    assert [await received.get(), await received.get()] == [BrokerBeat(), Drain(grace_ms=5)]
    wire.close(ConnectionLost("enough"))
    assert await peer.end() == []
    await peer.close()


async def test_what_is_sent_leaves_with_the_flush() -> None:
    wire, peer, _, _ = await opened()
    for n in range(1, 4):
        wire.send(Get(id=n, jobs=("a",)))
    with pytest.raises(InvalidValue, match="request 3 is not answered yet"):
        wire.send(Get(id=3, jobs=("a",)))
    wire.flush()
    assert [(await peer.expect(Get)).id for _ in range(3)] == [1, 2, 3]
    wire.close(ConnectionLost("enough"))
    await peer.close()


async def test_the_end_has_a_cause() -> None:
    wire, peer, _, _ = await opened()
    await peer.close()
    cause = await wire.closed
    assert str(cause) == "the broker closed the connection"
    assert not wire.writable
    wire.send(Get(id=1, jobs=("a",)))
    wire.flush()  # into nothing, harmless


async def test_an_ended_wire_keeps_its_first_cause() -> None:
    wire, peer, _, _ = await opened()
    wire.abort(ConnectionLost("first"))
    wire.close(ConnectionLost("second"))
    assert str(await wire.closed) == "first"
    await peer.close()


async def test_what_comes_after_the_end_is_not_delivered() -> None:
    wire, peer, received, _ = await opened()
    wire.close(ConnectionLost("enough"))
    wire.data_received(b"\x00\x00\x00\x08\x81\xa1t\xa4beat")
    assert received.empty()
    await peer.close()


async def test_a_full_transport_holds_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "WRITE_BUFFER_BYTES", 1_000)
    wire, peer, _, again = await opened()
    number = 0
    while can_write(wire):
        number += 1
        wire.send(Get(id=number, jobs=tuple(f"job-{n}" for n in range(500))))
        wire.flush()
    for _ in range(number):
        await peer.expect(Get)
    assert again
    assert can_write(wire)
    wire.close(ConnectionLost("enough"))
    await peer.close()

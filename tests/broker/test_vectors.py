"""The broker answers malformed frames as the vectors say, in each state as SPEC.md's table says."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

import session_table
from packhorse_broker.broker import Broker
from packhorse_protocol import Code, ConnectionState
from packhorse_protocol.framing import frame
from packhorse_protocol.limits import HANDSHAKE_FRAME_BYTES
from tests.protocol.vectors import body_of, joined, load
from tests.support.raw_frames import RawFrames, framed

MALFORMED: Final = [
    vector
    for vector in (*load("malformed.json"), *load("client_fields.json"))
    if vector.get("from", "client") == "client" and "error" in vector
]
FRAMING: Final = [
    vector
    for vector in load("framing.json")
    if vector["error"] is not None and vector["limit_bytes"] == HANDSHAKE_FRAME_BYTES
]

SAMPLES: Final = session_table.samples()
STREAMS: Final = {
    **{f"`{tag}`": stream for tag, stream in SAMPLES.items()},
    **session_table.faults(),
}
CELLS: Final = {
    title: dict(zip(session_table.HEADER[1:], cells, strict=True))
    for title, *cells in session_table.rows_of_broker()
}
FENCE_ID: Final = 1_000_000
"""Of the request whose answer shows that nothing else comes before it."""
FENCE: Final = framed({"t": "info", "id": FENCE_ID})


def is_for_an_open_session(vector: dict[str, Any]) -> bool:
    greeting = vector.get("field", "").startswith("Hello.")
    return vector.get("state", "OPEN") == "OPEN" and not greeting


@asynccontextmanager
async def dialled(broker: Broker, *, welcomed: bool) -> AsyncIterator[RawFrames]:
    raw = await RawFrames.open(broker.addresses[0])
    try:
        if welcomed:
            raw.send(SAMPLES["hello"])
            welcome = await raw.value()
            assert welcome is not None
            assert welcome["t"] == "welcome"
        yield raw
    finally:
        await raw.close()


async def answers(raw: RawFrames) -> list[dict[str, Any]]:
    """What comes until the fence is answered, or the broker closes."""
    raw.send(FENCE)
    found: list[dict[str, Any]] = []
    while (message := await raw.value()) is not None and message.get("id") != FENCE_ID:
        found.append(message)
    return found


def said(error: dict[str, Any]) -> dict[str, Any]:
    path = error.get("details", {}).get("path", "")
    return {"code": error["code"], "path": path, "request_id": error.get("id")}


async def test_malformed_messages_are_refused_and_forgotten(broker: Broker) -> None:
    async with dialled(broker, welcomed=True) as raw:
        for vector in filter(is_for_an_open_session, MALFORMED):
            raw.send(frame(body_of(vector)))
            [error] = await answers(raw)
            assert said(error) == vector["error"], vector["name"]
            assert not error.get("closing")
            assert not error.get("retryable")


async def test_before_the_welcome_what_is_malformed_ends_the_connection(broker: Broker) -> None:
    for vector in MALFORMED:
        if is_for_an_open_session(vector):
            continue
        async with dialled(broker, welcomed=False) as raw:
            greeted = vector.get("state") == ConnectionState.GREETED.name
            raw.send(SAMPLES["hello"] * greeted + frame(body_of(vector)))
            [error] = await answers(raw)
            expected = {**vector["error"], "code": Code.HELLO_REQUIRED}
            assert said(error) == expected, vector["name"]
            assert error["closing"]


@pytest.mark.parametrize("vector", FRAMING, ids=lambda vector: vector["name"])
async def test_a_broken_stream_ends_the_connection(broker: Broker, vector: dict[str, Any]) -> None:
    # Bodies that stand before the fault are none that a session begins with.
    before = sum(len(body) // 2 + 4 for body in vector["bodies"])
    async with dialled(broker, welcomed=False) as raw:
        raw.send(joined(vector["stream"])[before:])
        [error] = await answers(raw)
    assert (error["code"], error["closing"]) == (vector["error"], True)


@pytest.mark.parametrize("state", ["HANDSHAKE", "GREETED", "OPEN"])
@pytest.mark.parametrize("name", STREAMS)
async def test_each_cell_of_the_table_of_states(broker: Broker, name: str, state: str) -> None:
    async with dialled(broker, welcomed=state == "OPEN") as raw:
        # In one segment with the hello the broker is sure to read it before its welcome.
        raw.send((SAMPLES["hello"] if state == "GREETED" else b"") + STREAMS[name])
        is_answered = (name, state) != ("`beat`", "OPEN")
        found = [await raw.value()] if is_answered else await answers(raw)
    cell = CELLS[name if name in CELLS else session_table.REQUESTS][state]
    assert shown(name, found) == cell


def shown(name: str, found: Sequence[dict[str, Any] | None]) -> str:
    """What came of a message, in the words of the table."""
    match found:
        case []:
            return "a sign of life"
        case [{"t": "welcome"}]:
            return "`welcome`, or a closing `error`"
        case [{"t": "ok"}] if name == "`bye`":
            return "`ok`, then closed"
        case [{"t": "error", "closing": True, "code": code}]:
            return f"closing `{code}`"
        case [{"t": "ok"}]:
            return "`ok` or `error`"
        case [{"t": "error", "code": code}]:
            return f"`{code}`"
    raise AssertionError(found)

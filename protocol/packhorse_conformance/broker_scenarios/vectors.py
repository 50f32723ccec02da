"""The frames of `vectors/` that a broker has to refuse."""

import json
from pathlib import Path
from typing import Any, Final

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site
from packhorse_conformance.values import NotReadable, unpacked
from packhorse_conformance.verdict import expect
from packhorse_conformance.wire import Wire

FOLDER: Final = Path(__file__).parents[1] / "vectors"


def _refused(state: str) -> list[dict[str, Any]]:
    """Bodies from a client that are refused in this state."""
    vectors: list[dict[str, Any]] = json.loads((FOLDER / "malformed.json").read_text())["vectors"]
    return [
        vector
        for vector in vectors
        if vector["from"] == "client" and vector.get("state", "OPEN") == state
    ]


def _joined(parts: list[dict[str, Any]]) -> bytes:
    """The bytes of a body that is written in parts."""
    return b"".join(
        (bytes.fromhex(part["hex"]) if "hex" in part else _joined(part["parts"]))
        * part.get("times", 1)
        for part in parts
    )


def _expect_answer(wire: Wire, body: bytes) -> None:
    """So that an answer with the body's own id is no surprise."""
    try:
        message = unpacked(body)
    except NotReadable:
        return
    request_id = message.get("id")
    if isinstance(request_id, int):
        wire.expects({"t": "info", "id": request_id})


@scenario("5")
async def refuses_the_malformed(site: Site) -> None:
    """Each malformed body of the vectors is answered by its code and its id; it goes on."""
    wire = await site.client()
    for vector in _refused("OPEN"):
        body = _joined(vector["body"])
        if len(body) > wire.limits["frame_bytes"]:
            continue
        _expect_answer(wire, body)
        wire.send_bytes(wire.frame_of(body))
        error = await wire.push("error", f"an error for: {vector['name']}")
        right = vector["error"]
        same = (error["code"], error.get("id")) == (right["code"], right["request_id"])
        expect(same and not error.get("closing"), f"{right} for: {vector['name']}", error)


@scenario("6")
async def refuses_other_greetings(site: Site) -> None:
    """Each body of the vectors that comes instead of a `hello` is `hello_required`, and closes."""
    for vector in _refused("HANDSHAKE"):
        wire = await site.dial()
        body = _joined(vector["body"])
        _expect_answer(wire, body)
        wire.send_bytes(wire.frame_of(body))
        await wire.closing_error("hello_required")

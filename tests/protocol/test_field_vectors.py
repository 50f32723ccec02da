"""The generated vectors are fresh, the codec judges each as it says, and nothing has none."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest
from click.testing import CliRunner

import generate
import generate_vectors
from packhorse_protocol import CLIENT_MESSAGES, RESULTS, Code, MalformedMessage, Ok, codec
from packhorse_protocol.shapes import fields_of
from tests.protocol.vectors import PROTOCOL, body_of, joined, load, named

CLIENT: Final = named("client_fields.json")
BROKER: Final = named("broker_fields.json")
CODES: Final = named("codes.json")

NOT_NUMBERED: Final = {"5", "6", "9", "19"}
"""Sections whose rules are told in sentences."""


def judged(vector: dict[str, Any], decode: Any) -> dict[str, Any] | None:
    """What the codec says is wrong with a body. What it takes is what the vector's value means."""
    body = joined(vector["body"])
    try:
        message = decode(body)
    except MalformedMessage as error:
        return {"code": str(error.code), "path": error.path, "request_id": error.request_id}
    if "value" in vector:
        assert generate_vectors._shown(msgpack.unpackb(codec.encode(message))) == vector["value"]
    return None


def test_what_a_client_may_send() -> None:
    for vector in CLIENT.values():
        found = judged(vector, codec.decode_client_message)
        assert found == vector.get("error"), vector["name"]


def test_what_a_broker_may_send() -> None:
    for vector in BROKER.values():
        answers = vector.get("answers")
        record = None if answers is None else RESULTS[CLIENT_MESSAGES[answers]]

        def decode(body: bytes, record: type | None = record) -> Any:
            return codec.decode_broker_message(body, lambda _: record)

        assert judged(vector, decode) == vector.get("error"), vector["name"]


def test_every_field_is_tried_with_what_is_good_and_what_is_not() -> None:
    good: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    for vector in (*CLIENT.values(), *BROKER.values()):
        (bad if "error" in vector else good)[vector["field"]] += 1
    told = {
        f"{name}.{field.name}"
        for name, record in generate.records().items()
        for field in fields_of(record)
    }
    told |= {f"Ok.{name}" for name in Ok.__annotations__}
    assert set(good) == set(bad) == told
    assert min(bad.values()) >= 2


def test_every_code_is_there_and_is_read() -> None:
    assert [vector["code"] for vector in CODES.values()] == list(Code)
    for vector in CODES.values():
        message = codec.decode_broker_message(
            body_of(vector), lambda _: RESULTS[CLIENT_MESSAGES["get"]]
        )
        assert msgpack.unpackb(codec.encode(message)) == vector["value"]


def test_every_rule_of_frames_values_and_messages_has_a_vector() -> None:
    spec = generate.SPEC.read_text()
    rules: set[str] = set()
    for number in ("3", "4", "5"):
        section = re.search(rf"^## {number}\. .*?(?=^## )", spec, re.M | re.S)
        assert section is not None
        rules |= {f"{number}.{item}" for item in re.findall(r"^(\d+)\. ", section[0], re.M)}
    files = ("malformed", "accepted", "accepted_large", "framing", "session")
    hand_made = [f"{name}.json" for name in files]
    shown = {vector["rule"] for name in hand_made for vector in load(name) if "rule" in vector}
    assert shown - NOT_NUMBERED == rules
    for name in hand_made[:-1]:
        assert all("rule" in vector for vector in load(name))


@pytest.mark.parametrize("path", generate_vectors.files(), ids=lambda path: path.name)
def test_what_is_generated_is_fresh(path: Path) -> None:
    assert path.read_text() == generate_vectors.files()[path]


def test_a_stale_vector_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = tmp_path / "codes.json"
    stale.write_text((PROTOCOL / "vectors" / "codes.json").read_text().replace("get", "got", 1))
    monkeypatch.setattr(
        generate_vectors, "files", lambda: {stale: (PROTOCOL / "vectors" / stale.name).read_text()}
    )
    result = CliRunner().invoke(generate.main, ["--check"])
    assert result.exit_code == 1
    assert "codes.json differs" in result.output
    assert json.loads(stale.read_text())["vectors"][0]["code"] == Code.FRAME_TOO_LARGE

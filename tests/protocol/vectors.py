"""The files of protocol/vectors as Python values."""

import json
from pathlib import Path
from typing import Any, Final

PROTOCOL: Final = Path(__file__).parents[2] / "protocol"
MOST_IN_JSON: Final = 2**53


def load(name: str) -> list[dict[str, Any]]:
    """The vectors of a file, the steps of `session.json`."""
    content = json.loads((PROTOCOL / "vectors" / name).read_text())
    found: list[dict[str, Any]] = content.get("vectors") or content["steps"]
    return found


def named(name: str) -> dict[str, dict[str, Any]]:
    """The vectors of a file by their names, which differ."""
    vectors = load(name)
    by_name = {vector["name"]: vector for vector in vectors}
    assert len(by_name) == len(vectors)
    return by_name


def body_of(vector: dict[str, Any]) -> bytes:
    """Of a vector with a `frame`, or with its `body` in parts."""
    return joined(vector["body"]) if "body" in vector else bytes.fromhex(vector["frame"])[4:]


def from_json(value: Any) -> Any:
    """The value that JSON could not hold as it is."""
    match value:
        case {"$bin": text}:
            return bytes.fromhex(text)
        case {"$int": text}:
            return int(text)
        case dict():
            return {key: from_json(item) for key, item in value.items()}
        case list():
            return tuple(from_json(item) for item in value)
        case _:
            return value


def joined(parts: list[dict[str, Any]]) -> bytes:
    """The bytes that a list of parts stands for."""
    return b"".join(
        (joined(part["parts"]) if "parts" in part else bytes.fromhex(part["hex"]))
        * part.get("times", 1)
        for part in parts
    )


def to_json(value: Any) -> Any:
    """The value as JSON can hold it: what `from_json` reads."""
    match value:
        case bytes():
            return {"$bin": value.hex()}
        case int() if not isinstance(value, bool) and abs(value) > MOST_IN_JSON:
            return {"$int": str(value)}
        case dict():
            return {key: to_json(item) for key, item in value.items()}
        case list() | tuple():
            return [to_json(item) for item in value]
        case _:
            return value

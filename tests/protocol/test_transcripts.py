"""The client of each earlier version goes on with today's broker; what would break it is noticed."""

import json
import re
import shutil
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from packhorse_protocol import BROKER_MESSAGES, CLIENT_MESSAGES
from tests.protocol import record_transcript
from tests.protocol.comparing import Different
from tests.protocol.playing import Player
from tests.protocol.record_transcript import TRANSCRIPT, schema_of
from tests.protocol.scenarios import SCENARIOS
from tests.support.daemon import Daemons

SESSIONS: Final = {
    session["version"]: session for session in json.loads(TRANSCRIPT.read_text())["sessions"]
}
SOURCES: Final = (
    Path("protocol/packhorse_protocol"),
    Path("broker/packhorse_broker"),
    Path("clients/python/packhorse"),
)
ROOT: Final = Path(__file__).parents[2]


async def play(version: str, folder: Path, environ: dict[str, str] | None = None) -> None:
    """The session of a version to a broker of its own, which may have other sources."""
    session = SESSIONS[version]
    settings = [word for setting in session["settings"].items() for word in setting]
    schema = json.loads(schema_of(version).read_text())
    async with Daemons() as daemons:
        daemon = await daemons.begin(*settings, "--data-dir", folder, environ=environ)
        await daemon.ready()

        async def drain() -> None:
            daemon.terminate()

        await Player(session, schema, daemon.url, drain).play()
        assert await daemon.wait() == 0


@pytest.mark.parametrize("version", SESSIONS)
async def test_the_client_of_a_version_goes_on(version: str, tmp_path: Path) -> None:
    await play(version, tmp_path)


MUTATIONS: Final = {
    "a key is renamed": (r"\bexisted\b", "was_there"),
    "a default changes": (r"attempts: Attempts = 1\b", "attempts: Attempts = 2"),
    "a code is renamed": (r"\bnot_handler\b", "no_handler"),
    "a code is retryable no more": (
        r"        Code\.QUOTA,\n        Code\.STORE_FULL,\n    \}",
        "    }",
    ),
    "a bound is narrowed": (r"\bMAX_LABELS = 16\b", "MAX_LABELS = 1"),
    "a choice is renamed": (r"\"joined\"", '"merged"'),
    "a tag is renamed": (r"from_broker\(\"cancelling\"\)", 'from_broker("to_cancel")'),
}


@pytest.mark.parametrize("name", MUTATIONS)
async def test_what_would_break_it_is_noticed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.protocol.playing.WAIT_S", 5)
    environ = mutated(tmp_path / "sources", *MUTATIONS[name])
    with pytest.raises(Different):
        await play("1.0", tmp_path / "data", environ)


async def test_what_may_change_is_not(tmp_path: Path) -> None:
    environ = mutated(tmp_path / "sources", r"there is no such job", "no job has this id")
    await play("1.0", tmp_path / "data", environ)


def mutated(target: Path, pattern: str, replacement: str) -> dict[str, str]:
    """The environment of a broker whose sources differ."""
    changes = 0
    for source in SOURCES:
        shutil.copytree(ROOT / source, target / source.name)
    for path in target.rglob("*.py"):
        text, times = re.subn(pattern, replacement, path.read_text())
        path.write_text(text)
        changes += times
    assert changes
    return {"PYTHONPATH": str(target)}


def test_every_message_is_in_a_session() -> None:
    values = [
        (step["from"], step["value"])
        for session in SESSIONS.values()
        for step in session["steps"]
        if "value" in step
    ]
    assert {value["t"] for sender, value in values if sender == "client"} == set(CLIENT_MESSAGES)
    assert {value["t"] for sender, value in values if sender == "broker"} == set(BROKER_MESSAGES)
    assert set(SESSIONS) == set(SCENARIOS)


def test_what_is_recorded_is_not_recorded_again() -> None:
    before = TRANSCRIPT.read_bytes()
    result = CliRunner().invoke(record_transcript.main, ["1.0"])
    assert result.exit_code == 1
    assert "does not change any more" in result.output
    assert TRANSCRIPT.read_bytes() == before


# -- the tables -----------------------------------------------------------------------------


def broken(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Where a later version's tables are against SPEC.md, section 19."""
    sent = {
        direction: {record["record"] for record in was[f"{direction}_messages"].values()}
        for direction in ("client", "broker")
    }
    found = [f"code {code['code']}" for code in was["codes"] if code not in now["codes"]]
    for key in ("client_messages", "broker_messages"):
        found += [tag for tag, told in was[key].items() if now[key].get(tag) != told]
    for name, record in now["records"].items():
        fields = {field["name"]: field for field in record["fields"]}
        earlier = {f["name"]: f for f in was["records"].get(name, {"fields": []})["fields"]}
        if name in was["records"]:
            found += [f"{name}.{f}" for f in fields if f not in earlier and fields[f]["required"]]
        found += [
            f"{name}.{field}"
            for field, told in earlier.items()
            if field not in fields or _is_narrower(told, fields[field])
        ]
    found += [name for name in was["records"] if name not in now["records"]]
    return sorted(found + [f"no {side}" for side, records in sent.items() if not records])


def _is_narrower(was: Any, now: Any) -> bool:
    """Whether what was good is not any more; or what it means by default is another thing."""
    if not isinstance(was, dict):
        return bool(was != now)
    bounds = {"min", "max"}
    if now.keys() != was.keys() or now.get("min", 0) > was.get("min", 0):
        return True
    if now.get("max", 0) < was.get("max", 0):
        return True
    return any(_is_narrower(was[key], now[key]) for key in was.keys() - bounds)


@pytest.mark.parametrize("version", SESSIONS)
def test_the_tables_only_grow(version: str) -> None:
    now = json.loads((ROOT / "protocol" / "schema.json").read_text())
    assert broken(json.loads(schema_of(version).read_text()), now) == []


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        ('"name": "persistent"', '"name": "stays"', ["JobView.persistent", "NewJob.persistent"]),
        ('"required": false, "default": 200', '"required": false, "default": 300', None),
        ('"code": "quota"', '"code": "budget"', ["code quota"]),
        ('"max": 1000, "name": "x"', "", None),
    ],
)
def test_a_change_of_the_tables_is_noticed(
    before: str, after: str, names: list[str] | None
) -> None:
    text = schema_of("1.0").read_text()
    if before not in text:
        pytest.skip("x")
    found = broken(json.loads(text), json.loads(text.replace(before, after)))
    assert found == names if names is not None else found

"""The client of each version goes on with today's broker; what would break it is noticed."""

import json
import re
import shutil
from pathlib import Path
from typing import Final

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
    "a key is renamed": (r"\bexisted\b", "was_there", "create.existed: was True"),
    "a default changes": (
        r"attempts: Attempts = 1\b",
        "attempts: Attempts = 2",
        "attempts: was 2, is 1",
    ),
    "a code is renamed": (r"\bnot_handler\b", "no_handler", "handled.code: was 'not_handler'"),
    "a code is retryable no more": (
        r"INTERNAL,\n +Code\.QUOTA,",
        "INTERNAL,",
        "create.retryable: was True",
    ),
    "a bound is narrowed": (
        r"\bMAX_LABELS: Final = 16\b",
        "MAX_LABELS: Final = 1",
        "'path': 'jobs[0].labels'",
    ),
    "a choice is renamed": (r"\"joined\"", '"merged"', "create.duplicate: was 'joined'"),
    "a tag is renamed": (
        r"from_broker\(\"cancelling\"\)",
        'from_broker("to_cancel")',
        "cancelling never came",
    ),
}
"""What of the sources is replaced by what, and how the client notices."""


@pytest.mark.parametrize("name", MUTATIONS)
async def test_what_would_break_it_is_noticed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.protocol.playing.WAIT_S", 5)
    pattern, replacement, noticed = MUTATIONS[name]
    environ = mutated(tmp_path / "sources", pattern, replacement)
    with pytest.raises(Different, match=re.escape(noticed)):
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

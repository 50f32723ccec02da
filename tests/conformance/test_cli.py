"""The kit's command: what it lists, chooses and writes, and its exit status."""

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from packhorse_conformance.address import TcpAddress, UnixAddress, parse
from packhorse_conformance.cli import main
from tests.conformance.test_client import DRIVER, MUTANTS

RUNNER = CliRunner()


def test_scenarios_are_listed_with_their_sections() -> None:
    lines = []
    for suite in ("client", "broker"):
        listed = RUNNER.invoke(main, [suite, "--list"])
        assert listed.exit_code == 0
        lines += listed.output.splitlines()
    assert all("(section " in line for line in lines)
    assert any(line.startswith("handshake.welcomes: ") for line in lines)


def test_patterns_choose() -> None:
    listed = RUNNER.invoke(main, ["broker", "--list", "--only", "resume.*", "--only", "welcomes"])
    names = [line.partition(":")[0] for line in listed.output.splitlines()]
    assert "handshake.welcomes" in names
    assert all(name.startswith("resume.") for name in names if name != "handshake.welcomes")


@pytest.mark.parametrize(
    "arguments",
    [
        ["broker"],
        ["broker", "--url", "http://127.0.0.1"],
        ["broker", "--list", "--only", "no such scenario"],
        ["client"],
        ["neither"],
    ],
)
def test_misuse_ends_with_2(arguments: list[str]) -> None:
    assert RUNNER.invoke(main, arguments).exit_code == 2


def test_what_passes_is_told_in_a_line_and_as_junit(tmp_path: Path) -> None:
    junit = tmp_path / "results.xml"
    arguments = ["client", "--only", "offers_version_1", "--junit", str(junit), "--", *DRIVER]
    played = RUNNER.invoke(main, arguments)
    assert played.exit_code == 0, played.output
    first, last = played.output.splitlines()
    assert first.startswith("ok    hello.offers_version_1: The first message")
    assert last == "1 passed, 0 failed, 0 skipped"
    suite = ET.parse(junit).getroot()  # noqa: S314 - our own file
    assert suite.get("tests") == "1"
    assert suite.get("failures") == "0"


def test_what_fails_is_told_with_section_and_frames(tmp_path: Path) -> None:
    junit = tmp_path / "results.xml"
    arguments = ["client", "--only", "liveness.beats", "--timeout", "1", "--junit", str(junit)]
    mutant = [sys.executable, str(MUTANTS), "never_beats"]
    played = RUNNER.invoke(main, [*arguments, "--", *mutant])
    assert played.exit_code == 1
    assert "expected (SPEC.md, section 8): `beat`" in played.output
    assert '"t": "welcome"' in played.output
    [failure, *_] = ET.parse(junit).getroot().iter("failure")  # noqa: S314 - our own file
    assert "section 8" in (failure.text or "")


def test_nobody_at_the_address_is_told() -> None:
    arguments = ["broker", "--only", "handshake.welcomes", "--url", "unix:///nowhere/at/all"]
    played = RUNNER.invoke(main, arguments)
    assert played.exit_code == 2
    assert "can't be reached: No such file" in played.output


def test_a_file_without_a_certificate_is_told(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.crt"
    ca_file.write_text("none")
    options = ["--url", "tls://127.0.0.1:1", "--ca-file", str(ca_file)]
    played = RUNNER.invoke(main, ["broker", *options])
    assert played.exit_code == 2
    assert "it holds no certificate in PEM" in played.output


def test_a_driver_that_is_not_there_is_told() -> None:
    played = RUNNER.invoke(main, ["client", "--only", "hello.", "--", "/nowhere/at/all"])
    assert played.exit_code == 2
    assert "there is no program '/nowhere/at/all'" in played.output


def test_urls() -> None:
    assert parse("tcp://h:1") == TcpAddress(host="h", port=1)
    assert parse("tcp://h") == TcpAddress(host="h", port=7225)
    tls = parse("tls://h:1")
    assert isinstance(tls, TcpAddress)
    assert (tls.host, tls.port, tls.tls is not None) == ("h", 1, True)
    assert parse("unix:///a/b") == UnixAddress(path="/a/b")
    with pytest.raises(ValueError, match="none of tcp:"):
        parse("h:1")

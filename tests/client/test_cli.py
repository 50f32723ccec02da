"""The command line against a real broker: data on stdout, the rest on stderr, no traceback."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

import packhorse
from packhorse.cli import command as cli
from tests.client.terminal import Said, Terminal, run

# -- create ---------------------------------------------------------------------------------------


async def test_create_prints_the_id(terminal: Terminal) -> None:
    said = await terminal("create", "later", "url=cat.png", "--key", "tenant", "--header", "a=b=c")
    assert (said.status, said.err) == (0, "")
    assert re.fullmatch("[0-9a-z]{16}\n", said.out)
    shown = (await terminal("show", said.out.strip(), "--json")).objects()[0]
    assert (shown["type"], shown["payload"]) == ("later", {"url": "cat.png"})
    assert (shown["key"], shown["headers"]) == ("tenant", {"a": "b=c"})


async def test_create_with_all_that_can_be_said(terminal: Terminal) -> None:
    arguments = ["n:=5", "list:=[1, 2]", 'text="quoted"', "empty=", "flag:=true"]
    said = await terminal(
        "create", "later", *arguments, "--id", "mine", "--attempts", "3", "--persistent", "--json"
    )
    assert said.objects() == [{"id": "mine", "type": "later"}]
    shown = (await terminal("show", "mine", "--json")).objects()[0]
    assert shown["payload"] == {
        "n": 5,
        "list": [1, 2],
        "text": '"quoted"',
        "empty": "",
        "flag": True,
    }
    assert (shown["attempts"], shown["persistent"]) == (3, True)


async def test_create_at_a_time_or_after_one(terminal: Terminal) -> None:
    for job_id, at in (("a", "2h"), ("b", "2099-01-01T00:00Z")):
        assert (await terminal("create", "later", "--id", job_id, "--at", at)).status == 0
    [first] = (await terminal("show", "a", "--json")).objects()
    assert first["state"] == "PENDING"
    assert first["created_at"] < first["delayed_until"] < "2099"
    [second] = (await terminal("show", "b", "--json")).objects()
    assert second["delayed_until"] == "2099-01-01T00:00:00.000Z"


async def test_flags_and_lists_may_be_repeated(terminal: Terminal) -> None:
    labels = ("--label", "a", "--label", "b")
    said = await terminal("create", "later", *labels, "--json", "--json")
    [shown] = (await terminal("show", said.objects()[0]["id"], "--json")).objects()
    assert sorted(shown["labels"]) == ["a", "b"]


async def test_create_again_with_other_content(terminal: Terminal) -> None:
    assert (await terminal("create", "later", "--id", "a")).status == 0
    assert (await terminal("create", "later", "--id", "a")).status == 0
    said = await terminal("create", "later", "x=1", "--id", "a")
    assert said.status == 4
    assert said.err.startswith("error: job a: ")
    assert said.err.endswith("[conflict]\n")
    assert said.err.count("\n") == 1


async def test_create_with_a_file_as_it_is(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "payload"
    file.write_bytes(b"\xc1 raw")
    assert (await terminal("create", "later", "--payload", str(file), "--id", "a")).status == 0
    shown = (await terminal("show", "a", "--json")).objects()[0]
    assert shown["payload_base64"] == "wSByYXc="


async def test_create_and_wait(terminal: Terminal) -> None:
    said = await terminal("create", "thumb", "url=cat.png", "sizes:=[1, 2]", "--wait")
    assert (said.status, said.out) == (0, '["cat.png?w=1", "cat.png?w=2"]\n')
    assert re.fullmatch(r"([0-9a-z]{16} thumb  50%  half of it\n)?", said.err)


async def test_create_and_wait_for_an_object(terminal: Terminal) -> None:
    said = await terminal("create", "thumb", "url=cat.png", "--wait", "--json", "--id", "a")
    [shown] = said.objects()
    assert (shown["job"], shown["state"], shown["result"]) == ("a", "COMPLETE", ["cat.png?w=64"])
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ", shown["finished_at"])
    assert (await terminal("show", "a")).status == 3


async def test_create_and_wait_for_a_failure(terminal: Terminal) -> None:
    said = await terminal("create", "fail", "--wait", "--id", "a")
    assert (said.status, said.out) == (1, "")
    assert said.err == "error: job a (fail) FAILED: Fail: not today\n"
    said = await terminal("create", "fail", "--wait", "--json", "--id", "b")
    [shown] = said.objects()
    assert said.status == 1
    assert (shown["state"], shown["reason"]) == ("FAILED", "FAILED")
    assert shown["error"] == {"type": "Fail", "message": "not today", "traceback": ""}


async def test_create_and_wait_in_vain(terminal: Terminal) -> None:
    said = await terminal("create", "nobody", "--wait", "--timeout", "20ms", "--id", "a")
    assert (said.status, said.out) == (124, "")
    assert said.err == (
        "job a goes on: packhorse logs -f a\nerror: job a has not ended within 20ms\n"
    )


# -- looking --------------------------------------------------------------------------------------


async def test_show_for_people(terminal: Terminal) -> None:
    await terminal("create", "thumb", "url=cat.png", "--wait", "--persistent", "--id", "a")
    said = await terminal("show", "a")
    lines = dict(line.split(maxsplit=1) for line in said.out.splitlines())
    assert lines["job"] == "a"
    assert lines["state"] == "COMPLETE"
    assert lines["attempt"] == "1 of 1"
    assert lines["progress"] == "50%  half of it"
    assert lines["payload"] == '{"url": "cat.png"}'
    assert lines["result"] == '["cat.png?w=64"]'
    assert "key" not in lines


async def test_show_a_failure(terminal: Terminal) -> None:
    await terminal("create", "thumb", "--wait", "--persistent", "--id", "a")
    said = await terminal("show", "a")
    assert "FAILED (FAILED)" in said.out
    assert "PayloadError: thumb: payload does not fit the function" in said.out


async def test_logs(terminal: Terminal) -> None:
    await terminal("create", "thumb", "url=cat.png", "--wait", "--persistent", "--id", "a")
    for more in ([], ["-f"]):
        said = await terminal("logs", "a", *more)
        lines = [line.split("  ") for line in said.out.splitlines()]
        assert [line[1:] for line in lines] == [
            ["#1", "50% half of it"],
            ["#1", "reading cat.png"],
        ]
    said = await terminal("logs", "a", "--json", "--offset", "1")
    [entry] = said.objects()
    assert (entry["offset"], entry["message"]) == (1, "reading cat.png")
    assert entry["time"].endswith("Z")


async def test_counts(terminal: Terminal) -> None:
    for job_type in ("b", "a", "a"):
        await terminal("create", job_type)
    said = await terminal("counts", "a", "b")
    assert said.out.splitlines() == [
        "TYPE  PENDING  QUEUED  STARTED  COMPLETE  FAILED",
        "a           0       2        0         0       0",
        "b           0       1        0         0       0",
    ]
    said = await terminal("counts", "b", "--json")
    [shown] = said.objects()
    assert (shown["type"], shown["QUEUED"], shown["FAILED"]) == ("b", 1, 0)


async def test_info(terminal: Terminal) -> None:
    said = await terminal("info")
    lines = dict(line.split(maxsplit=1) for line in said.out.splitlines())
    assert lines["connections"] == "2"
    about_clients = {"broker", "started", "clock", "connections", "clients"}
    assert set(lines) == about_clients | {"store", "kept", "durability", "partitions"}
    assert (lines["durability"], lines["partitions"]) == ("store", "1")
    [shown] = (await terminal("info", "--json")).objects()
    assert shown["connections"] == 2
    assert shown["started"].endswith("Z")


async def test_the_address_may_stand_before_the_command(terminal: Terminal) -> None:
    status = await asyncio.to_thread(cli.run, ["--url", terminal.url, "info", "--json"])
    assert status == 0


# -- what can't be --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["crate"], "there is no command 'crate': did you mean 'create'?"),
        (["xyzzy"], "there is no command 'xyzzy': see `packhorse --help`"),
        (["create"], "Missing argument 'TYPE'."),
        (["create", "t", "x"], "'x' is no argument: write key=text or key:=json"),
        (["create", "t", "=x"], "'=x' is no argument: write key=text or key:=json"),
        (["create", "t", "x=1", "x=2"], "argument 'x' is given twice"),
        (["create", "t", "x:=oops"], "x:=oops: no JSON: Expecting value: line 1 column 1 (char 0)"),
        (["create", "t", "--header", "x"], "--header 'x': write name=value"),
        (["create", "t", "--timeout", "1s"], "--timeout needs --wait"),
        (
            ["create", "t", "--wait", "--timeout", "soon"],
            "--timeout: 'soon' is no duration: write 250ms, 30s or 1h30m",
        ),
        (["create", "t", "x=1", "--payload", "f"], "a job has arguments or a --payload, not both"),
        (["create", "t", "--payload", "/none"], "--payload /none: No such file or directory"),
        (
            ["create", "t", "--attempts", "0"],
            "Invalid value for '--attempts': 0 is not in the range 1<=x<=1000.",
        ),
        (
            ["create", "t", "--priority", "abc"],
            "Invalid value for '--priority': 'abc' is not a valid whole number.",
        ),
        (["create", "t", "--at", "2h", "--delay", "1h"], "--at or --delay, not both"),
        (["create", "t", "--header", "a=1", "--header", "a=2"], "--header: 'a' is given twice"),
        (["list", "--type", "a", "--type", "b"], "--type is given 2 times: it takes one value"),
        (["cancel", "--label", "a", "--label=a"], "--label is given 2 times: it takes one value"),
        (
            ["logs", "a", "--offset", "1", "--offset", "2"],
            "--offset is given 2 times: it takes one value",
        ),
        (
            ["schema", "put", "t", "f", "--url", "a", "--url", "b"],
            "--url is given 2 times: it takes one value",
        ),
        (["--url", "a", "--url", "b", "info"], "--url is given 2 times: it takes one value"),
        (
            ["serve", "--listen", "tcp://127.0.0.1:0", "--listen", "tcp://127.0.0.1:0"],
            "--listen is given 2 times: it takes one value",
        ),
        (["logs"], "Missing argument 'JOB'."),
        (["show", "a", "b"], "Got unexpected extra argument (b)"),
        (["--nonsense"], "No such option '--nonsense'."),
    ],
)
def test_a_wrong_argument_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    found = run(capsys, *arguments)
    assert (found.status, found.out, found.err) == (2, "", f"error: {said}\n")


def test_an_address_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "info", "--url", "http://x")
    assert found.status == 2
    assert found.err.startswith("error: --url: 'http://x' is no address")


def test_no_broker_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "info", "--url", "tcp://127.0.0.1:1")
    assert (found.status, found.out) == (1, "")
    assert found.err.splitlines() == [
        "error: no broker can be reached: tcp://127.0.0.1:1: connection refused",
        "start one with `packhorse serve`, or name another with --url",
    ]


def test_an_interrupted_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("packhorse.cli.broker.with_client", interrupted)
    assert run(capsys, "info").status == 130


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "--version")
    assert (found.status, found.out) == (0, f"packhorse {packhorse.version.version()}\n")
    found = run(capsys)
    assert (found.status, found.out) == (2, "")
    assert "Usage: packhorse" in found.err
    for command in ("", "create", "show", "logs", "counts", "info"):
        found = run(capsys, *command.split(), "--help")
        assert found.status == 0
        assert found.out.count(f"  packhorse {command}".rstrip()) >= 2
        assert max(map(len, found.out.splitlines())) <= 80


# -- as a process ---------------------------------------------------------------------------------


async def process(*arguments: str, url: str, stdin: bytes = b"") -> Said:
    command = [sys.executable, "-m", "packhorse.cli", *arguments]
    running = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PACKHORSE_URL": url, "PATH": ""},
    )
    out, err = await running.communicate(stdin)
    assert running.returncode is not None
    return Said(status=running.returncode, out=out.decode(), err=err.decode())


async def test_a_process_with_its_broker_in_the_environment(terminal: Terminal) -> None:
    said = await process("create", "later", "--payload", "-", "--id", "a", url=terminal.url)
    assert (said.status, said.out, said.err) == (0, "a\n", "")
    said = await process(
        "create", "later", "--payload", "-", "--id", "b", url=terminal.url, stdin=b"\x05"
    )
    assert said.status == 0
    shown = (await terminal("show", "b", "--json")).objects()[0]
    assert shown["payload"] == 5


async def test_a_reader_that_went_away_is_no_error(terminal: Terminal) -> None:
    code = """
import os
from packhorse.cli import main
reader, writer = os.pipe()
os.dup2(writer, 1)
os.close(reader)
main(["counts"])
"""
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        stderr=subprocess.PIPE,
        env={"PACKHORSE_URL": terminal.url, "PATH": ""},
    )
    _, err = await running.communicate()
    assert (running.returncode, err) == (1, b"")

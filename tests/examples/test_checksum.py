"""The demo as users run it, on files with every kind of name; the real `sha256sum` judges it."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from examples.checksum import files
from examples.checksum.__main__ import main

ROOT = Path(__file__).parents[2]

ODD_NAMES = [
    b"plain",
    b"two words",
    b" space around ",
    b"new\nline",
    b"back\\slash",
    b"back\\\\n",
    b"carriage\rreturn",
    b"tab\tand\x7f",
    b"quote'\"`$HOME;*?[a]",
    b"-c",
    b"--help",
    b"*star",
    "pferd-ü-\U0001f40e-馬".encode(),
    "combining-e\u0301".encode(),
    b"not-utf-8-\xff\xfe\x80",
    b"empty",
    b"x" * 255,
    b"sub/folder/inside",
    b"sub/new\nline/not-utf-8-\xc3",
]


def fill(folder: Path, names: list[bytes]) -> None:
    for number, name in enumerate(names):
        path = os.path.join(os.fsencode(folder), name)  # noqa: PTH118 - names are bytes
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        with open(path, "wb") as stream:  # noqa: PTH123
            stream.write(b"" if name == b"empty" else bytes([number % 251]) * (997 * number))


def demo(folder: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "examples.checksum", "--dir", folder, "--out", out],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
    )


def verified(folder: Path, manifest: Path) -> int:
    """How many files the real tool found to be as the manifest says: all that it names."""
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", manifest],  # noqa: S607
        cwd=folder,
        capture_output=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return checked.stdout.count(b": OK\n")


def summary(out: str) -> dict[str, str]:
    """What the demo says at its end, by the first word of each line."""
    return {line.split()[0]: line for line in out.splitlines() if line.strip()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in put"
    made.mkdir()
    return made


def test_every_file_is_in_the_manifest_whatever_its_name(folder: Path, tmp_path: Path) -> None:
    names = ODD_NAMES + [b"more/%03d" % number for number in range(100)]
    fill(folder, names)
    out = tmp_path / "sums"
    ended = demo(folder, out)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert verified(folder, out) == len(names)
    said = summary(ended.stdout)
    assert re.fullmatch(rf"jobs +{len(names)}  \(0 failed\)", said["jobs"])
    size = sum(997 * number for number, name in enumerate(names) if name != b"empty")
    assert re.fullmatch(rf"bytes +{size}", said["bytes"])
    assert re.fullmatch(r"left in store +0", said["left"])
    assert re.fullmatch(r"fsck +0 jobs, 0 index entries, 0 findings, 0 not mended", said["fsck"])
    # The runner that was killed held jobs, and others did them.
    lost = re.fullmatch(r"lost +(runner-\d) holding (\d+) jobs, done by: (.+)", said["lost"])
    assert lost is not None, said["lost"]
    killed, held, takers = lost.groups()
    assert int(held) > 0
    done = dict(taker.split() for taker in takers.split(", "))
    assert killed not in done
    assert sum(map(int, done.values())) == int(held)
    hands = re.fullmatch(r"changed hands +(\d+)", said["changed"])
    assert hands is not None
    assert int(hands.group(1)) >= int(held)


def test_the_manifest_itself_is_left_out(folder: Path) -> None:
    fill(folder, [b"a", b"b"])
    out = folder / "sums"
    out.write_text("from an earlier run")
    ended = demo(folder, out)
    assert ended.returncode == 0, ended.stderr
    assert verified(folder, out) == 2


def test_an_empty_folder_has_an_empty_manifest(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "sums"
    ended = demo(folder, out)
    assert ended.returncode == 0, ended.stderr
    assert out.read_bytes() == b""


def test_what_cant_be_read_is_named_and_the_rest_is_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that are gone when it is their turn: permissions do not stop every user."""
    there = [b"%02d" % number for number in range(20)]
    gone = [b"gone", b"gone\nwith-\xff"]
    fill(folder, there)
    monkeypatch.setattr(files, "below", lambda *_, **__: sorted(there + gone))
    out = tmp_path / "sums"
    ended = CliRunner().invoke(main, ["--dir", os.fspath(folder), "--out", os.fspath(out)])
    assert ended.exit_code == 1, ended.output
    assert verified(folder, out) == len(there)
    errors = ended.stderr.splitlines()
    reason = "FAILED: can't be read: No such file or directory"
    assert f"error: gone: {reason}" in errors
    assert sum(line.endswith(reason) for line in errors) == 2
    said = summary(ended.stdout)
    assert re.fullmatch(r"jobs +22  \(2 failed\)", said["jobs"])
    assert re.fullmatch(r"left in store +0", said["left"])


def test_a_folder_that_is_not_there_is_a_wrong_argument(tmp_path: Path) -> None:
    ended = demo(tmp_path / "none", tmp_path / "sums")
    assert ended.returncode == 2
    assert str(tmp_path / "none") in ended.stderr
    assert not (tmp_path / "sums").exists()


@pytest.mark.parametrize(
    ("name", "line_end"),
    [
        (b"plain", b"  plain"),
        (b"new\nline", b"  new\\nline"),
        (b"back\\slash", b"  back\\\\slash"),
        (b"carriage\rreturn", b"  carriage\\rreturn"),
    ],
)
def test_a_line_is_written_as_by_the_real_tool(name: bytes, line_end: bytes) -> None:
    digest = hashlib.sha256(b"").hexdigest()
    mark = b"" if name == b"plain" else b"\\"
    assert files.manifest_line(digest, name) == mark + digest.encode() + line_end + b"\n"

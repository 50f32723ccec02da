"""Which files there are, and how `sha256sum` writes them down. Names are bytes throughout."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path


def below(folder: Path, *, without: Path) -> list[bytes]:
    """Regular files below `folder`, by name relative to it; links are not followed."""
    left_out = os.fsencode(without.resolve())
    root = os.fsencode(folder.resolve())
    return sorted(name for name in _walk(root, b"") if os.path.join(root, name) != left_out)


def _walk(root: bytes, at: bytes) -> Iterator[bytes]:
    try:
        entries = sorted(os.scandir(os.path.join(root, at)), key=lambda entry: entry.name)
    except PermissionError:
        yield at
        return
    for entry in entries:
        name = os.path.join(at, entry.name)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, name)
        elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            yield name


def of_repository(folder: Path) -> list[bytes]:
    """The files that belong to the checkout, as git names them; without git, all below it."""
    try:
        listed = subprocess.run(
            ["git", "-C", os.fspath(folder), "ls-files", "-z", "--cached"],  # noqa: S607
            check=True,
            capture_output=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return [
            name
            for name in below(folder, without=folder)
            if not name.startswith((b".git/", b".venv/"))
        ]
    return [name for name in listed.split(b"\0") if name and (folder / os.fsdecode(name)).is_file()]


def manifest_line(digest: str, name: bytes) -> bytes:
    """A line as `sha256sum` writes it: names with odd characters are escaped and marked so."""
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    mark = b"\\" if escaped != name else b""
    return mark + digest.encode() + b"  " + escaped + b"\n"

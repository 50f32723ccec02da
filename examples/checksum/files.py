"""Which files there are, and how `sha256sum` writes them down. Names are bytes throughout."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path


def below(folder: Path, *, without: Path) -> list[bytes]:
    """Regular files below `folder`, by name relative to it; links are not followed."""
    root = folder.resolve()
    left_out = without.resolve()
    return sorted(os.fsencode(file.relative_to(root)) for file in _walk(root) if file != left_out)


def _walk(folder: Path) -> Iterator[Path]:
    """A folder that can't be listed stands for what is in it: reading it will fail."""
    try:
        entries = list(folder.iterdir())
    except PermissionError:
        yield folder
        return
    for entry in entries:
        mode = entry.lstat().st_mode
        if stat.S_ISDIR(mode):
            yield from _walk(entry)
        elif stat.S_ISREG(mode):
            yield entry


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

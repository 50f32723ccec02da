"""Writes to a server that is no longer the primary and does not know it yet: they will be lost."""

import time
from collections.abc import Mapping
from typing import Any

from tests.history.marks import Marks


class Strays:
    """Told what each server says of itself, over and over."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._adopted_at = 0
        self._changes: dict[str, tuple[int, int]] = {}
        """Of each process: when it was asked last, and how many changes it had made by then; those
    that it read at its start count too."""

    def adopted(self) -> None:
        """From now on another server is the primary."""
        self._adopted_at = time.monotonic_ns()

    def seen(self, name: str, about: Mapping[str, Any], *, is_primary: bool) -> None:
        """What was answered by a stray since it was seen last is recorded as lost."""
        if about["loading"]:
            return
        process = f"{name} {about['run_id']}"
        changes = int(about["rdb_changes_since_last_save"])
        before_at, before = self._changes.get(process, (0, changes))
        self._changes[process] = time.monotonic_ns(), changes
        if about["role"] == "master" and not is_primary and changes > before:
            self._marks.lost(max(before_at, self._adopted_at), f"{name} is no primary")

"""What is remembered of types: of those that are in use, and of a few others."""

from collections.abc import Callable
from typing import Final, TypeVar

Note = TypeVar("Note")

MAX_UNUSED: Final = 1_000
"""Types that nobody takes any more and that are remembered none the less: a runner may be back
soon, and its fair turns go on."""


class TypeNotes(dict[str, Note]):
    """By type. `notes[job_type]` makes what is not there yet; `get` does not."""

    def __init__(self, make: Callable[[], Note], in_use: Callable[[str], bool]) -> None:
        super().__init__()
        self._make = make
        self._in_use = in_use
        self._most = MAX_UNUSED

    def __missing__(self, job_type: str) -> Note:
        if len(self) >= self._most:
            for unused in [known for known in self if not self._in_use(known)]:
                del self[unused]
            # So that types that are all in use are not gone through for each new one.
            self._most = MAX_UNUSED + 2 * len(self)
        self[job_type] = note = self._make()
        return note

"""How a scenario ends: it returns, or raises one of these."""

from typing import Final

SHOWN_CHARS: Final = 600
"""How much of what came a report shows."""


class Failed(Exception):
    """Something else came than what the specification says."""

    def __init__(self, expected: str, came: object) -> None:
        super().__init__(f"expected {expected}; came {came}")
        self.expected = expected
        self.came = str(came)[:SHOWN_CHARS]


class Skipped(Exception):
    """The scenario has nothing to test here; the message says what is missing."""


def expect(holds: object, expected: str, came: object) -> None:
    """Raises `Failed` unless it holds."""
    if not holds:
        raise Failed(expected, came)

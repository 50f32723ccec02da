"""Exit statuses; those above 100 are what shells and `timeout` use themselves."""

from typing import Final

FAILED: Final = 1
"""The job failed, or no broker could be reached."""

USAGE: Final = 2
"""An argument that can't be."""

NOT_FOUND: Final = 3

REFUSED: Final = 4
"""The broker said no."""

TIMED_OUT: Final = 124
INTERRUPTED: Final = 130

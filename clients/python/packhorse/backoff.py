"""How long to wait before trying again."""

import random
from typing import Final

FIRST_WAIT_S: Final = 0.05
"""A broker that restarts is often back within a tenth of a second."""

LONGEST_WAIT_S: Final = 5.0
"""The longest that a client waits after its broker came back."""

_MAX_DOUBLINGS: Final = 16
"""Far past the longest wait; keeps the power a small number."""


def wait_s(tries: int) -> float:
    """Seconds before try number `tries` + 1: doubling, capped, the upper half of it random.

    The random part keeps a thousand clients from returning in the same instant.
    """
    doublings = min(tries, _MAX_DOUBLINGS)
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * (1 << doublings))
    return longest * random.uniform(0.5, 1.0)

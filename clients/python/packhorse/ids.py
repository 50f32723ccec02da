"""Job ids made by the client, so that every create can be repeated."""

import os
from collections import deque
from typing import Final

_ID_CHARS: Final = 16
"""80 random bits: among a billion live jobs a repetition has a chance below one in a million."""

_CROCKFORD: Final = b"0123456789abcdefghjkmnpqrstvwxyz" * 8
"""What stands for each of the 256 bytes: all 32 characters equally often."""


_AT_ONCE: Final = 64
"""Ids that are made together: asking the system for random bytes costs more than the rest."""

_made: Final[deque[str]] = deque()

# A process that is forked off must not give out the same ones.
os.register_at_fork(after_in_child=_made.clear)


def new_job_id() -> str:
    """16 characters of Crockford's base32, lower case, from the system's random source."""
    try:
        return _made.popleft()
    except IndexError:  # whichever thread emptied it
        digits = os.urandom(_ID_CHARS * _AT_ONCE).translate(_CROCKFORD).decode("ascii")
        starts = range(_ID_CHARS, len(digits), _ID_CHARS)
        _made.extend(digits[start : start + _ID_CHARS] for start in starts)
        return digits[:_ID_CHARS]

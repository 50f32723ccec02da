"""Job ids made by the client, so that every create can be repeated."""

import os
from typing import Final

_ID_CHARS: Final = 16
"""80 random bits: among a billion live jobs a repetition has a chance below one in a million."""

_CROCKFORD: Final = b"0123456789abcdefghjkmnpqrstvwxyz" * 8
"""What stands for each of the 256 bytes: all 32 characters equally often."""


def new_job_id() -> str:
    """16 characters of Crockford's base32, lower case, from the system's random source."""
    return os.urandom(_ID_CHARS).translate(_CROCKFORD).decode("ascii")

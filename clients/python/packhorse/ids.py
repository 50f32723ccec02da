"""Job ids made by the client, so that every create can be repeated."""

import base64
import secrets
from typing import Final

_ID_BYTES: Final = 10
"""80 random bits: among a billion live jobs a repetition has a chance below one in a million."""

_CROCKFORD: Final = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghjkmnpqrstvwxyz"
)
"""From RFC 4648's alphabet to Crockford's in lower case, which leaves out i, l, o and u."""


def new_job_id() -> str:
    """16 characters of Crockford's base32, lower case, from the system's random source."""
    random = base64.b32encode(secrets.token_bytes(_ID_BYTES))
    return random.translate(_CROCKFORD).decode("ascii")

"""Protocol version, default port and the bounds that hold on every connection.

Bounds that a broker may choose for itself (frame, payload, batch) are told in the `welcome`;
what stands here are the ceilings and the values that hold before one was received.
"""

from typing import Final

PROTOCOL_VERSION: Final = 1
"""The version spoken by this package; `hello` lists versions, `welcome` names one."""

DEFAULT_PORT: Final = 7225
"""PACK on a telephone keypad."""

HEADER_BYTES: Final = 4
"""A frame starts with its body's length: unsigned, big-endian."""

HANDSHAKE_FRAME_BYTES: Final = 16 * 1024
"""Largest frame body until the hello is accepted: the most that a stranger can make us hold."""

MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
"""Ceiling of what either side may announce; a frame is held in memory whole."""

MAX_ARRAY_ITEMS: Final = 10_000
"""Ceiling of one msgpack array: above the largest batch that a broker may announce."""

MAX_MAP_ITEMS: Final = 1_024
"""Ceiling of one msgpack map: a job has about 40 keys, the counts reply one per type."""

MAX_ELEMENTS: Final = 200_000
"""Ceiling of all array and map entries in one frame: decoding costs by elements, not by bytes."""

MAX_NAME_CHARS: Final = 128
"""Longest job id, type, key, client id or library name, in Unicode code points."""

MAX_LABELS: Final = 16
"""Most labels of a job: each is an entry in an index."""

MAX_LABEL_CHARS: Final = 64
"""Longest label, in Unicode code points."""

MAX_PRIORITY: Final = 1_000
"""Priorities go from minus this to this; 0 is the plain one."""

MAX_DURATION_MS: Final = 10 * 366 * 24 * 3_600_000
"""Longest delay, timeout or retention: ten years."""

MAX_DUE_MS: Final = 253_402_300_799_999
"""Latest moment at which something can be due: the end of the year 9999."""

MAX_BACKOFF_STEPS: Final = 100
"""Most delays in a backoff of type `list`."""

MAX_GROUPS: Final = 64
"""Most handler groups that one client is a member of."""

MAX_SCHEMA_BYTES: Final = 64 * 1024
"""Largest JSON Schema of a type: they are kept in memory by those who check against them."""

MAX_CURSOR_BYTES: Final = 2_048
"""Largest cursor of a list: it holds two names, a state and a place in an index."""

MAX_HEADERS: Final = 32
"""Most entries in a job's headers."""

MAX_HEADER_VALUE_CHARS: Final = 1_024
"""Longest header value, in Unicode code points."""

MAX_TEXT_CHARS: Final = 1_024
"""Longest progress text or message for people, in Unicode code points."""

MAX_TRACEBACK_CHARS: Final = 32 * 1024
"""Longest traceback in a failure, in Unicode code points."""

MIN_SECRET_BYTES: Final = 16
MAX_SECRET_BYTES: Final = 64
"""A session secret: 32 random bytes when the broker makes it."""

TOKEN_BYTES: Final = 16
"""A claim's token: an 8-byte big-endian fencing number, then 8 random bytes."""

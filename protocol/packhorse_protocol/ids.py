"""What a job's id says: jobs whose ids end alike are kept together (SPEC.md, section 9)."""

from typing import Final
from zlib import crc32

TAG: Final = "~"
"""Stands before what ids have in common."""


def tag_of(job_id: str) -> str:
    """What stands behind the last `~`; the whole id where there is none."""
    return job_id.rpartition(TAG)[2]


def unique_tag(job_type: str, unique_key: str) -> str:
    """What ids of jobs with this unique key end in, in 8 hexadecimal digits."""
    name = f"{job_type}\0{unique_key}"
    return f"{crc32(name.encode()):08x}"

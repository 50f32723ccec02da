"""What users put into a job, as the bytes that the broker keeps without looking into them.

A body is payload and headers; an outcome is a result or an error. Packing them once, when they
arrive, means that no later change of the job touches them.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgpack

from packhorse_protocol.messages import Error, NewJob

_packer: Final = msgpack.Packer(use_bin_type=True, autoreset=True)

FINGERPRINT_BYTES: Final = 16


def pack_body(payload: bytes, headers: Mapping[str, str] | None) -> bytes:
    packed: bytes = _packer.pack((payload, headers))
    return packed


def unpack_body(body: bytes) -> tuple[bytes, dict[str, str] | None]:
    payload, headers = msgpack.unpackb(body, raw=False)
    return payload, headers


def fingerprint(job: NewJob) -> bytes:
    """Tells whether two creates of the same id mean the same job."""
    content = (
        job.type,
        job.payload,
        sorted(job.headers.items()) if job.headers else None,
        job.key,
        job.attempts,
        job.persistent,
    )
    return hashlib.blake2b(_packer.pack(content), digest_size=FINGERPRINT_BYTES).digest()


def pack_result(result: bytes) -> bytes:
    packed: bytes = _packer.pack(result)
    return packed


def pack_error(error: Error) -> bytes:
    packed: bytes = _packer.pack((error.type, error.message, error.traceback))
    return packed


def unpack_outcome(outcome: bytes) -> bytes | Error:
    """The result's bytes, or the error."""
    content: Any = msgpack.unpackb(outcome, raw=False)
    if isinstance(content, bytes):
        return content
    error_type, message, traceback = content
    return Error(type=error_type, message=message, traceback=traceback)

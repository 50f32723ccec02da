"""Records of the store and their bytes: msgpack arrays in the order of the record's fields.

A record may be shorter than today's (fields added since have their defaults) but never longer:
a longer one was written by a newer broker, and the schema version keeps us away from those.
"""

from dataclasses import dataclass
from typing import Final

import msgpack
import msgspec
from msgspec.structs import astuple, replace

from packhorse_broker.jobs.model import (
    ActionRecord,
    AttemptRecord,
    End,
    Expired,
    Job,
    LogEntry,
)

INLINE_BYTES: Final = 512
"""A body or outcome up to this size lives in the record: one key and one read less for each job;
a larger one lives apart, so that a change of state never rewrites it."""

_ENDS: Final = {int(end): end for end in End}
_EXPIRED: Final = {int(expired): expired for expired in Expired}

_jobs: Final = msgspec.msgpack.Decoder(Job)
_encoder: Final = msgspec.msgpack.Encoder()
_packer: Final = msgpack.Packer(use_bin_type=True, autoreset=True)

_ALL_FIELDS: Final = len(Job.__struct_fields__)
_PLAIN_FIELDS: Final = Job.__struct_fields__.index("outcome_bytes")
_HEAD_BYTES: Final = 3
_PLAIN_HEAD: Final = b"\xdc" + _PLAIN_FIELDS.to_bytes(2, "big")
"""How the array of a record begins that has no more than plain jobs have."""


class CorruptRecord(Exception):
    """Bytes in the store that are no record: somebody else wrote there, or the disk is broken."""


def encode_job(job: Job) -> bytes:
    """The record's bytes; a body or outcome that lives apart is left out (see `apart`)."""
    body, outcome = job.body, job.outcome
    if body is not None and len(body) > INLINE_BYTES:
        job = replace(job, body=None, body_bytes=len(body))
    if outcome is not None and len(outcome) > INLINE_BYTES:
        job = replace(job, outcome=None, outcome_bytes=len(outcome))
    packed = _encoder.encode(job)
    if (
        job.outcome_bytes
        or job.terms is not None
        or job.course is not None
        or job.log_tail is not None
    ):
        return packed
    # What is left out takes a byte each: 0 or None.
    return _PLAIN_HEAD + packed[_HEAD_BYTES : _PLAIN_FIELDS - _ALL_FIELDS]


def decode_job(data: bytes) -> Job:
    """Raises CorruptRecord."""
    try:
        return _jobs.decode(data)
    except (ValueError, msgspec.DecodeError) as error:
        raise CorruptRecord(f"{len(data)} bytes are no job record: {error!r}") from error


def apart(value: bytes | None) -> bool:
    """Whether a body or outcome is too large for the record."""
    return value is not None and len(value) > INLINE_BYTES


def size_bytes(job: Job) -> int:
    """What a job's body and outcome take, wherever they are kept."""
    body = len(job.body) if job.body is not None else job.body_bytes
    return body + (len(job.outcome) if job.outcome is not None else job.outcome_bytes)


def encode_entry(entry: LogEntry) -> bytes:
    packed: bytes = _packer.pack(astuple(entry))
    return packed


def decode_entry(data: bytes) -> LogEntry:
    """Raises CorruptRecord."""
    try:
        return LogEntry(*msgpack.unpackb(data, raw=False))
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise CorruptRecord(f"{len(data)} bytes are no log entry: {error!r}") from error


def encode_attempt(attempt: AttemptRecord) -> bytes:
    packed: bytes = _packer.pack(astuple(attempt))
    return packed


def decode_attempt(data: bytes) -> AttemptRecord:
    """Raises CorruptRecord."""
    try:
        number, runner, started_at, finished_at, end, expired, *others = msgpack.unpackb(data)
        return AttemptRecord(
            number, runner, started_at, finished_at, _ENDS[end], _EXPIRED[expired], *others
        )
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise CorruptRecord(f"{len(data)} bytes are no attempt: {error!r}") from error


def encode_action(action: ActionRecord) -> bytes:
    packed: bytes = _packer.pack(astuple(action))
    return packed


def decode_action(data: bytes) -> ActionRecord:
    """Raises CorruptRecord."""
    try:
        return ActionRecord(*msgpack.unpackb(data, raw=False))
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise CorruptRecord(f"{len(data)} bytes are no action: {error!r}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRecord:
    """A client's registration.

    `leaving_until` 0: it is registered. Else it has been given up, and until then (ms, the store's
    clock) `broker` alone ends what it held; after that another broker may take this over.
    """

    id: str
    secret_hash: bytes
    timeout_ms: int
    roles: tuple[str, ...]
    library: str
    registered_at: int
    connection: str
    broker: str
    leaving_until: int = 0

    @property
    def leaving(self) -> bool:
        return self.leaving_until > 0


def encode_client(client: ClientRecord) -> bytes:
    packed: bytes = _packer.pack(
        (
            client.id,
            client.secret_hash,
            client.timeout_ms,
            client.roles,
            client.library,
            client.registered_at,
            client.connection,
            client.broker,
            client.leaving_until,
        )
    )
    return packed


def decode_client(data: bytes) -> ClientRecord:
    """Raises CorruptRecord."""
    try:
        fields = msgpack.unpackb(data, raw=False)
        (
            client_id,
            secret_hash,
            timeout_ms,
            roles,
            library,
            registered_at,
            connection,
            broker,
            leaving_until,
        ) = fields
        return ClientRecord(
            id=client_id,
            secret_hash=secret_hash,
            timeout_ms=timeout_ms,
            roles=tuple(roles),
            library=library,
            registered_at=registered_at,
            connection=connection,
            broker=broker,
            leaving_until=leaving_until,
        )
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise CorruptRecord(f"{len(data)} bytes are no client record: {error!r}") from error

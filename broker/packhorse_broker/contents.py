"""What users put into a job, as what the broker keeps of it.

A body is payload and headers; an outcome is a result or an error. Both are bytes into which the
broker does not look: packing them once, when they arrive, means that no later change of the job
touches them. What the creator asks for beyond the plain becomes the job's terms.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgpack
import msgspec

from packhorse_broker.jobs.commands import OnDuplicate
from packhorse_broker.jobs.terms import PLAIN_TERMS, Backoff, Growth, Jitter, Scope, Terms, Unique
from packhorse_broker.store.durability import Durability
from packhorse_broker.store.records import CorruptRecord
from packhorse_protocol.messages import Backoff as WireBackoff
from packhorse_protocol.messages import Error, NewJob, Timeouts
from packhorse_protocol.messages import Unique as WireUnique

_packer: Final = msgpack.Packer(use_bin_type=True, autoreset=True)

FINGERPRINT_BYTES: Final = 16

MAX_ERROR_BYTES: Final = 16 * 1024
"""Of an error as it is kept: a job has one for each of its attempts, and a longer traceback tells
its reader no more than its two ends do."""

_HEAD_SHARE: Final = 4
"""Of a traceback that is cut, a fourth of what stays is its head: what was raised, and where,
stands at the end."""

_NO_TIMEOUTS: Final = Timeouts()

_GROWTHS: Final = {growth.name.lower(): growth for growth in Growth}
_JITTERS: Final = {jitter.name.lower(): jitter for jitter in Jitter}
_SCOPES: Final = {scope.name.lower(): scope for scope in Scope}
_DURABILITIES: Final = {level.name.lower(): level for level in Durability}
_ON_DUPLICATE: Final = {choice.name.lower(): choice for choice in OnDuplicate}


# -- bodies


def pack_body(payload: bytes, headers: Mapping[str, str] | None) -> bytes:
    packed: bytes = _packer.pack((payload, headers))
    return packed


def unpack_body(body: bytes) -> tuple[bytes, dict[str, str] | None]:
    payload, headers = msgpack.unpackb(body, raw=False)
    return payload, headers


# -- terms


def terms_of(job: NewJob) -> Terms | None:
    """What the creator asks for beyond the plain; None: nothing. A label given twice counts once.

    `delay_ms`, `delay_until` and `unique.on_duplicate` are no terms: they belong to the create.
    """
    if (
        not job.priority
        and not job.labels
        and job.backoff is None
        and job.timeouts is None
        and job.unique is None
        and job.lost_limit is None
        and job.keep_ms is None
        and job.durability is None
    ):
        return None  # As of every plain job, quickly.
    timeouts = job.timeouts or _NO_TIMEOUTS
    terms = Terms(
        priority=job.priority,
        backoff=_backoff(job.backoff) if job.backoff is not None else None,
        idle_ms=timeouts.idle_ms or 0,
        run_ms=timeouts.run_ms or 0,
        total_ms=timeouts.total_ms or 0,
        lost_limit=job.lost_limit,
        labels=tuple(dict.fromkeys(job.labels)),
        unique=_unique(job.unique) if job.unique is not None else None,
        keep_ms=job.keep_ms,
        durability=_DURABILITIES[job.durability] if job.durability is not None else 0,
    )
    return None if terms == PLAIN_TERMS else terms


def on_duplicate_of(job: NewJob) -> OnDuplicate:
    """What becomes of the job if its unique key is held."""
    if job.unique is None:
        return OnDuplicate.REJECT
    return _ON_DUPLICATE[job.unique.on_duplicate]


def _backoff(backoff: WireBackoff) -> Backoff:
    return Backoff(
        growth=_GROWTHS[backoff.type],
        delay_ms=backoff.delay_ms,
        factor_percent=backoff.factor_percent,
        delays_ms=backoff.delays_ms,
        max_ms=backoff.max_ms or 0,
        jitter=_JITTERS[backoff.jitter],
        jitter_percent=backoff.jitter_percent,
    )


def _unique(unique: WireUnique) -> Unique:
    return Unique(key=unique.key, scope=_SCOPES[unique.scope], window_ms=unique.window_ms or 0)


def fingerprint(job: NewJob, terms: Terms | None) -> bytes:
    """Tells whether two creates of the same id mean the same job; `terms`: the job's."""
    content: tuple[object, ...] = (
        job.type,
        job.payload,
        sorted(job.headers.items()) if job.headers else None,
        job.key,
        job.attempts,
        job.persistent,
    )
    if terms is not None or job.delay_ms or job.delay_until:
        content += (
            job.delay_ms,
            job.delay_until,
            msgspec.to_builtins(terms),
            on_duplicate_of(job).value,
        )
    return hashlib.blake2b(_packer.pack(content), digest_size=FINGERPRINT_BYTES).digest()


# -- outcomes


def pack_result(result: bytes) -> bytes:
    packed: bytes = _packer.pack(result)
    return packed


def pack_error(error: Error) -> bytes:
    """At most MAX_ERROR_BYTES: the middle of a long traceback is left out, and it says so."""
    packed: bytes = _packer.pack((error.type, error.message, error.traceback))
    surplus = len(packed) - MAX_ERROR_BYTES
    if surplus > 0:
        packed = _packer.pack((error.type, error.message, _cut(error.traceback, surplus)))
    return packed


def _cut(traceback: str, surplus_bytes: int) -> str:
    """The traceback without so many bytes, or somewhat more, of its middle."""
    data = traceback.encode()
    gap_bytes = surplus_bytes + len(_marker(len(data)))
    kept_bytes = len(data) - gap_bytes
    head_bytes = kept_bytes // _HEAD_SHARE
    head = data[:head_bytes].decode(errors="ignore")
    tail = data[head_bytes + gap_bytes :].decode(errors="ignore")
    return f"{head}{_marker(gap_bytes)}{tail}"


def _marker(left_out_bytes: int) -> str:
    return f"\n... {left_out_bytes} bytes left out ...\n"


def unpack_outcome(outcome: bytes) -> bytes | Error:
    """The result's bytes, or the error. Raises CorruptRecord."""
    try:
        content: Any = msgpack.unpackb(outcome, raw=False)
        if isinstance(content, bytes):
            return content
        error_type, message, traceback = content
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise CorruptRecord(f"{len(outcome)} bytes are no outcome: {error!r}") from error
    return Error(type=error_type, message=message, traceback=traceback)

"""A job's log: its entries, and how much of it is kept.

Entries are bounded by number and by bytes. The record does not hold their sizes, so it keeps
marks: places about a sixteenth of the bound apart, up to which the oldest entries can be dropped
with the bytes in them known. A log that has not come that far has none.
"""

from collections.abc import Iterable
from typing import Any, Final

from msgspec.structs import replace

from packhorse_broker.jobs.model import Job, LogEntry, LogTail, Rules

MARKS: Final = 16
"""Most marks of a log: what is dropped at a time is this share of the bound, and each mark is
about 10 bytes in a record that every change writes."""

_EMPTY: Final = LogTail()


def grown(job: Job, entries: tuple[LogEntry, ...], rules: Rules, **changes: Any) -> Job:
    """The job with `entries` at the end of its log and with `changes` to its other fields.

    The entries go on from `log_end`; those before the new `log_first` are no longer kept, which
    may be some of the new ones.
    """
    if not entries:
        return replace(job, **changes)
    log_end = job.log_end + len(entries)
    log_first = max(job.log_first, log_end - rules.max_log_entries)
    log_first, tail = _cut(_longer(job.log_tail or _EMPTY, entries, rules), log_first, rules)
    return replace(job, log_end=log_end, log_first=log_first, log_tail=tail, **changes)


def _longer(tail: LogTail, entries: Iterable[LogEntry], rules: Rules) -> LogTail:
    """With the sizes of the new entries, and marks where there is enough since the last one."""
    step = _step_bytes(rules)
    size, marks = tail.size_bytes, tail.marks
    marked = marks[-1][1] if marks else tail.dropped_bytes
    for entry in entries:
        size += len(entry.message.encode())
        if size - marked >= step:
            marks = (*marks, (entry.offset + 1, size))
            marked = size
    return LogTail(size, tail.dropped_bytes, marks)


def _cut(tail: LogTail, log_first: int, rules: Rules) -> tuple[int, LogTail]:
    """The offset from which the log is kept, and the tail from there on.

    Of entries that were dropped by number, bytes are known at the next mark only: `dropped_bytes`
    may be too small by less than the bytes between two marks, never too large.
    """
    dropped = tail.dropped_bytes
    for used, (offset, size) in enumerate(tail.marks):
        if offset > log_first and tail.size_bytes - dropped <= rules.max_log_bytes:
            return log_first, LogTail(tail.size_bytes, dropped, tail.marks[used:])
        log_first, dropped = max(log_first, offset), size
    return log_first, LogTail(tail.size_bytes, dropped, ())


def _step_bytes(rules: Rules) -> int:
    """Bytes between two marks, rounded up: so that there are never more of them."""
    return max(1, -(-rules.max_log_bytes // MARKS))

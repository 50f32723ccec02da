"""The rules for a job's log: its entries, and how much of it is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from packhorse_broker.jobs.commands import Cancel, ReportProgress, WriteLog
from packhorse_broker.jobs.logs import MARKS
from packhorse_broker.jobs.machine import decide
from packhorse_broker.jobs.model import Job, LogEntry, LogTail, Progress, Rules
from tests.jobs.examples import HELD, NOW, RULES, TOKEN, after, applied

BYTES: Rules = replace(RULES, max_log_entries=1_000, max_log_bytes=160)
"""A mark every ten bytes."""


def _write(*messages: str) -> WriteLog:
    return WriteLog("runner", TOKEN, messages)


def _tail(job: Job) -> LogTail:
    assert job.log_tail is not None
    return job.log_tail


# -- entries


def test_progress_is_the_newest_and_a_line_of_the_log() -> None:
    decision = applied(
        decide(HELD, ReportProgress("runner", TOKEN, Progress(40, "two fifths")), NOW, RULES)
    )
    assert decision.job == replace(
        HELD,
        version=8,
        progress=Progress(40, "two fifths"),
        log_end=1,
        log_tail=LogTail(len("two fifths")),
    )
    assert decision.entries == (
        LogEntry(
            offset=0, time_ms=100_000, attempt=1, type="progress", message="two fifths", percent=40
        ),
    )


def test_log_lines_are_numbered_from_where_the_log_ends() -> None:
    job = replace(HELD, log_end=3, current_attempt=2)
    decision = applied(decide(job, _write("a", "b"), NOW, RULES))
    assert decision.entries == (
        LogEntry(offset=3, time_ms=100_000, attempt=2, type="log", message="a"),
        LogEntry(offset=4, time_ms=100_000, attempt=2, type="log", message="b"),
    )
    assert decision.job == replace(job, version=8, log_end=5, log_tail=LogTail(2))


def test_no_lines_make_no_log() -> None:
    assert after(HELD, _write()).log_tail is None


# -- bounded by number


def test_log_drops_its_oldest_beyond_the_cap() -> None:
    job = replace(HELD, log_first=2, log_end=6)
    decision = applied(decide(job, _write("a", "b", "c"), NOW, RULES))
    assert (decision.job.log_first, decision.job.log_end) == (4, 9)


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=10),
    st.integers(1, 8),
)
def test_log_offsets_have_no_gap_and_never_more_than_the_cap(writes: list[int], cap: int) -> None:
    rules = replace(RULES, max_log_entries=cap)
    job, offsets = HELD, list[int]()
    for count in writes:
        decision = applied(decide(job, _write(*["line"] * count), NOW, rules))
        offsets += [entry.offset for entry in decision.entries]
        job = decision.job
        assert job.log_end == len(offsets)
        assert job.log_end - job.log_first == min(cap, job.log_end)
    assert offsets == list(range(sum(writes)))


def test_bytes_of_entries_dropped_by_number_are_known_at_the_next_mark() -> None:
    rules = replace(BYTES, max_log_entries=2)
    job = after(HELD, _write("x" * 6, "x" * 6), rules=rules)
    assert job.log_tail == LogTail(12, 0, ((2, 12),))
    job = after(job, _write("y" * 4), rules=rules)
    assert (job.log_first, job.log_tail) == (1, LogTail(16, 0, ((2, 12),)))
    job = after(job, _write("y" * 4), rules=rules)
    assert (job.log_first, job.log_tail) == (2, LogTail(20, 12, ()))


# -- bounded by bytes


def test_small_logs_have_no_marks() -> None:
    assert after(HELD, _write("x" * 4, "ä" * 2), rules=BYTES).log_tail == LogTail(8)


def test_marks_stand_where_there_is_enough_since_the_last() -> None:
    job = after(HELD, _write("x" * 9, "x", "x" * 25, "x" * 3, "行行"), rules=BYTES)
    assert _tail(job) == LogTail(44, 0, ((2, 10), (3, 35)))
    job = after(job, _write("x"), rules=BYTES)
    assert _tail(job).marks == ((2, 10), (3, 35), (6, 45))


def test_oldest_entries_go_mark_by_mark() -> None:
    job = after(HELD, *[_write("x" * 10)] * 16, rules=BYTES)
    assert (job.log_first, _tail(job).dropped_bytes) == (0, 0)
    assert len(_tail(job).marks) == MARKS
    job = after(job, _write("y"), rules=BYTES)
    assert (job.log_first, job.log_end) == (1, 17)
    assert (_tail(job).size_bytes, _tail(job).dropped_bytes) == (161, 10)
    job = after(job, _write("y" * 30), rules=BYTES)
    assert (job.log_first, _tail(job).dropped_bytes) == (4, 40)


def test_entry_larger_than_the_whole_log_is_not_kept() -> None:
    job = after(HELD, _write("a", "b" * 161), rules=BYTES)
    assert (job.log_first, job.log_end, job.log_tail) == (2, 2, LogTail(162, 162))


def test_lines_of_people_are_bounded_too() -> None:
    job = after(HELD, *[_write("x" * 10)] * 16, rules=BYTES)
    job = after(job, Cancel("boss"), rules=BYTES)
    assert (job.log_first, job.log_end, _tail(job).size_bytes) == (1, 17, 166)


def test_log_from_before_logs_were_bounded_by_bytes_goes_on() -> None:
    job = replace(HELD, log_first=2, log_end=5)
    job = after(job, _write("x" * 10), rules=BYTES)
    assert (job.log_first, job.log_tail) == (2, LogTail(10, 0, ((6, 10),)))


@given(
    st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=6), min_size=1, max_size=20),
    st.integers(1, 12),
    st.integers(0, 200),
)
def test_log_is_never_larger_than_the_cap_nor_cut_by_more_than_a_mark_too_much(
    writes: list[list[int]], entries: int, cap: int
) -> None:
    rules = replace(RULES, max_log_entries=entries, max_log_bytes=cap)
    job, sizes = HELD, list[int]()
    for lines in writes:
        job = after(job, _write(*("x" * size for size in lines)), rules=rules)
        sizes += lines
        tail = _tail(job)
        kept, dropped = sum(sizes[job.log_first :]), sum(sizes[: job.log_first])
        assert tail.size_bytes == sum(sizes)
        assert tail.dropped_bytes <= dropped
        assert kept <= tail.size_bytes - tail.dropped_bytes <= cap
        assert len(tail.marks) <= MARKS
        before = sum(sizes[max(job.log_first - 1, 0) :])
        by_number = job.log_end - job.log_first == entries
        step = max(1, -(-cap // MARKS))
        assert job.log_first == 0 or by_number or before + step + max(sizes) > cap


@pytest.mark.parametrize("cap", [0, 1, 15, 17, 31])
def test_tiny_caps_have_few_marks_too(cap: int) -> None:
    job = after(HELD, *[_write("x")] * 41, rules=replace(BYTES, max_log_bytes=cap))
    assert job.log_end - job.log_first <= cap
    assert len(_tail(job).marks) <= MARKS

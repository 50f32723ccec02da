"""A job's log: written by its runner, capped, read page by page."""

from packhorse_broker.broker import Broker
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    Claim,
    ClaimJobs,
    Fail,
    LogEntry,
    LogPage,
    LogReport,
    ProgressReport,
    ReadLog,
    ReportProgress,
    WriteLog,
)
from packhorse_protocol.records import replace
from tests.support.brokers import Brokers
from tests.support.requests import create, failure, get
from tests.support.wire import Wire


async def claimed(wire: Wire) -> Claim:
    [claim] = await wire.ask(ClaimJobs, jobs=("a",))
    assert isinstance(claim, Claim)
    return claim


async def write(wire: Wire, claim: Claim, *messages: str) -> None:
    report = LogReport(job=claim.job, token=claim.token, messages=messages)
    [answer] = await wire.ask(WriteLog, reports=(report,))
    assert not hasattr(answer, "code"), answer


async def read(wire: Wire, offset: int = 0, limit: int = 100) -> LogPage:
    [page] = await wire.ask(ReadLog, job="a", offset=offset, limit=limit)
    assert isinstance(page, LogPage), page
    return page


def untimed(entry: LogEntry) -> LogEntry:
    return replace(entry, time_ms=0)


async def test_lines_and_progress_are_kept_in_order(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", attempts=2)
    assert await read(wire) == LogPage(entries=(), first=0, end=0)
    claim = await claimed(wire)
    await write(wire, claim, "one", "two")
    await wire.ask(
        ReportProgress,
        reports=(ProgressReport(job="a", token=claim.token, percent=50, text="half"),),
    )
    await wire.ask(Fail, jobs=(failure(claim),))
    await write(wire, await claimed(wire), "")
    page = await read(wire)
    assert (page.first, page.end) == (0, 4)
    assert list(map(untimed, page.entries)) == [
        LogEntry(offset=0, time_ms=0, attempt=1, type="log", message="one"),
        LogEntry(offset=1, time_ms=0, attempt=1, type="log", message="two"),
        LogEntry(offset=2, time_ms=0, attempt=1, type="progress", message="half", percent=50),
        LogEntry(offset=3, time_ms=0, attempt=2, type="log", message=""),
    ]
    view = await get(wire, "a")
    assert view.log_end == 4
    assert all(entry.time_ms >= view.created_at for entry in page.entries)


async def test_a_log_is_read_page_by_page(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a")
    await write(wire, await claimed(wire), *(f"line {n}" for n in range(250)))
    offset, seen = 0, []
    while offset < (page := await read(wire, offset)).end:
        assert len(page.entries) <= 100
        seen += [entry.message for entry in page.entries]
        offset = page.entries[-1].offset + 1
    assert seen == [f"line {n}" for n in range(250)]
    assert not page.entries
    assert [entry.offset for entry in (await read(wire, 3, 2)).entries] == [3, 4]
    beyond = await read(wire, 1_000)
    assert (beyond.entries, beyond.first, beyond.end) == ((), 0, 250)


async def test_the_oldest_entries_are_dropped(brokers: Brokers) -> None:
    broker = await brokers.start(max_log_entries=5)
    wire = await brokers.connect(broker)
    await create(wire, "a")
    claim = await claimed(wire)
    for n in range(3):
        await write(wire, claim, *(f"line {4 * n + line}" for line in range(4)))
    page = await read(wire)
    assert (page.first, page.end) == (7, 12)
    assert [entry.message for entry in page.entries] == [f"line {n}" for n in range(7, 12)]
    assert [entry.offset for entry in (await read(wire, 2, 2)).entries] == [7, 8]


async def test_what_is_too_long_is_refused_and_nothing_of_it_written(brokers: Brokers) -> None:
    broker = await brokers.start(max_log_message_bytes=8, max_log_entries=3)
    wire = await brokers.connect(broker)
    await create(wire, "a")
    claim = await claimed(wire)
    reports = [
        LogReport(job="a", token=claim.token, messages=messages)
        for messages in (("fine", "\U0001f40e" * 3), ("1", "2", "3", "4"), ("\U0001f40e" * 2,))
    ]
    long, many, fits = await wire.ask(WriteLog, reports=tuple(reports))
    assert (long.code, long.details) == (Code.TOO_LARGE, {"limit": "8"})
    assert (many.code, many.details) == (Code.TOO_MANY, {"limit": "3"})
    assert not hasattr(fits, "code")
    assert [entry.message for entry in (await read(wire)).entries] == ["\U0001f40e" * 2]


async def test_a_page_fits_into_a_frame(brokers: Brokers) -> None:
    """It may hold fewer entries than asked for; the next begins where it ends."""
    broker = await brokers.start(
        max_frame_bytes=1024 * 1024,
        max_payload_bytes=1_000,
        max_result_bytes=1_000,
        max_log_bytes=8 * 1024 * 1024,
    )
    wire = await brokers.connect(broker)
    await create(wire, "a")
    claim = await claimed(wire)
    for _ in range(10):
        await write(wire, claim, *["m" * 4_096] * 100)
    offset, pages = 0, 0
    while offset < (page := await read(wire, offset, 1_000)).end:
        assert page.entries
        assert page.entries[0].offset == offset
        offset = page.entries[-1].offset + 1
        pages += 1
    assert offset == 1_000
    assert pages > 1


async def test_there_is_no_log_of_no_job(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    [refused] = await wire.ask(ReadLog, job="missing")
    assert refused.code == Code.NOT_FOUND


async def test_the_furthest_offset_is_as_good_as_any(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a")
    [page] = await wire.ask(ReadLog, job="a", offset=2**63 - 1, limit=100)
    assert page.entries == ()

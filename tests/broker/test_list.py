"""Finding jobs: by type, state, label, unique key and time, page by page."""

from typing import Any, Final

import pytest

from packhorse_broker.broker import Broker
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    ClaimJobs,
    Complete,
    Completion,
    Create,
    Fail,
    Get,
    JobPage,
    JobSummary,
    ListJobs,
    NewJob,
    Ok,
    ProgressReport,
    Remove,
    ReportProgress,
    Unique,
)
from tests.support.brokers import Brokers
from tests.support.requests import create, failure, get
from tests.support.wire import Wire

NEVER_DUE: Final = 3_600_000


async def page_of(wire: Wire, **asked: Any) -> JobPage:
    [page] = await wire.ask(ListJobs, **asked)
    assert isinstance(page, JobPage), page
    return page


async def pages_of(wire: Wire, **asked: Any) -> list[JobPage]:
    """All of them, until there is no next one."""
    pages = [await page_of(wire, **asked)]
    while pages[-1].cursor is not None:
        pages.append(await page_of(wire, cursor=pages[-1].cursor, **asked))
    return pages


def ids(*pages: JobPage) -> list[str]:
    return [job.id for page in pages for job in page.jobs]


async def one_of_each_state(wire: Wire, **fields: Any) -> None:
    """Jobs named after their states."""
    await create(wire, "PENDING", delay_ms=NEVER_DUE, **fields)
    for name in ("QUEUED", "STARTED", "COMPLETE", "FAILED"):
        await create(wire, name, persistent=True, **fields)
    started, complete, failed = await wire.ask(ClaimJobs, jobs=("STARTED", "COMPLETE", "FAILED"))
    assert started.job == "STARTED"
    await wire.ask(Complete, jobs=(Completion(job=complete.job, token=complete.token),))
    await wire.ask(Fail, jobs=(failure(failed),))


async def test_every_state_is_found(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await one_of_each_state(wire, labels=("red",))
    await create(wire, "other", type="u")
    states = ["PENDING", "QUEUED", "STARTED", "COMPLETE", "FAILED"]
    assert ids(await page_of(wire, type="t")) == states
    assert ids(await page_of(wire)) == [*states, "other"]
    for state in states:
        page = await page_of(wire, type="t", states=(state,))
        assert [(job.id, job.state) for job in page.jobs] == [(state, state)]
        assert page.cursor is None
        assert ids(await page_of(wire, label="red", states=(state,))) == [state]
    assert ids(await page_of(wire, states=("FAILED", "QUEUED"))) == ["QUEUED", "FAILED", "other"]
    assert sorted(ids(await page_of(wire, label="red"))) == sorted(states)
    assert ids(await page_of(wire, label="blue")) == []
    assert ids(await page_of(wire, type="never-seen")) == []


async def test_a_summary_says_what_get_says(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(
        wire,
        "a",
        payload=bytes(100_000),
        key="k",
        labels=("red", "big"),
        priority=7,
        attempts=3,
        unique=Unique(key="u"),
    )
    [claim] = await wire.ask(ClaimJobs, jobs=("a",))
    report = ProgressReport(job="a", token=claim.token, percent=40, text="nearly half")
    await wire.ask(ReportProgress, reports=(report,))
    view = await get(wire, "a")
    [summary] = (await page_of(wire, type="t")).jobs
    assert summary == JobSummary(
        id="a",
        type="t",
        state="STARTED",
        key="k",
        unique_key="u",
        labels=("red", "big"),
        priority=7,
        attempts=3,
        current_attempt=1,
        runner=wire.id,
        progress=view.progress,
        created_at=view.created_at,
        queued_at=view.queued_at,
        started_at=view.started_at,
    )


async def test_a_unique_key_finds_its_holder(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", unique=Unique(key="u"))
    await create(wire, "b", type="other", unique=Unique(key="u"))
    assert ids(await page_of(wire, type="t", unique_key="u")) == ["a"]
    assert ids(await page_of(wire, type="other", unique_key="u")) == ["b"]
    assert ids(await page_of(wire, type="t", unique_key="v")) == []
    assert ids(await page_of(wire, type="t", unique_key="u", states=("FAILED",))) == []
    await wire.ask(Remove, jobs=("a",))
    assert ids(await page_of(wire, type="t", unique_key="u")) == []


async def test_a_unique_key_needs_its_type(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    refused = await wire.refusal(ListJobs, unique_key="u")
    assert refused.code == Code.MALFORMED
    assert refused.details == {"path": "unique_key"}
    assert not refused.retryable


async def test_a_span_of_time(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "soon", delay_ms=NEVER_DUE)
    await create(wire, "later", delay_ms=2 * NEVER_DUE)
    await create(wire, "now")
    due = (await get(wire, "later")).delayed_until
    assert ids(await page_of(wire, states=("PENDING",), until=due)) == ["soon"]
    assert ids(await page_of(wire, states=("PENDING",), since=due)) == ["later"]
    queued = (await get(wire, "now")).queued_at
    assert ids(await page_of(wire, since=queued, until=queued + 1)) == ["now"]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("limit", [1, 4, 1_000])
async def test_pages_make_up_the_list(
    brokers: Brokers, broker: Broker, limit: int, *, newest_first: bool
) -> None:
    wire = await brokers.connect(broker)
    names = [f"{n:02}" for n in range(10)]
    await create(wire, *names, labels=("red",))
    await create(wire, "urgent", priority=1, labels=("red",))
    order = ["urgent", *names]
    for asked in ({"type": "t"}, {"states": ("QUEUED",)}):
        pages = await pages_of(wire, limit=limit, newest_first=newest_first, **asked)
        assert ids(*pages) == (order[::-1] if newest_first else order)
        assert all(len(page.jobs) <= limit for page in pages)
    pages = await pages_of(wire, limit=limit, newest_first=newest_first, label="red")
    assert sorted(ids(*pages)) == sorted(order)


async def test_a_cursor_is_good_at_any_broker_and_whatever_goes(brokers: Brokers) -> None:
    first, second = await brokers.start(), await brokers.start()
    here, there = await brokers.connect(first), await brokers.connect(second)
    names = [f"{n:02}" for n in range(9)]
    await create(here, *names)
    page = await page_of(here, type="t", limit=4)
    assert ids(page) == names[:4]
    await here.ask(Remove, jobs=(*names[1:4], names[5]))
    await create(here, "urgent", priority=1)
    rest = await page_of(there, type="t", limit=100, cursor=page.cursor)
    assert ids(rest) == [names[4], *names[6:]]
    assert rest.cursor is None


async def test_a_cursor_that_is_none_of_the_list_is_refused(
    brokers: Brokers, broker: Broker
) -> None:
    wire = await brokers.connect(broker)
    await create(wire, *"abc", labels=("red",))
    cursor = (await page_of(wire, type="t", limit=1)).cursor
    assert cursor is not None
    bad: list[dict[str, Any]] = [
        {"type": "t", "cursor": b"\x00"},
        {"type": "t", "cursor": b"\xc1" * 1_024},
        {"type": "t", "cursor": cursor[:-1]},
        {"type": "t", "cursor": cursor + b"\x00"},
        {"type": "t", "cursor": b"\x92\x00" + b"\x91" * 2_000},
        {"type": "u", "cursor": cursor},
        {"cursor": cursor},
        {"type": "t", "cursor": cursor, "newest_first": True},
        {"type": "t", "cursor": cursor, "states": ("QUEUED",)},
        {"label": "red", "cursor": cursor},
        {"type": "t", "unique_key": "u", "cursor": cursor},
    ]
    for asked in bad:
        refused = await wire.refusal(ListJobs, **asked)
        assert (refused.code, refused.details) == (Code.MALFORMED, {"path": "cursor"})
    for place in range(len(cursor)):
        for byte in (0x00, 0x7F, 0xFF, cursor[place] ^ 1):
            changed = bytearray(cursor)
            changed[place] = byte
            answer = await wire.answer(wire.begin(ListJobs, type="t", cursor=bytes(changed)))
            assert isinstance(answer, Ok) or answer.code == Code.MALFORMED
    assert ids(await page_of(wire, type="t", cursor=cursor, limit=9)) == ["b", "c"]


async def test_a_page_ends_where_the_frame_is_full(brokers: Brokers) -> None:
    broker = await brokers.start(
        max_frame_bytes=1024 * 1024, max_payload_bytes=1024, max_result_bytes=1024
    )
    wire = await brokers.connect(broker)
    horse = "\U0001f40e"
    labels = tuple(f"{n:02}{horse * 62}" for n in range(16))
    names = [f"{n:03}{horse * 125}" for n in range(300)]
    for start in range(0, len(names), 100):
        await create(wire, *names[start : start + 100], labels=labels, key=horse * 128)
    pages = await pages_of(wire, type="t", limit=1_000)
    assert ids(*pages) == names
    assert 1 < len(pages) < 10


async def test_the_longest_names_fit_into_a_cursor(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    horses = "\U0001f40e" * 127
    await create(wire, f"a{horses}", f"b{horses}", type=f"t{horses}")
    pages = await pages_of(wire, limit=1)
    assert ids(*pages) == [f"a{horses}", f"b{horses}"]


async def test_a_list_changes_nothing(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await wire.ask(Create, jobs=(NewJob(type="t", id="a", labels=("red",)),))
    before = await wire.ask(Get, jobs=("a",))
    await page_of(wire, label="red")
    assert await wire.ask(Get, jobs=("a",)) == before


async def test_one_who_may_not_read_lists_nothing(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker, roles=("create",))
    refused = await wire.refusal(ListJobs)
    assert refused.code == Code.FORBIDDEN

"""Progress and log of one job, on lanes without a connection."""

import asyncio

import pytest

from packhorse import InvalidValue, reports
from packhorse.deadlines import Deadline
from packhorse.errors import NotFound, StaleClaim, TooLarge
from packhorse.reports import Reporter, cut
from packhorse.requests import Requests
from packhorse_protocol.messages import Claim, Done, Limits

CLAIM = Claim(job="a", token=b"t" * 16, fence=1, type="t", attempt=1)
LIMITS = Limits(
    frame_bytes=1_000_000,
    payload_bytes=1,
    result_bytes=1,
    log_message_bytes=20,
    batch=1_000,
    in_flight=1,
)


class Lanes(Requests):
    """Requests whose lanes the test empties, instead of a connection."""

    def __init__(self) -> None:
        super().__init__(retry_s=0)
        self._end = None

    def lines(self) -> list[str]:
        """Takes out what waits to be logged, and answers it."""
        entries = self.log.take(LIMITS)
        for entry in entries:
            self.log.settle(entry, Done())
        return [message for entry in entries for message in entry.item.messages]


@pytest.fixture
def lanes() -> Lanes:
    return Lanes()


def reporter(lanes: Lanes, stale: list[str] | None = None) -> Reporter:
    told = [] if stale is None else stale
    return Reporter(CLAIM, lanes, LIMITS, Deadline(None), lambda: told.append("stale"))


@pytest.mark.parametrize("percent", [-1, 101, 1_000])
async def test_progress_has_its_bounds(lanes: Lanes, percent: int) -> None:
    with pytest.raises(InvalidValue, match=f"progress: {percent} must be between 0 and 100"):
        reporter(lanes).progress(percent, "")


async def test_progress_is_a_whole_number(lanes: Lanes) -> None:
    reporter(lanes).progress(12.7, "x" * 2_000)  # type: ignore[arg-type]
    [entry] = lanes.progress.take(LIMITS)
    assert entry.item.percent == 12
    assert len(entry.item.text) == 1_024
    lanes.progress.settle(entry, Done())


async def test_a_job_that_logs_faster_than_it_can_is_slowed_down(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MAX_UNSENT_LINES", 3)
    job = reporter(lanes)
    for n in range(3):
        await job.log(str(n))
    fourth = asyncio.create_task(job.log("3"))
    await asyncio.wait([fourth], timeout=0)
    assert not fourth.done()
    assert lanes.lines() == ["0", "1", "2"]
    await fourth
    assert lanes.lines() == ["3"]
    await job.flushed()


async def test_a_stale_claim_is_told_once_it_is_known(lanes: Lanes) -> None:
    stale: list[str] = []
    job = reporter(lanes, stale)
    job.progress(1, "")
    job.progress(2, "")
    [entry] = lanes.progress.take(LIMITS)
    lanes.progress.refuse(entry, StaleClaim("over"))
    await job.flushed()
    assert stale == ["stale"]
    assert len(lanes.progress.waiting) == 0


async def test_a_report_that_is_refused_otherwise_is_logged(
    lanes: Lanes, caplog: pytest.LogCaptureFixture
) -> None:
    stale: list[str] = []
    job = reporter(lanes, stale)
    await job.log("x")
    [entry] = lanes.log.take(LIMITS)
    lanes.log.refuse(entry, TooLarge("the log is full"))
    await job.flushed()
    assert stale == []
    assert "a report on job a was lost" in caplog.text


class Order(Lanes):
    """Lanes that note what leaves, in its order, and answer when told."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[str] = []

    def answer_all(self) -> None:
        """Takes out all that waits and answers it, as the order of the lanes has it."""
        for entry in self.progress.take(LIMITS):
            self.left.append(f"{entry.item.percent} %")
            self.progress.settle(entry, Done())
        self.left += self.lines()


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("abc", ["a", "b", "c"]),
        ("1a", ["1 %", "a"]),
        ("a1", ["a", "1 %"]),
        ("a1b", ["a", "1 %", "b"]),
        ("1a2b3c", ["1 %", "a", "b", "3 %", "c"]),
        ("a12b", ["a", "2 %", "b"]),
        ("123", ["1 %", "3 %"]),
    ],
)
async def test_what_is_said_in_one_turn_leaves_in_its_order(said: str, left: list[str]) -> None:
    lanes = Order()
    job = reporter(lanes)
    for word in said:
        if word.isdigit():
            job.progress(int(word), "")
        else:
            await job.log(word)
    flushed = asyncio.create_task(job.flushed())
    while not flushed.done():
        lanes.answer_all()
        await asyncio.sleep(0)
    assert lanes.left == left


async def test_a_claim_that_is_over_has_nothing_more_to_say(lanes: Lanes) -> None:
    stale: list[str] = []
    job = reporter(lanes, stale)
    job.progress(1, "")
    await job.log("a")
    job.progress(2, "")
    await job.log("b")
    [entry] = lanes.progress.take(LIMITS)
    lanes.progress.refuse(entry, NotFound("gone"))
    await job.flushed()
    assert (len(lanes.progress.waiting), len(lanes.log.waiting)) == (0, 0)
    assert stale == ["stale"]


async def test_nobody_waits_for_answers_about_a_claim_that_is_over(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MAX_UNSENT_LINES", 1)
    job = reporter(lanes)
    await job.log("a")
    waiting = [asyncio.create_task(job.log("b")), asyncio.create_task(job.flushed())]
    await asyncio.wait(waiting, timeout=0)
    assert not any(task.done() for task in waiting)
    job.stop()
    await asyncio.wait(waiting)
    job.progress(1, "")
    assert lanes.lines() == ["a"]
    assert len(lanes.progress.waiting) == 0


async def test_long_lines_are_cut(lanes: Lanes) -> None:
    await reporter(lanes).log("ä" * 50)
    [line] = lanes.lines()
    assert line == "ä" * 8 + "…"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short", "short"),
        ("x" * 10, "x" * 10),
        ("x" * 11, "x" * 9 + "…"),
        ("", ""),
    ],
)
def test_cut(text: str, expected: str) -> None:
    assert cut(text, max_chars=10) == expected


@pytest.mark.parametrize("max_bytes", range(3, 12))
def test_a_cut_text_is_whole_and_small_enough(max_bytes: int) -> None:
    text = cut("aä€😀" * 3, max_chars=100, max_bytes=max_bytes)
    assert len(text.encode()) <= max_bytes
    assert text.endswith("…")

"""Events of watched jobs: every change for who reads, the newest for who does not."""

from collections.abc import Sequence

from packhorse_broker.broker import Broker
from packhorse_broker.looking import MAX_WATCHED
from packhorse_broker.pushes import MAX_HELD_BACK_LOG
from packhorse_broker.sessions import MAX_HELD_BACK_BYTES
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    Claim,
    ClaimJobs,
    Done,
    Event,
    Events,
    Fail,
    LogReport,
    Progress,
    ProgressReport,
    ReadLog,
    Remove,
    ReportProgress,
    Unwatch,
    Watch,
    Watched,
    WriteLog,
)
from tests.support.brokers import Brokers, at_rest
from tests.support.requests import complete, create, failure, get, release
from tests.support.wire import Wire


async def claimed(wire: Wire, job: str = "a") -> Claim:
    [claim] = await wire.ask(ClaimJobs, jobs=(job,))
    assert isinstance(claim, Claim)
    return claim


async def progress(wire: Wire, claim: Claim, percent: int, text: str = "") -> None:
    report = ProgressReport(job=claim.job, token=claim.token, percent=percent, text=text)
    await wire.ask(ReportProgress, reports=(report,))


async def log(wire: Wire, claim: Claim, *messages: str) -> None:
    report = LogReport(job=claim.job, token=claim.token, messages=messages)
    await wire.ask(WriteLog, reports=(report,))


def in_order(events: Sequence[Event]) -> None:
    versions = [event.version for event in events]
    assert versions == sorted(set(versions))


async def test_a_watch_begins_with_how_the_job_is(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", "b")
    claim = await claimed(wire)
    await progress(wire, claim, 30, "third")
    await log(wire, claim, "one")
    a, missing, b, again = await wire.ask(Watch, jobs=("a", "missing", "b", "a"))
    assert a == again
    assert a == Watched(
        state="STARTED",
        version=4,
        progress=Progress(percent=30, text="third"),
        log_first=0,
        log_end=2,
    )
    assert (b.state, b.version, b.progress, b.log_end) == ("QUEUED", 1, None, 0)
    assert missing.code == Code.NOT_FOUND


async def test_a_whole_life_is_told(brokers: Brokers, broker: Broker) -> None:
    watcher, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(runner, "a", attempts=3)
    await watcher.ask(Watch, jobs=("a",))
    first = await claimed(runner)
    [started] = await watcher.events("a", lambda event: event.state == "STARTED")
    assert started.version == 2
    await progress(runner, first, 50, "half")
    [half] = await watcher.events("a", lambda event: event.progress is not None)
    assert half.progress == Progress(percent=50, text="half")
    assert [(entry.type, entry.percent) for entry in half.log] == [("progress", 50)]
    await log(runner, first, "one", "two")
    [said] = await watcher.events("a", lambda event: bool(event.log))
    assert [entry.message for entry in said.log] == ["one", "two"]
    assert [entry.offset for entry in said.log] == [1, 2]
    await runner.ask(Fail, jobs=(failure(first),))
    [failed] = await watcher.events("a", lambda event: event.state == "QUEUED")
    await release(runner, await claimed(runner))
    released = await watcher.events("a", lambda event: event.state == "QUEUED")
    await complete(runner, await claimed(runner))
    rest = await watcher.events("a", lambda event: event.removed)
    assert rest[-1].state == "COMPLETE"
    in_order([started, half, said, failed, *released, *rest])


async def test_each_watcher_is_told(brokers: Brokers, broker: Broker) -> None:
    watchers = [await brokers.connect(broker) for _ in range(3)]
    await create(watchers[0], "a", "b", persistent=True)
    for watcher in watchers:
        await watcher.ask(Watch, jobs=("a", "b"))
    await complete(watchers[0], await claimed(watchers[0], "b"))
    for watcher in watchers:
        in_order(await watcher.events("b", lambda event: event.state == "COMPLETE"))


async def test_nothing_comes_after_the_removal(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a")
    await wire.ask(Watch, jobs=("a",))
    await wire.ask(Remove, jobs=("a",))
    await wire.events("a", lambda event: event.removed)
    await create(wire, "a")
    await claimed(wire)
    await at_rest(broker)
    await get(wire, "a")
    assert not wire.kept(Events)


async def test_an_unwatched_job_is_silent(brokers: Brokers, broker: Broker) -> None:
    wire, other = await brokers.connect(broker), await brokers.connect(broker)
    await create(wire, "a", "b", attempts=9)
    for watcher in (wire, other):
        await watcher.ask(Watch, jobs=("a", "b"))
    assert await wire.ask(Unwatch, jobs=("a", "missing")) == (Done(), Done())
    await claimed(other, "a")
    await claimed(other, "b")
    await wire.events("b", lambda event: event.state == "STARTED")
    assert all(event.job != "a" for events in wire.kept(Events) for event in events.events)
    # Another watcher is not unwatched with it.
    await other.events("a", lambda event: event.state == "STARTED")


async def test_watching_ends_with_the_connection(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker, "w")
    await create(wire, "a", attempts=2)
    await wire.ask(Watch, jobs=("a",))
    again = await brokers.connect(broker, "w", secret=wire.welcome.secret)
    await claimed(again)
    await get(again, "a")
    assert not again.kept(Events)


async def test_a_slow_watcher_gets_the_newest(brokers: Brokers, broker: Broker) -> None:
    """Progress is coalesced to the newest, logs that were left out are read by offset."""
    reports = 300
    runner = await brokers.connect(broker)
    ids = [f"j{n}" for n in range(20)]
    await create(runner, *ids, persistent=True)
    watcher = brokers.keep(await Wire.open(broker.addresses[0], receive_buffer_bytes=4_096))
    await watcher.ask(Watch, jobs=tuple(ids))
    claims = await runner.ask(ClaimJobs, jobs=tuple(ids))
    text = "\U0001f40e" * 1_024
    for n in range(reports):
        jobs = tuple(
            ProgressReport(job=claim.job, token=claim.token, percent=n % 100, text=text)
            for claim in claims
        )
        await runner.ask(ReportProgress, reports=jobs)
    await complete(runner, *claims)
    session = broker.sessions.get(watcher.id)
    assert session is not None
    assert not session.outlet.has_room()
    # What is held back for it is one event for each job, with a bounded part of the log.
    assert len(session._events) <= len(ids)
    held_back = [event.log for event in session._events.values()]
    assert all(len(log) <= MAX_HELD_BACK_LOG for log in held_back)
    entries = [entry for log in held_back for entry in log]
    assert sum(len(entry.message) for entry in entries) <= MAX_HELD_BACK_BYTES
    told: dict[str, list[Event]] = {job: [] for job in ids}
    while not all(events and events[-1].state == "COMPLETE" for events in told.values()):
        for event in (await watcher.push(Events)).events:
            told[event.job].append(event)
    for job, events in told.items():
        in_order(events)
        assert len(events) < reports
        last = events[-1]
        assert last.version == (await get(runner, job)).version
        assert last.progress == Progress(percent=(reports - 1) % 100, text=text)
        [page] = await runner.ask(ReadLog, job=job, offset=last.log[0].offset - 1, limit=1)
        assert last.log[0].percent is not None
        assert page.entries[0].percent == (last.log[0].percent - 1) % 100


async def test_there_is_a_bound_on_watched_jobs(brokers: Brokers) -> None:
    broker = await brokers.start(max_batch=MAX_WATCHED)
    wire = await brokers.connect(broker)
    ids = tuple(f"j{n}" for n in range(MAX_WATCHED))
    for start in range(0, MAX_WATCHED, 1_000):
        await create(wire, *ids[start : start + 1_000])
    await create(wire, "more")
    for start in range(0, MAX_WATCHED, 1_000):
        await wire.ask(Watch, jobs=ids[start : start + 1_000])
    [refused] = await wire.ask(Watch, jobs=("more",))
    assert refused.code == Code.TOO_MANY
    # Watching twice is watching once.
    [watched] = await wire.ask(Watch, jobs=(ids[0],))
    assert isinstance(watched, Watched)
    await wire.ask(Unwatch, jobs=ids[:1])
    [watched] = await wire.ask(Watch, jobs=("more",))
    assert isinstance(watched, Watched)
    await wire.ask(Remove, jobs=ids)

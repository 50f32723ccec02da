"""Requests that change nothing: get, counts, info."""

import pytest

from packhorse_broker.broker import Broker
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    Backoff,
    Cancel,
    ClaimJobs,
    Complete,
    Completion,
    CountJobs,
    Create,
    Error,
    Fail,
    Failure,
    Get,
    Info,
    JobView,
    LogReport,
    NewJob,
    Problem,
    ReadLog,
    Remove,
    Timeouts,
    Unique,
    WriteLog,
)
from tests.support.brokers import Brokers
from tests.support.wire import Wire


async def test_jobs_are_shown_in_the_order_asked(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await wire.ask(Create, jobs=tuple(NewJob(type="t", id=n) for n in "abc"))
    found = await wire.ask(Get, jobs=("c", "missing", "a", "c"))
    assert [getattr(view, "id", None) for view in found] == ["c", None, "a", "c"]
    assert found[1].code == Code.NOT_FOUND


async def test_a_reply_larger_than_a_frame_says_what_had_no_room(
    brokers: Brokers, broker: Broker
) -> None:
    wire = await brokers.connect(broker)
    ids = tuple(f"j{n}" for n in range(8))
    for job in ids:
        await wire.ask(Create, jobs=(NewJob(type="t", id=job, payload=bytes(1024 * 1024)),))
    shown: set[str] = set()
    left = ids
    while left:
        found = await wire.ask(Get, jobs=left)
        assert isinstance(found[0], JobView)
        refused = [view for view in found if isinstance(view, Problem)]
        assert {problem.code for problem in refused} <= {Code.TOO_LARGE}
        got = {view.id for view in found if isinstance(view, JobView)}
        assert len(got) <= 4
        shown |= got
        left = tuple(job for job in left if job not in got)
    assert shown == set(ids)


async def test_the_largest_job_fits_into_a_reply(brokers: Brokers, broker: Broker) -> None:
    """One with the largest payload, the largest result, and all its other fields full."""
    name, text = "\U0001f40e" * 128, "\U0001f40e" * 1_024
    wire = await brokers.connect(broker, name)
    limits = wire.welcome.limits
    new = NewJob(
        id=name,
        type=name,
        key=name,
        payload=bytes(limits.payload_bytes),
        headers={f"{n:02}{name[:126]}": text for n in range(32)},
        persistent=True,
        labels=tuple(f"{n:02}{name[:62]}" for n in range(16)),
        backoff=Backoff(type="list", delays_ms=(2**38,) * 100),
        timeouts=Timeouts(idle_ms=2**38, run_ms=2**38, total_ms=2**38),
        unique=Unique(key=name),
    )
    await wire.ask(Create, jobs=(new,), handle=True, group=name)
    [claim] = await wire.ask(ClaimJobs, jobs=(name,))
    assert claim.headers == new.headers
    result = bytes(limits.result_bytes)
    await wire.ask(Complete, jobs=(Completion(job=name, token=claim.token, result=result),))
    [view] = await wire.ask(Get, jobs=(name,))
    assert (len(view.payload), len(view.result)) == (limits.payload_bytes, limits.result_bytes)
    assert (view.labels, view.backoff, view.timeouts) == (new.labels, new.backoff, new.timeouts)
    assert (view.unique, view.groups) == (new.unique, (name,))
    [outcome] = await wire.outcomes(1)
    assert outcome.result == result


async def in_state(wire: Wire, job: str, state: str) -> None:
    if state in ("PENDING", "QUEUED"):
        return
    [claim] = await wire.ask(ClaimJobs, jobs=(job,))
    if state == "COMPLETE":
        await wire.ask(Complete, jobs=(Completion(job=job, token=claim.token),))
    elif state == "FAILED":
        await wire.ask(Fail, jobs=(Failure(job=job, token=claim.token, error=Error()),))


async def test_counts_are_exact(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    wanted = {
        "a": {"PENDING": 2, "QUEUED": 3, "STARTED": 2, "COMPLETE": 1, "FAILED": 4},
        "b": {"PENDING": 0, "QUEUED": 0, "STARTED": 1, "COMPLETE": 2, "FAILED": 0},
    }
    for job_type, states in wanted.items():
        for state, number in states.items():
            for n in range(number):
                job = f"{job_type}-{state}-{n}"
                delay_ms = 60_000 if state == "PENDING" else 0
                new = NewJob(type=job_type, id=job, persistent=True, delay_ms=delay_ms)
                await wire.ask(Create, jobs=(new,))
                await in_state(wire, job, state)
    [counts] = await wire.ask(CountJobs)
    assert counts.types == wanted
    assert not counts.more
    [counts] = await wire.ask(CountJobs, types=("b", "never-seen"))
    assert counts.types["b"] == wanted["b"]
    assert sum(counts.types.get("never-seen", {}).values()) == 0
    await wire.ask(Remove, jobs=tuple(f"a-FAILED-{n}" for n in range(4)))
    [counts] = await wire.ask(CountJobs, types=("a",))
    assert counts.types["a"] == {**wanted["a"], "FAILED": 0}


async def test_more_types_than_an_answer_holds(brokers: Brokers) -> None:
    broker = await brokers.start(max_batch=2_000)
    wire = await brokers.connect(broker)
    types = [f"type-{n:04}" for n in range(1_025)]
    await wire.ask(Create, jobs=tuple(NewJob(type=name) for name in types))
    [counts] = await wire.ask(CountJobs)
    assert counts.more
    assert len(counts.types) == 1_024
    [left] = await wire.ask(CountJobs, types=tuple(types[-1_000:]))
    assert not left.more
    assert {name: states["QUEUED"] for name, states in left.types.items()} == dict.fromkeys(
        types[-1_000:], 1
    )


@pytest.mark.parametrize("kind", [Get, CountJobs])
async def test_looking_changes_nothing(brokers: Brokers, broker: Broker, kind: type) -> None:
    wire = await brokers.connect(broker)
    await wire.ask(Create, jobs=(NewJob(type="t", id="a"),))
    [before] = await wire.ask(Get, jobs=("a",))
    fields = {"jobs": ("a",)} if kind is Get else {}
    await wire.ask(kind, **fields)
    [after] = await wire.ask(Get, jobs=("a",))
    assert after == before


async def test_info_counts_connections_and_clients(brokers: Brokers, broker: Broker) -> None:
    first = await brokers.connect(broker)
    second = await brokers.connect(broker)
    await second.abort()
    while True:
        [info] = await first.ask(Info)
        if info.connections == 1:
            break
    # A lost connection removes no client.
    assert info.clients == 2


async def test_a_log_says_how_much_of_it_is_gone(brokers: Brokers) -> None:
    broker = await brokers.start(max_log_bytes=2_048)
    wire = await brokers.connect(broker, "ann")
    await wire.ask(Create, jobs=(NewJob(type="t", id="a"),))
    [claim] = await wire.ask(ClaimJobs, jobs=("a",))
    lines = [f"{n:03}{'ä' * 50}" for n in range(100)]
    for line in lines:
        report = LogReport(job="a", token=claim.token, messages=(line,))
        await wire.ask(WriteLog, reports=(report,))
    [page] = await wire.ask(ReadLog, job="a", limit=1_000)
    assert [entry.message for entry in page.entries] == lines[page.first :]
    assert page.first > 0
    assert page.dropped_bytes == sum(len(line.encode()) for line in lines[: page.first])
    assert sum(len(entry.message.encode()) for entry in page.entries) <= 2_048


async def test_what_was_done_by_hand_is_in_the_log(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker, "bob")
    await wire.ask(Create, jobs=(NewJob(type="t", id="a", persistent=True),))
    await wire.ask(Cancel, jobs=("a",), why="too late")
    [page] = await wire.ask(ReadLog, job="a")
    [entry] = page.entries
    assert (entry.type, entry.message, entry.by) == ("action", "cancel: too late", "bob")
    assert page.dropped_bytes == 0

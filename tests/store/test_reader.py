"""Reading what is there."""

import asyncio
from typing import Final

import pytest

from packhorse_broker.jobs.commands import Complete, Fail, Handled, Remove, WriteLog
from packhorse_broker.jobs.model import LogEntry, State
from packhorse_broker.jobs.terms import Terms
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.reader import LOG_READS, Found, LogPage, Reader
from packhorse_broker.store.records import CorruptRecord
from tests.support.commands import claim, create, first_token
from tests.support.inspection import Raw
from tests.support.opening import Caller, Opener
from tests.support.proxy import FaultProxy

LARGE: Final = bytes(513)


@pytest.fixture
async def caller(opener: Opener) -> Caller:
    return opener.committer()


@pytest.fixture
def reader(opener: Opener) -> Reader:
    return opener.reader()


async def complete(caller: Caller, job_id: str, outcome: bytes = b"result") -> None:
    """Claims a job that is new, and completes it."""
    claimed = claim()
    await caller.submit((job_id, claimed), (job_id, Complete("ann", first_token(claimed), outcome)))


def parts(jobs: list[Found]) -> list[tuple[str, bytes | None, bytes | None] | None]:
    told: list[tuple[str, bytes | None, bytes | None] | None] = []
    for job in jobs:
        assert not isinstance(job, CorruptRecord)
        told.append((job.id, job.body, job.outcome) if job is not None else None)
    return told


# -- records


async def test_records_come_as_asked(caller: Caller, reader: Reader) -> None:
    await caller.submit(create("a"), create("b", body=LARGE))
    found = await reader.records(["b", "none", "a", "b"])
    assert parts(found) == [("b", None, None), None, ("a", b"body", None), ("b", None, None)]
    assert await reader.records([]) == []


async def test_jobs_come_with_what_lives_apart(caller: Caller, reader: Reader) -> None:
    await caller.submit(
        create("small", handler="bob"),
        create("large", body=LARGE, handler="bob"),
        create("result", handler="bob"),
        create("both", body=LARGE, handler="bob"),
    )
    for name, outcome in (("small", b"x"), ("result", LARGE), ("both", LARGE + b"x")):
        await complete(caller, name, outcome)
    found = await reader.jobs(["both", "small", "none", "large", "result", "both"])
    assert parts(found) == [
        ("both", LARGE, LARGE + b"x"),
        ("small", b"body", b"x"),
        None,
        ("large", LARGE, None),
        ("result", b"body", LARGE),
        ("both", LARGE, LARGE + b"x"),
    ]
    assert await reader.jobs([]) == []


async def test_jobs_that_have_nothing_apart_cost_one_read(
    caller: Caller, opener: Opener, proxy: FaultProxy
) -> None:
    await caller.submit(create("a"), create("b"))
    await opener.reader(proxy.url).jobs(["a", "b"])
    assert proxy.commands[b"MGET"] == 1


@pytest.mark.parametrize("read_before", [1, 2])
async def test_job_that_goes_between_two_reads_is_gone(
    caller: Caller, opener: Opener, proxy: FaultProxy, read_before: int
) -> None:
    await caller.submit(create("a", body=LARGE), create("b", body=LARGE, handler="bob"))
    await complete(caller, "b", LARGE)
    reader = opener.reader(proxy.url)
    proxy.pause_at(*[b"MGET"] * read_before)
    reading = asyncio.create_task(reader.jobs(["a", "b"]))
    for _ in range(read_before - 1):
        await proxy.met()
        proxy.resume()
    await proxy.met()
    await caller.submit(("a", Remove()), ("b", Handled("bob")))
    proxy.resume()
    assert await reading == [None, None]


async def test_corrupt_record_is_told_in_its_place(
    caller: Caller, reader: Reader, raw: Raw, keys: PartitionKeys
) -> None:
    await caller.submit(create("a"), create("large", body=LARGE))
    await raw("SET", keys.record("bad"), "no record")
    for read in (reader.records, reader.jobs):
        first, bad, *last = await read(["a", "bad", "large", "none"])
        assert isinstance(bad, CorruptRecord)
        body = LARGE if read == reader.jobs else None
        assert parts([first, *last]) == [("a", b"body", None), ("large", body, None), None]
    with pytest.raises(CorruptRecord):
        await reader.log("bad", 0, 1)


# -- logs


async def write(caller: Caller, count: int) -> list[bytes]:
    """A job `a` with so many lines, two in each transaction; the token of its claim."""
    claimed = claim()
    token = first_token(claimed)
    await caller.submit(create("a"), ("a", claimed))
    for number in range(0, count, 2):
        lines = tuple(f"line {place}" for place in range(number, min(number + 2, count)))
        await caller.submit(("a", WriteLog("ann", token, lines)))
    return [token]


def offsets(page: LogPage | None) -> tuple[list[int], int, int]:
    assert page is not None
    return [entry.offset for entry in page.entries], page.first, page.end


async def test_log_page(caller: Caller, reader: Reader, opener: Opener) -> None:
    await write(caller, 3)
    page = await reader.log("a", 1, 10)
    time_ms = opener.clock.now_ms()
    assert page == LogPage(
        (
            LogEntry(1, time_ms, 1, "log", "line 1"),
            LogEntry(2, time_ms, 1, "log", "line 2"),
        ),
        first=0,
        end=3,
    )


@pytest.mark.parametrize(
    ("offset", "limit", "expected"),
    [
        (0, 10, [3, 4, 5, 6, 7]),
        (0, 2, [3, 4]),
        (3, 2, [3, 4]),
        (4, 2, [4, 5]),
        (7, 5, [7]),
        (8, 5, []),
        (1_000, 5, []),
    ],
)
async def test_log_resumes_at_an_offset_or_at_the_oldest_line_kept(
    caller: Caller, reader: Reader, offset: int, limit: int, expected: list[int]
) -> None:
    """Five lines are kept of eight."""
    await write(caller, 8)
    assert offsets(await reader.log("a", offset, limit)) == (expected, 3, 8)


async def test_job_without_a_log_and_no_job(caller: Caller, reader: Reader) -> None:
    await caller.submit(create("a"))
    assert await reader.log("a", 0, 10) == LogPage((), 0, 0)
    assert await reader.log("none", 0, 10) is None


async def test_log_of_a_job_that_goes_meanwhile(
    caller: Caller, opener: Opener, proxy: FaultProxy
) -> None:
    await write(caller, 3)
    proxy.pause_at(b"GET")
    reading = asyncio.create_task(opener.reader(proxy.url).log("a", 0, 10))
    await proxy.met()
    await caller.ask("a", Remove())
    proxy.resume()
    assert await reading is None


@pytest.mark.parametrize("command", [b"GET", b"LRANGE"])
async def test_log_that_is_cut_meanwhile_has_no_gap(
    caller: Caller, opener: Opener, proxy: FaultProxy, command: bytes
) -> None:
    [token] = await write(caller, 5)
    proxy.pause_at(command)
    reading = asyncio.create_task(opener.reader(proxy.url).log("a", 1, 3))
    await proxy.met()
    await caller.ask("a", WriteLog("ann", token, ("5", "6", "7")))
    proxy.resume()
    assert offsets(await reading) == ([3, 4, 5], 3, 8)


async def test_log_of_another_job_that_took_the_id_is_not_mixed_in(
    caller: Caller, opener: Opener, proxy: FaultProxy
) -> None:
    """An offset past the end tells the reader that it has to begin anew."""
    await write(caller, 8)
    proxy.pause_at(b"GET")
    reading = asyncio.create_task(opener.reader(proxy.url).log("a", 5, 10))
    await proxy.met()
    await caller.ask("a", Remove())
    await write(caller, 4)
    proxy.resume()
    assert offsets(await reading) == ([], 0, 4)


async def test_log_that_is_cut_all_the_time_is_read_as_far_as_it_can_be(
    caller: Caller, opener: Opener, proxy: FaultProxy
) -> None:
    [token] = await write(caller, 5)
    proxy.pause_at(*[b"LRANGE"] * LOG_READS)
    reading = asyncio.create_task(opener.reader(proxy.url).log("a", 0, 10))
    for number in range(LOG_READS):
        await proxy.met()
        await caller.ask("a", WriteLog("ann", token, (f"{5 + number}",)))
        proxy.resume()
    assert offsets(await reading) == ([4, 5, 6, 7, 8], 3, 9)
    assert proxy.commands[b"LRANGE"] == LOG_READS


# -- indexes


async def test_counts_are_exact_for_every_state(caller: Caller, reader: Reader) -> None:
    await caller.submit(*(create(f"job-{number}", handler="bob") for number in range(10)))
    await caller.submit(create("other", "post"))
    claims = [claim() for _ in range(6)]
    await caller.draw("mail", claims)
    tokens = [first_token(claimed) for claimed in claims]
    await caller.submit(
        *((f"job-{number}", Complete("ann", tokens[number], b"")) for number in range(2)),
        *((f"job-{number}", Fail("ann", tokens[number], b"")) for number in range(2, 5)),
    )
    assert await reader.counts(["mail", "post", "none"]) == {
        "mail": {
            State.PENDING: 0,
            State.QUEUED: 4,
            State.STARTED: 1,
            State.COMPLETE: 2,
            State.FAILED: 3,
        },
        "post": {
            State.PENDING: 0,
            State.QUEUED: 1,
            State.STARTED: 0,
            State.COMPLETE: 0,
            State.FAILED: 0,
        },
        "none": dict.fromkeys(State, 0),
    }
    assert await reader.counts([]) == {}


async def test_types_are_those_ever_seen(caller: Caller, reader: Reader) -> None:
    assert await reader.types() == []
    await caller.submit(create("a", "post"), create("b", "ä:x"), create("c", "mail"))
    await caller.submit(("a", Remove()))
    assert await reader.types() == ["mail", "post", "ä:x"]


async def test_what_a_runner_holds(caller: Caller, reader: Reader, opener: Opener) -> None:
    await caller.submit(*(create(name) for name in "abcd"))
    for name in "cab":
        await caller.ask(name, claim("ann"))
        opener.clock.forward(1)
    await caller.ask("d", claim("bob"))
    assert await reader.held_by("ann", 10) == ["c", "a", "b"]
    assert await reader.held_by("ann", 2) == ["c", "a"]
    assert await reader.held_by("cid", 10) == []


async def test_what_a_handler_handles_and_is_owed(
    caller: Caller, reader: Reader, opener: Opener
) -> None:
    await caller.submit(*(create(name, handler="bob") for name in "abcd"), create("e"))
    finished: dict[str, int] = {}
    for name in "ca":
        opener.clock.forward(1)
        await complete(caller, name)
        finished[name] = opener.clock.now_ms()
    assert sorted(await reader.handled_by("bob", 10)) == ["a", "b", "c", "d"]
    assert len(await reader.handled_by("bob", 3)) == 3
    assert list((await reader.owed_to("bob", 10)).items()) == list(finished.items())
    assert list(await reader.owed_to("bob", 1)) == ["c"]
    assert await reader.owed_to("ann", 10) == {}
    await caller.ask("c", Handled("bob"))
    assert list(await reader.owed_to("bob", 10)) == ["a"]


async def test_what_is_due(caller: Caller, reader: Reader, opener: Opener) -> None:
    await caller.submit(create("a"), create("b"))
    dues: list[int] = []
    for name in "ba":
        claimed = claim()
        await caller.submit((name, claimed), (name, Fail("ann", first_token(claimed), b"")))
        dues.append(opener.clock.now_ms() + 60_000)
        opener.clock.forward(10)
    assert await reader.due(dues[0] - 1, 10) == ([], dues[0])
    assert await reader.due(dues[0], 10) == (["b"], dues[1])
    assert await reader.due(dues[1], 10) == (["b", "a"], 0)
    assert await reader.due(dues[1], 1) == (["b"], 0)
    assert await reader.due(dues[1], 1, skip={0: 1}) == (["a"], 0)


async def test_what_is_pending_is_due_too(caller: Caller, reader: Reader, opener: Opener) -> None:
    until = opener.clock.now_ms() + 500
    await caller.submit(create("a", delay_until=until, terms=Terms(total_ms=50)), create("b"))
    assert await reader.due(until - 1, 10) == ([], until)
    assert await reader.due(until, 10) == (["a"], 0)


# -- the connection


async def test_readers_take_turns(caller: Caller, reader: Reader) -> None:
    names = [f"job-{number}" for number in range(50)]
    await caller.submit(*(create(name, body=name.encode() * 100) for name in names))
    found = await asyncio.gather(*(reader.jobs([name]) for name in names))
    assert [parts(jobs) for jobs in found] == [
        [(name, name.encode() * 100, None)] for name in names
    ]


async def test_a_connection_that_was_lost_meanwhile_is_made_anew(
    caller: Caller, opener: Opener, proxy: FaultProxy
) -> None:
    """Only a store that is not there is told of."""
    await caller.submit(create("a"))
    reader = opener.reader(proxy.url)
    assert len(await reader.records(["a"])) == 1
    proxy.cut()
    assert len(await reader.records(["a"])) == 1
    proxy.refusing = True
    proxy.cut()
    with pytest.raises(StoreUnavailable):
        await reader.records(["a"])
    proxy.refusing = False
    assert len(await reader.records(["a"])) == 1
    await reader.close()


async def test_reader_that_is_cancelled_costs_the_next_nothing(
    caller: Caller, opener: Opener, proxy: FaultProxy
) -> None:
    await caller.submit(create("a"), create("b"))
    reader = opener.reader(proxy.url)
    proxy.pause_at(b"MGET")
    cancelled = asyncio.create_task(reader.records(["a"]))
    await proxy.met()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    proxy.resume()
    assert parts(await reader.records(["b"])) == [("b", b"body", None)]

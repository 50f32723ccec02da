"""Whether records and indexes agree: what the check finds, and what it mends."""

import asyncio
from typing import Final

import pytest

from packhorse_broker.jobs.commands import Complete, Fail, Release, WriteLog
from packhorse_broker.store import fsck
from packhorse_broker.store.findings import Finding
from packhorse_broker.store.fsck import Checker
from packhorse_broker.store.keys import PartitionKeys, queue_member
from tests.support.commands import claim, create, first_token
from tests.support.inspection import Contents, Raw
from tests.support.opening import Caller, Opener
from tests.support.proxy import Fault, FaultProxy

LARGE: Final = bytes(513)


@pytest.fixture
def checker(opener: Opener, keys: PartitionKeys) -> Checker:
    return Checker(opener.lane(), keys)


@pytest.fixture
async def caller(opener: Opener) -> Caller:
    """Its store has a job in every state; bodies, outcomes and a log that live apart."""
    made = opener.committer()
    claims = {name: claim() for name in ("held", "done", "failed")}
    tokens = {name: first_token(claimed) for name, claimed in claims.items()}
    await made.submit(
        create("queued"),
        create("large", body=LARGE),
        create("held"),
        create("done", handler="bob"),
        create("failed"),
        *claims.items(),
        ("held", WriteLog("ann", tokens["held"], ("line",))),
        ("done", Complete("ann", tokens["done"], LARGE)),
        ("failed", Fail("ann", tokens["failed"], b"error")),
    )
    return made


async def found(checker: Checker, *, mend: bool = False) -> set[tuple[str, str, str, bool]]:
    report = await checker.check(mend=mend)
    assert report.clean is not bool(report.findings)
    told = [(f.kind, f.job, f.key.partition("}:")[2], f.mended) for f in report.findings]
    assert len(set(told)) == len(told)
    return set(told)


async def test_store_without_jobs_is_clean(checker: Checker) -> None:
    report = await checker.check()
    assert (report.jobs, report.index_entries, report.clean) == (0, 0, True)


async def test_store_as_committers_leave_it_is_clean(caller: Caller, checker: Checker) -> None:
    report = await checker.check()
    assert (report.jobs, report.index_entries, report.findings) == (5, 8, [])


async def test_long_indexes_are_read_page_by_page(
    caller: Caller, checker: Checker, monkeypatch: pytest.MonkeyPatch, raw: Raw, keys: PartitionKeys
) -> None:
    monkeypatch.setattr(fsck, "PAGE", 2)
    await caller.submit(*(create(f"job-{number}") for number in range(9)))
    await raw("ZREM", keys.queue("mail"), *await raw("ZRANGE", keys.queue("mail"), 8, 8))
    report = await checker.check()
    assert (report.jobs, report.index_entries) == (14, 16)
    assert [str(finding) for finding in report.findings] == [
        f"missing: job job-6 in {keys.queue('mail').decode()}"
    ]


async def test_keys_of_another_prefix_are_left_alone(
    caller: Caller, opener: Opener, raw: Raw, prefix: str
) -> None:
    """Whatever a prefix holds, it is taken literally."""
    pattern = PartitionKeys(f"{prefix[:-1]}[0-9]*?\\", 0)
    checker = Checker(opener.lane(), pattern)
    assert (await checker.check()).jobs == 0
    await raw("SET", pattern.record("bad"), "no record")
    assert await found(checker) == {("corrupt", "bad", "j:bad", False)}
    await raw("DEL", pattern.record("bad"))


# -- what may be wrong, and that it is mended

INDEXES: Final = {
    "q:mail": ("queued", "large"),
    "s:mail": ("held",),
    "c:mail": ("done",),
    "f:mail": ("failed",),
    "r:ann": ("held",),
    "h:bob": ("done",),
    "t": ("failed",),
}
"""Every index, and the jobs in it."""


@pytest.mark.parametrize("index", INDEXES)
async def test_missing_entries(
    caller: Caller, checker: Checker, raw: Raw, keys: PartitionKeys, index: str
) -> None:
    await raw("DEL", keys.base + index.encode())
    expected = {("missing", job, index) for job in INDEXES[index]}
    assert await found(checker) == {(*finding, False) for finding in expected}
    assert await found(checker, mend=True) == {(*finding, True) for finding in expected}
    assert await found(checker) == set()
    (await Contents.read(raw, keys)).check(keys)


@pytest.mark.parametrize("index", INDEXES)
async def test_wrong_scores(
    caller: Caller, checker: Checker, raw: Raw, keys: PartitionKeys, index: str
) -> None:
    key = keys.base + index.encode()
    [member, *_] = await raw("ZRANGE", key, 0, -1)
    await raw("ZADD", key, 77, member)
    expected = ("wrong_score", INDEXES[index][0], index)
    assert await found(checker) == {(*expected, False)}
    assert await found(checker, mend=True) == {(*expected, True)}
    assert await found(checker) == set()
    (await Contents.read(raw, keys)).check(keys)


@pytest.mark.parametrize("index", ["q:mail", "q:other", "s:mail", "c:x", "f:x", "r:x", "h:x", "t"])
@pytest.mark.parametrize("job", ["done", "gone"])
async def test_stale_entries(
    caller: Caller, checker: Checker, raw: Raw, keys: PartitionKeys, index: str, job: str
) -> None:
    member = queue_member(5, job) if index.startswith("q:") else job.encode()
    await raw("ZADD", keys.base + index.encode(), 5, member)
    assert await found(checker) == {("stale", job, index, False)}
    assert await found(checker, mend=True) == {("stale", job, index, True)}
    assert await found(checker) == set()
    (await Contents.read(raw, keys)).check(keys)


async def test_outcomes_that_are_taken_and_not_owed(
    caller: Caller, checker: Checker, raw: Raw, keys: PartitionKeys
) -> None:
    """Of these jobs only one has ended with the group as its handler; one has no name at all."""
    claimed = claim()
    await caller.submit(create("owed", group="mailers"), ("owed", claimed))
    await caller.submit(("owed", Complete("ann", first_token(claimed), b"r")))
    await caller.submit(create("waiting", group="mailers"))
    for job in (b"owed", b"waiting", b"done", b"gone", b"\xff"):
        await raw("HSET", keys.taken("mailers"), job, "b-1")
    stale = [("waiting", False), ("done", False), ("gone", False), (repr(b"\xff"), False)]
    expected = {("stale", job, "k:mailers", mended) for job, mended in stale}
    assert await found(checker) == expected
    await found(checker, mend=True)
    assert await found(checker) == set()
    assert await raw("HKEYS", keys.taken("mailers")) == [b"owed"]


async def test_second_entry_of_a_job_in_its_queue(
    caller: Caller, checker: Checker, raw: Raw, keys: PartitionKeys
) -> None:
    await raw("ZADD", keys.queue("mail"), 0, queue_member(99, "queued"))
    assert await found(checker, mend=True) == {("stale", "queued", "q:mail", True)}
    assert await found(checker) == set()


async def test_entry_that_names_no_job(
    caller: Caller, checker: Checker, raw: Raw, keys: PartitionKeys
) -> None:
    await raw("ZADD", keys.queue("mail"), 0, queue_member(1, "") + b"\xff")
    await raw("ZADD", keys.timers, 1, b"\xff")
    findings = await found(checker, mend=True)
    assert {(kind, index, mended) for kind, _, index, mended in findings} == {
        ("stale", "q:mail", True),
        ("stale", "t", True),
    }
    assert await found(checker) == set()


@pytest.mark.parametrize("part", ["b", "o", "l"])
@pytest.mark.parametrize("job", ["queued", "gone"])
async def test_orphan_parts(
    caller: Caller, checker: Checker, raw: Raw, keys: PartitionKeys, part: str, job: str
) -> None:
    """Of a job that is gone, or whose record has no such part."""
    key = keys.base + f"{part}:{job}".encode()
    await (raw("RPUSH", key, "entry") if part == "l" else raw("SET", key, "value"))
    assert await found(checker) == {("orphan", job, f"{part}:{job}", False)}
    assert await found(checker, mend=True) == {("orphan", job, f"{part}:{job}", True)}
    assert await found(checker) == set()
    (await Contents.read(raw, keys)).check(keys)


@pytest.mark.parametrize("key", ["b:large", "o:done", "l:held"])
async def test_lost_parts_can_not_be_mended(
    caller: Caller, checker: Checker, raw: Raw, keys: PartitionKeys, key: str
) -> None:
    await raw("DEL", keys.base + key.encode())
    expected = {("lost", key[2:], key, False)}
    assert await found(checker) == expected
    assert await found(checker, mend=True) == expected
    assert await found(checker) == expected


async def test_corrupt_record_is_told_and_kept(
    caller: Caller, checker: Checker, raw: Raw, keys: PartitionKeys
) -> None:
    await raw("SET", keys.record("queued"), "no record")
    corrupt = ("corrupt", "queued", "j:queued", False)
    assert await found(checker) == {corrupt, ("wrong_sum", "mail", "bytes", False)}
    assert await found(checker, mend=True) == {corrupt, ("wrong_sum", "mail", "bytes", True)}
    assert await found(checker) == {corrupt}
    assert await raw("GET", keys.record("queued")) == b"no record"


async def test_record_that_vanished_leaves_stale_entries(
    caller: Caller, checker: Checker, raw: Raw, keys: PartitionKeys
) -> None:
    await raw("DEL", keys.record("held"))
    assert await found(checker, mend=True) == {
        ("stale", "held", "s:mail", True),
        ("stale", "held", "r:ann", True),
        ("orphan", "held", "l:held", True),
        ("wrong_sum", "mail", "bytes", True),
    }
    assert await found(checker) == set()


def test_finding_is_told_in_a_line() -> None:
    finding = Finding(kind="missing", job="a", key="ph:{0}:q:mail", mended=True)
    assert str(finding) == "missing: job a in ph:{0}:q:mail (mended)"


# -- while brokers work


async def test_changes_under_way_are_no_findings(caller: Caller, checker: Checker) -> None:
    """Jobs are created, claimed, given back and completed all the time."""
    stopped = False

    async def live(name: str) -> None:
        while not stopped:
            claims = [claim(), claim()]
            first, second = (
                number.to_bytes(8, "big") + claimed.nonce
                for number, claimed in enumerate(claims, 1)
            )
            await caller.applied(*create(name, body=LARGE))
            await caller.applied(name, claims[0])
            await caller.applied(name, Release("ann", first))
            await caller.applied(name, claims[1])
            await caller.applied(name, WriteLog("ann", second, ("line",)))
            await caller.applied(name, Complete("ann", second, b"result"))

    async with asyncio.TaskGroup() as living:
        for number in range(20):
            living.create_task(live(f"job-{number}"))
        seen = [await found(checker, mend=mend) for mend in (False, True) * 5]
        stopped = True
    assert seen == [set()] * 10
    assert await found(checker) == set()


async def test_job_that_changes_while_it_is_mended_is_looked_at_again(
    caller: Caller, opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys
) -> None:
    await raw("DEL", keys.queue("mail"))
    proxy.fail(Fault.PAUSE)
    mending = asyncio.create_task(found(Checker(opener.lane(proxy.url), keys), mend=True))
    await proxy.met()
    await caller.submit(("large", claim()), ("queued", claim()))
    proxy.resume()
    assert await mending == set()
    (await Contents.read(raw, keys)).check(keys)

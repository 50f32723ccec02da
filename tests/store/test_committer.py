"""Group commit: what goes into one transaction, in which order, and what each caller is told."""

import asyncio
from typing import Final

import pytest
from msgspec.structs import replace

from packhorse_broker.jobs.commands import (
    Command,
    Complete,
    Fail,
    Handled,
    Release,
    Remove,
    ReportProgress,
    RunnerGone,
    WriteLog,
)
from packhorse_broker.jobs.model import Applied, Job, Progress, RefusalCode, State
from packhorse_broker.store.backlog import MAX_BATCH, MAX_WAITING
from packhorse_broker.store.committer import Committer
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.records import encode_job
from packhorse_broker.store.work import Failed
from tests.support.commands import claim, create, first_token, stored
from tests.support.inspection import Raw, contents
from tests.support.opening import Opener
from tests.support.proxy import Fault, FaultProxy, written
from tests.support.telling import told

LARGE: Final = bytes(range(256)) * 4
"""A body or outcome that lives apart."""


# -- many callers, one transaction


async def test_commands_that_wait_go_into_one_transaction(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer(proxy.url)
    proxy.fail(Fault.PAUSE)
    first = caller.submit(create("first"))
    await proxy.met()
    others = [caller.submit(create(f"job-{number}")) for number in range(100)]
    proxy.resume()
    await asyncio.gather(first, *others)
    assert proxy.commands[b"EXEC"] == 2
    assert [len(transaction) for transaction in proxy.transactions] == [5, 4]
    assert len(await contents(raw, keys)) == 101
    committer = caller.committer
    assert isinstance(committer, Committer)
    assert (committer.commits, committer.commands, committer.conflicts) == (2, 101, 0)


async def test_a_transaction_has_a_bound(opener: Opener, proxy: FaultProxy) -> None:
    caller = opener.committer(proxy.url)
    proxy.fail(Fault.PAUSE)
    first = caller.submit(create("first"))
    await proxy.met()
    sizes = [400, 400, 400, 1_500, 1]
    others = [
        caller.submit(*(create(f"job-{place}-{number}") for number in range(size)))
        for place, size in enumerate(sizes)
    ]
    proxy.resume()
    await asyncio.gather(first, *others)
    assert MAX_BATCH == 1_000
    assert [len(written(transaction)) for transaction in proxy.transactions] == [
        1,
        800,
        400,
        1_500,
        1,
    ]


async def test_records_are_written_and_read_in_few_commands(
    opener: Opener, proxy: FaultProxy
) -> None:
    caller = opener.committer(proxy.url)
    await caller.submit(*(create(f"job-{number}") for number in range(500)))
    [transaction] = proxy.transactions
    assert [command[0] for command in transaction] == [
        b"MSET",
        b"ZADD",
        b"HINCRBY",
        b"SADD",
        b"SET",
    ]
    assert (proxy.commands[b"WATCH"], proxy.commands[b"MGET"]) == (1, 1)


async def test_commands_for_one_job_are_applied_in_order(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer()
    claimed = claim("ann")
    token = first_token(claimed)
    results = await caller.submit(
        create("a", handler="bob"),
        ("a", WriteLog("ann", token, ("too early",))),
        ("a", claimed),
        ("a", claim("cid")),
        ("a", ReportProgress("ann", token, Progress(50, "half"))),
        ("a", WriteLog("ann", token, ("one", "two"))),
        ("a", Complete("ann", token, b"result")),
        ("a", Release("ann", token)),
        ("a", Handled("cid")),
    )
    assert told(results) == [
        "QUEUED",
        "stale_claim",
        "STARTED",
        "wrong_state",
        "STARTED",
        "STARTED",
        "COMPLETE",
        "stale_claim",
        "not_handler",
    ]
    job = (await contents(raw, keys))["a"]
    assert (job.state, job.version, job.log_end) == (State.COMPLETE, 5, 3)
    [change] = opener.committed
    assert (change.before, change.job, change.removed) == (None, job, False)
    assert [entry.message for entry in change.log] == ["half", "one", "two"]


async def test_what_changes_nothing_writes_nothing(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer(proxy.url)
    assert told(await caller.submit(("a", Remove()), ("b", claim()))) == ["not_found"] * 2
    assert await caller.submit() == []
    assert proxy.commands[b"EXEC"] == 0
    assert await raw.keys(keys.base) == set()
    assert opener.committed == []
    assert caller.committer.commits == 0


async def test_a_watch_that_was_not_needed_disturbs_nothing_later(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer()
    await caller.ask("a", Remove())
    await raw("SET", keys.record("a"), encode_job(stored("a")))
    await caller.submit(create("b"))
    assert caller.committer.conflicts == 0


async def test_repeated_command_is_answered_without_a_write(
    opener: Opener, proxy: FaultProxy
) -> None:
    caller = opener.committer(proxy.url)
    claimed = claim()
    done = ("a", Complete("ann", first_token(claimed), b"result"))
    await caller.submit(create("a", handler="bob"), ("a", claimed), done)
    again = await caller.ask(*done)
    assert isinstance(again, Applied)
    assert not again.changed
    assert again.job.outcome == b"result"
    assert proxy.commands[b"EXEC"] == 1


async def test_job_that_comes_and_goes_in_one_batch_leaves_nothing(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer()
    claimed = claim()
    results = await caller.submit(
        create("a", body=LARGE),
        ("a", claimed),
        ("a", WriteLog("ann", first_token(claimed), ("line",))),
        ("a", Complete("ann", first_token(claimed), LARGE)),
    )
    assert told(results) == ["QUEUED", "STARTED", "STARTED", "gone"]
    assert await contents(raw, keys) == {}


async def test_job_that_is_made_anew_in_the_batch_that_removes_it(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    """The new one has its own body, type and log, and nothing of the old one's."""
    caller = opener.committer()
    claimed, again = claim(), claim()
    token = first_token(claimed)
    await caller.submit(
        create("a", body=LARGE, persistent=True),
        ("a", claimed),
        ("a", WriteLog("ann", token, ("old",))),
        ("a", Complete("ann", token, LARGE)),
    )
    other = LARGE[::-1]
    results = await caller.submit(
        ("a", Remove()),
        create("a", "post", other),
        ("a", again),
        ("a", WriteLog("ann", first_token(again), ("new",))),
        ("a", Release("ann", first_token(again))),
    )
    assert told(results) == ["gone", "QUEUED", "STARTED", "STARTED", "QUEUED"]
    await contents(raw, keys)
    reader = opener.reader()
    [job] = await reader.jobs(["a"])
    assert isinstance(job, Job)
    assert (job.type, job.body) == ("post", other)
    page = await reader.log("a", 0, 10)
    assert page is not None
    assert [entry.message for entry in page.entries] == ["new"]
    assert await reader.types() == ["mail", "post"]


async def test_log_of_a_job_that_came_and_went_is_not_its_successors(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    """Two lives of one id in one batch, neither of which the store had seen."""
    caller = opener.committer()
    lives = [claim(), claim()]
    items: list[tuple[str, Command]] = []
    for life in lives:
        items += [("a", Remove()), create("a"), ("a", life)]
        items.append(("a", WriteLog("ann", first_token(life), (f"of {life.nonce.hex()}",))))
    results = await caller.submit(*items)
    assert told(results)[-4:] == ["gone", "QUEUED", "STARTED", "STARTED"]
    await contents(raw, keys)
    page = await opener.reader().log("a", 0, 10)
    assert page is not None
    assert [entry.message for entry in page.entries] == [f"of {lives[1].nonce.hex()}"]


async def test_job_that_is_made_anew_small_leaves_nothing_of_the_large_one(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer()
    await caller.submit(create("a", body=LARGE))
    await caller.submit(("a", Remove()), create("a", body=b"small"))
    await contents(raw, keys)


# -- what lives apart


async def test_body_apart_arrives_with_a_claim_by_id(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer(proxy.url)
    await caller.submit(create("a", body=LARGE), create("b"), create("c", body=LARGE[::-1]))
    results = await caller.submit(*((job_id, claim()) for job_id in "abc"))
    bodies = [result.job.body for result in results if isinstance(result, Applied)]
    assert bodies == [LARGE, b"body", LARGE[::-1]]
    assert (await contents(raw, keys))["a"].body is None
    assert proxy.commands[b"EXEC"] == 2, "the bodies came with the transaction that claimed"


async def test_body_apart_of_a_job_that_is_claimed_as_it_is_created(opener: Opener) -> None:
    caller = opener.committer()
    results = await caller.submit(create("a", body=LARGE), ("a", claim()))
    assert [result.job.body for result in results if isinstance(result, Applied)] == [LARGE] * 2


async def test_body_apart_is_read_after_the_answer_was_lost(
    opener: Opener, proxy: FaultProxy
) -> None:
    caller = opener.committer(proxy.url)
    await caller.submit(create("a", body=LARGE), create("b", body=LARGE))
    proxy.fail(Fault.SWALLOW_ANSWER)
    proxy.cut_at(b"GET")  # the settling's
    claimed = await caller.applied("a", claim())
    assert claimed.job.body == LARGE

    async def cut_reading(_: object) -> Fault:
        proxy.cut_at(b"MGET")
        return Fault.SWALLOW_ANSWER

    proxy.before_exec = cut_reading
    claimed = await caller.applied("b", claim())
    assert claimed.job.body == LARGE


async def test_claim_and_removal_in_one_batch_still_give_the_body(opener: Opener) -> None:
    """The claim was granted before the removal; its runner is told of both."""
    caller = opener.committer()
    await caller.submit(create("a", body=LARGE))
    claimed, removed = await caller.submit(("a", claim()), ("a", Remove()))
    assert told([claimed, removed]) == ["STARTED", "gone"]
    assert isinstance(claimed, Applied)
    assert claimed.job.body == LARGE


async def test_outcome_apart_survives_later_changes(opener: Opener) -> None:
    caller = opener.committer()
    claimed = claim()
    await caller.submit(create("a", handler="bob", persistent=True), ("a", claimed))
    await caller.ask("a", Complete("ann", first_token(claimed), LARGE))
    await caller.ask("a", Handled("bob"))
    [job] = await opener.reader().jobs(["a"])
    assert isinstance(job, Job)
    assert (job.outcome, job.handlers) == (LARGE, ())


# -- bounds and the end


async def test_waiting_work_has_a_bound(opener: Opener, proxy: FaultProxy) -> None:
    caller = opener.committer(proxy.url)
    proxy.fail(Fault.PAUSE)
    first = caller.submit(create("first"))
    await proxy.met()
    many = caller.submit(*[("none", Remove())] * MAX_WAITING)
    [refused] = await caller.submit(("none", Remove()))
    assert isinstance(refused, Failed)
    assert isinstance(refused.error, StoreUnavailable)
    assert await caller.draw("mail", [claim()]) == ([], True)
    assert not many.done()
    proxy.resume()
    await first
    assert told(await many) == [RefusalCode.NOT_FOUND.value] * MAX_WAITING
    assert told(await caller.submit(("none", Remove()))) == ["not_found"]


async def test_closing_commits_what_was_submitted_and_refuses_the_rest(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer(proxy.url)
    proxy.fail(Fault.PAUSE)
    submitted = [caller.submit(create("job-0"))]
    await proxy.met()
    submitted += [caller.submit(create(f"job-{number}")) for number in range(1, 10)]
    closing = asyncio.create_task(caller.committer.close())
    await asyncio.sleep(0)  # one turn of the loop: closing has begun
    [late] = await caller.submit(create("late"))
    assert isinstance(late, Failed)
    proxy.resume()
    await closing
    assert all(future.done() for future in submitted)
    assert set(await contents(raw, keys)) == {f"job-{number}" for number in range(10)}


async def test_closing_twice_or_with_nothing_to_do_is_quiet(opener: Opener) -> None:
    caller = opener.committer()
    await caller.committer.close()
    await caller.committer.close()
    assert caller.answers == []


async def test_caller_that_does_not_wait_cancels_nothing(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer(proxy.url)
    proxy.fail(Fault.PAUSE)
    asked = caller.submit(create("a"))
    await proxy.met()
    asked.cancel()
    proxy.resume()
    await caller.submit(create("b"))
    assert set(await contents(raw, keys)) == {"a", "b"}


@pytest.mark.parametrize("command", [Fail("ann", b"", b""), RunnerGone("ann")])
async def test_job_with_attempts_left_is_claimable_again_at_once(
    opener: Opener, command: Fail | RunnerGone
) -> None:
    caller = opener.committer()
    claimed = claim("ann")
    if isinstance(command, Fail):
        command = replace(command, token=first_token(claimed))
    results = await caller.submit(
        create("a", attempts=2), ("a", claimed), ("a", command), ("a", claim("bob"))
    )
    assert told(results) == ["QUEUED", "STARTED", "QUEUED", "STARTED"]

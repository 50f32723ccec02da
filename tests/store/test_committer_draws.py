"""Claims from the head of a queue."""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

import pytest
from msgspec.structs import replace

from packhorse_broker.jobs.commands import Fail, Release, Remove
from packhorse_broker.jobs.model import Applied, State
from packhorse_broker.jobs.terms import Terms
from packhorse_broker.store import round as deciding
from packhorse_broker.store.keys import PartitionKeys, queue_member
from packhorse_broker.store.records import encode_job
from packhorse_broker.store.types import TypeSettings, encode_settings
from tests.support.commands import claim, create, first_token
from tests.support.inspection import Contents, Raw
from tests.support.opening import Caller, Opener
from tests.support.proxy import Fault, FaultProxy, written
from tests.support.telling import told


def ids(drawn: Sequence[Applied]) -> list[str]:
    for applied in drawn:
        assert applied.job.state is State.STARTED
    return [applied.job.id for applied in drawn]


Drawing: TypeAlias = "asyncio.Future[tuple[list[Applied], bool]]"


def submit_draw(caller: Caller, count: int, job_type: str = "mail") -> Drawing:
    return caller.draw(job_type, [claim() for _ in range(count)])


async def drawn_by(drawing: Drawing) -> tuple[list[str], bool]:
    """The jobs that a draw got, and whether it was told that there may be more."""
    drawn, more = await drawing
    return ids(drawn), more


async def draw(caller: Caller, count: int, job_type: str = "mail") -> tuple[list[str], bool]:
    return await drawn_by(submit_draw(caller, count, job_type))


async def left(caller: Caller, job_type: str = "mail") -> list[str]:
    """What can still be drawn."""
    found, _ = await draw(caller, 100, job_type)
    return found


async def test_draw_takes_the_head_of_the_queue_in_order(opener: Opener) -> None:
    caller = opener.committer()
    await caller.submit(*(create(name) for name in "edcba"))
    assert await draw(caller, 2) == (["e", "d"], True)
    assert await draw(caller, 4) == (["c", "b", "a"], False)
    assert await draw(caller, 1) == ([], False)


async def test_each_claim_gets_the_job_in_its_place(opener: Opener) -> None:
    caller = opener.committer()
    await caller.submit(create("a"), create("b"))
    claims = [claim("ann"), claim("bob")]
    drawn, _ = await caller.draw("mail", claims)
    assert [(job.job.runner, job.job.token) for job in drawn] == [
        ("ann", first_token(claims[0])),
        ("bob", first_token(claims[1])),
    ]


async def test_types_have_queues_of_their_own(opener: Opener) -> None:
    caller = opener.committer()
    await caller.submit(create("a", "mail"), create("b", "mail:x"), create("c", "mail"))
    assert await draw(caller, 5, "mail:x") == (["b"], False)
    assert await draw(caller, 5, "post") == ([], False)
    assert await draw(caller, 5, "mail") == (["a", "c"], False)


async def test_draws_of_one_batch_share_a_queue_without_sharing_a_job(
    opener: Opener, proxy: FaultProxy
) -> None:
    caller = opener.committer(proxy.url)
    proxy.fail(Fault.PAUSE)
    created = caller.submit(*(create(f"job-{number}") for number in range(10)))
    await proxy.met()
    draws = [submit_draw(caller, size) for size in (3, 1, 4)]
    other = submit_draw(caller, 2, "post")
    proxy.resume()
    await created
    assert [await drawn_by(drawing) for drawing in (*draws, other)] == [
        (["job-0", "job-1", "job-2"], True),
        (["job-3"], True),
        (["job-4", "job-5", "job-6", "job-7"], True),
        ([], False),
    ]
    assert proxy.commands[b"EXEC"] == 2


async def test_draw_takes_what_its_batch_creates(opener: Opener, proxy: FaultProxy) -> None:
    """The job is claimed in the transaction that creates it, and was never in its queue."""
    caller = opener.committer(proxy.url)
    created = caller.submit(create("a"), create("b"), create("c", "post"))
    drawing = caller.draw("mail", [claim() for _ in range(3)], of_created=True)
    assert told(await created) == ["QUEUED"] * 3
    assert await drawn_by(drawing) == (["a", "b"], False)
    assert proxy.commands[b"EXEC"] == 1
    assert proxy.commands[b"ZRANGE"] == 0
    assert await left(caller, "post") == ["c"]


async def test_jobs_of_one_batch_are_drawn_by_their_priority(opener: Opener) -> None:
    caller = opener.committer()
    created = caller.submit(
        create("plain"),
        create("urgent", terms=Terms(priority=9)),
        create("also urgent", terms=Terms(priority=9)),
        create("idle", terms=Terms(priority=-1)),
    )
    drawing = caller.draw("mail", [claim() for _ in range(3)], of_created=True)
    await created
    assert await drawn_by(drawing) == (["urgent", "also urgent", "plain"], False)


async def test_older_jobs_are_drawn_before_those_of_the_batch(
    opener: Opener, proxy: FaultProxy
) -> None:
    caller = opener.committer(proxy.url)
    await caller.submit(create("old"), create("older", "post"))
    proxy.fail(Fault.PAUSE)
    other = caller.submit(create("other", "post"))
    await proxy.met()
    created = caller.submit(create("new"), create("newer"))
    drawing = submit_draw(caller, 2)
    proxy.resume()
    await asyncio.gather(other, created)
    assert await drawn_by(drawing) == (["old", "new"], False)
    assert await left(caller) == ["newer"]


async def test_what_is_created_is_not_drawn_past_a_queue_that_may_hold_more(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer(proxy.url)
    await caller.submit(create("old"))
    await raw("SET", keys.record("old"), "no record")
    proxy.fail(Fault.PAUSE)
    other = caller.submit(create("other", "post"))
    await proxy.met()
    created = caller.submit(create("new"))
    drawing = submit_draw(caller, 1)
    proxy.resume()
    await asyncio.gather(other, created)
    assert await drawn_by(drawing) == ([], True)
    assert await left(caller) == ["new"]


async def test_nothing_of_a_paused_type_is_drawn_as_it_is_created(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer()
    await raw("SET", keys.settings("mail"), encode_settings(TypeSettings(paused=True)))
    created = caller.submit(create("a"))
    assert await drawn_by(caller.draw("mail", [claim()], of_created=True)) == ([], False)
    assert told(await created) == ["QUEUED"]


async def test_draw_passes_over_what_its_batch_has_taken(opener: Opener, proxy: FaultProxy) -> None:
    caller = opener.committer(proxy.url)
    await caller.submit(*(create(name) for name in "abcdef"))
    proxy.fail(Fault.PAUSE)
    other = caller.submit(create("other", "post"))
    await proxy.met()
    taken = caller.submit(("b", claim()), ("c", Remove()))
    drawing = submit_draw(caller, 4)
    proxy.resume()
    await asyncio.gather(other, taken)
    assert await drawn_by(drawing) == (["a", "d"], True)
    assert await left(caller) == ["e", "f"]


async def test_a_draw_that_leaves_jobs_says_so_though_others_took_its_share(
    opener: Opener, proxy: FaultProxy
) -> None:
    """Whoever is told that the queue holds no more does not come back for the rest."""
    caller = opener.committer(proxy.url)
    await caller.submit(*(create(name) for name in "abcde"))
    proxy.fail(Fault.PAUSE)
    other = caller.submit(create("other", "post"))
    await proxy.met()
    taken = caller.submit(("a", claim()))
    draws = [submit_draw(caller, 2) for _ in range(2)]
    proxy.resume()
    await asyncio.gather(other, taken)
    assert [await drawn_by(drawing) for drawing in draws] == [(["b", "c"], True), (["d"], True)]
    assert await left(caller) == ["e"]


async def test_order_is_kept_by_a_release_and_renewed_by_a_failure(opener: Opener) -> None:
    caller = opener.committer()
    await caller.submit(*(create(name, attempts=2) for name in "abc"))
    claims = [claim("ann"), claim("ann")]
    drawn, _ = await caller.draw("mail", claims)
    assert ids(drawn) == ["a", "b"]
    await caller.submit(
        ("a", Fail("ann", first_token(claims[0]), b"error")),
        ("b", Release("ann", first_token(claims[1]))),
    )
    assert await left(caller) == ["b", "c", "a"]


async def test_a_long_queue_is_read_for_several_draws(opener: Opener, proxy: FaultProxy) -> None:
    caller = opener.committer(proxy.url)
    await caller.submit(*(create(f"j{n}") for n in range(50)))
    assert await draw(caller, 5) == ([f"j{n}" for n in range(5)], True)
    assert await draw(caller, 5) == ([f"j{n}" for n in range(5, 10)], True)
    asked = proxy.commands[b"ZRANGE"]
    claims = [claim("ann") for _ in range(5)]
    drawn, more = await caller.draw("mail", claims)
    assert (ids(drawn), more) == ([f"j{n}" for n in range(10, 15)], True)
    assert proxy.commands[b"ZRANGE"] == asked
    await caller.submit(("j12", Release("ann", first_token(claims[2]))), ("j17", Remove()))
    assert await left(caller) == ["j12", "j15", "j16", *(f"j{n}" for n in range(18, 50))]


async def test_what_was_read_of_a_queue_is_claimed_by_its_record_alone(
    opener: Opener, proxy: FaultProxy
) -> None:
    caller, other = opener.committer(proxy.url), opener.committer()
    await caller.submit(*(create(f"j{n}") for n in range(50)))
    for _ in range(2):
        await draw(caller, 5)
    await other.submit(("j11", claim("bob")), ("j12", Remove()))
    asked = proxy.commands[b"ZRANGE"]
    assert await draw(caller, 5) == (["j10", "j13", "j14"], True)
    assert proxy.commands[b"ZRANGE"] == asked
    assert await left(caller) == [f"j{n}" for n in range(15, 50)]


async def test_bodies_apart_arrive_with_a_draw(opener: Opener, proxy: FaultProxy) -> None:
    caller = opener.committer(proxy.url)
    bodies = [bytes([number]) * 1_000 for number in range(3)]
    await caller.submit(*(create(f"job-{n}", body=body) for n, body in enumerate(bodies)))
    drawn, _ = await caller.draw("mail", [claim(), claim()])
    assert [applied.job.body for applied in drawn] == bodies[:2]
    proxy.fail(Fault.SWALLOW_ANSWER)
    [last], _ = await caller.draw("mail", [claim()])
    assert last.job.body == bodies[2]


async def test_bytes_that_one_draw_brings_have_a_bound(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "MAX_DRAWN_BYTES", 2_500)
    caller = opener.committer()
    await caller.submit(*(create(f"job-{number}", body=bytes(1_000)) for number in range(5)))
    assert await draw(caller, 4) == (["job-0", "job-1", "job-2"], True)
    assert await draw(caller, 4) == (["job-3", "job-4"], False)


async def test_a_draw_that_its_bytes_cut_short_says_that_there_is_more(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "MAX_DRAWN_BYTES", 1_500)
    caller = opener.committer()
    await caller.submit(*(create(f"job-{number}", body=bytes(1_000)) for number in range(3)))
    assert await draw(caller, 10) == (["job-0", "job-1"], True)
    assert await draw(caller, 10) == (["job-2"], False)


async def test_a_new_job_in_the_queue_disturbs_no_draw(opener: Opener, proxy: FaultProxy) -> None:
    caller, other = opener.committer(proxy.url), opener.committer()
    await caller.submit(create("a"), create("b"))
    proxy.fail(Fault.PAUSE)
    drawing = submit_draw(caller, 3)
    await proxy.met()
    await other.submit(create("c"))
    proxy.resume()
    assert await drawn_by(drawing) == (["a", "b"], False)
    assert caller.committer.conflicts == 0


async def test_a_job_that_another_broker_took_is_drawn_by_one_only(
    opener: Opener, proxy: FaultProxy
) -> None:
    caller, other = opener.committer(proxy.url), opener.committer()
    await caller.submit(*(create(name) for name in "abc"))
    proxy.fail(Fault.PAUSE)
    drawing = submit_draw(caller, 2)
    await proxy.met()
    assert await draw(other, 1) == (["a"], True)
    proxy.resume()
    assert await drawn_by(drawing) == (["b", "c"], True)
    assert caller.committer.conflicts == 1


async def test_draw_that_is_disturbed_again_and_again_is_divided(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys
) -> None:
    """Answered once, each claim with another job, the first claim with the first."""
    caller = opener.committer(proxy.url)
    await caller.submit(*(create(f"job-{number}") for number in range(8)))
    disturbed: list[int] = []

    async def disturb(transaction: list[list[bytes]]) -> None:
        records = written(transaction)
        disturbed.append(len(records))
        if len(records) > 1:
            await raw("SET", records[0], await raw("GET", records[0]))

    proxy.before_exec = disturb
    claims = [claim(f"client-{number}") for number in range(4)]
    drawn, more = await caller.draw("mail", claims)
    assert ids(drawn) == ["job-0", "job-1", "job-2", "job-3"]
    assert [applied.job.runner for applied in drawn] == [f"client-{n}" for n in range(4)]
    assert more
    assert disturbed == [4, 4, 2, 2, 1, 1, 2, 2, 1, 1]
    proxy.before_exec = None
    assert await left(caller) == ["job-4", "job-5", "job-6", "job-7"]
    (await Contents.read(raw, keys)).check(keys)


async def test_what_no_longer_belongs_into_the_queue_is_passed_over(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    """Entries that no record asks for cost nobody his job."""
    caller = opener.committer()
    await caller.submit(create("taken"), create("other", "post"), create("good"))
    await caller.submit(("taken", claim()))
    for member in ("gone", "taken", "other"):
        await raw("ZADD", keys.queue("mail"), 0, queue_member(0, member))
    assert (await draw(caller, 4))[0] == ["good"]
    assert await left(caller, "post") == ["other"]


async def test_entry_of_the_queue_that_names_no_job_harms_nobody(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer()
    await caller.submit(create("good"))
    for member in (b"", b"short", queue_member(0, "") + b"\xff"):
        await raw("ZADD", keys.queue("mail"), 0, member)
    assert (await draw(caller, 5))[0] == ["good"]


async def test_corrupt_record_is_passed_over(opener: Opener, raw: Raw, keys: PartitionKeys) -> None:
    caller = opener.committer()
    await caller.submit(create("bad"), create("good"))
    await raw("SET", keys.record("bad"), "no record")
    assert (await draw(caller, 2))[0] == ["good"]
    assert await raw("GET", keys.record("bad")) == b"no record"


@pytest.mark.parametrize("size", [1, 2])
async def test_what_can_not_be_drawn_does_not_block_the_queue(
    opener: Opener, raw: Raw, keys: PartitionKeys, size: int
) -> None:
    """However many broken entries are at its head: a runner asks as long as there may be more."""
    caller = opener.committer()
    await caller.submit(*(create(f"bad-{number}") for number in range(size)), create("good"))
    for number in range(size):
        await raw("SET", keys.record(f"bad-{number}"), "no record")
    found: list[str] = []
    more = True
    for _ in range(10):
        if more:
            drawn, more = await draw(caller, 1)
            found += drawn
    assert found == ["good"]
    assert not more


async def test_record_that_can_not_be_claimed_is_passed_over(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    """A job that the machine stumbles over keeps nobody from the next."""
    caller = opener.committer()
    await caller.submit(create("odd"), create("good"))
    found = await Contents.read(raw, keys)
    odd = replace(found.jobs["odd"], fence="many")
    await raw("SET", keys.record("odd"), encode_job(odd))
    assert (await draw(caller, 2))[0] == ["good"]

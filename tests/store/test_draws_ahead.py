"""The head of a queue, looked at behind one transaction and drawn from by the next."""

from packhorse_broker.jobs.commands import Cancel
from packhorse_broker.jobs.terms import Terms
from packhorse_broker.store import candidates
from packhorse_broker.store.keys import PartitionKeys
from tests.store.test_committer_draws import draw, left
from tests.support.commands import create
from tests.support.inspection import Contents, Raw
from tests.support.opening import Caller, Opener
from tests.support.proxy import Fault, FaultProxy

JOBS = [f"job-{number:02}" for number in range(40)]


async def drawn_from(opener: Opener, url: str | None = None) -> Caller:
    """One whose queue holds all jobs but the first two, and was looked at behind those."""
    caller = opener.committer(url)
    await caller.submit(*map(create, JOBS))
    assert await draw(caller, 2) == (JOBS[:2], True)
    return caller


async def test_a_queue_is_looked_at_behind_the_draw_before(
    opener: Opener, proxy: FaultProxy
) -> None:
    caller = await drawn_from(opener, proxy.url)
    asked = proxy.commands[b"ZRANGE"]
    # The head, other priorities, and the head behind the transaction.
    assert asked == 3
    for first in (2, 4, 6):
        assert await draw(caller, 2) == (JOBS[first : first + 2], True)
    assert proxy.commands[b"ZRANGE"] == asked + 3


async def test_a_larger_draw_looks_for_itself(opener: Opener) -> None:
    caller = await drawn_from(opener)
    assert await draw(caller, 30) == (JOBS[2:32], True)
    assert await draw(caller, 30) == (JOBS[32:], False)


async def test_what_others_took_since_is_not_missed(
    opener: Opener, raw: Raw, keys: PartitionKeys
) -> None:
    """Draws large enough for nothing else of theirs to be read ahead."""
    caller, other = opener.committer(), opener.committer()
    await caller.submit(*map(create, JOBS))
    assert await draw(caller, 6) == (JOBS[:6], True)
    assert await draw(other, 20) == (JOBS[6:26], True)
    assert await draw(caller, 6) == (JOBS[26:32], True)
    assert await draw(other, 5) == (JOBS[32:37], True)
    assert await draw(caller, 6) == (JOBS[37:], False)
    assert await draw(caller, 6) == ([], False)
    (await Contents.read(raw, keys)).check(keys)


async def test_what_was_cancelled_elsewhere_since_is_passed_over(opener: Opener) -> None:
    caller, other = await drawn_from(opener), opener.committer()
    await other.submit(*((job_id, Cancel("ann")) for job_id in JOBS[2:20]))
    assert await draw(caller, 3) == (JOBS[20:23], True)


async def test_an_urgent_job_of_this_broker_is_not_behind_what_was_looked_at(
    opener: Opener,
) -> None:
    caller = await drawn_from(opener)
    await caller.submit(create("urgent", terms=Terms(priority=5)))
    assert await draw(caller, 2) == (["urgent", JOBS[2]], True)


async def test_what_was_looked_at_long_ago_is_looked_at_again(opener: Opener) -> None:
    caller, other = await drawn_from(opener), opener.committer()
    await other.submit(create("urgent", terms=Terms(priority=5)))
    opener.clock.forward(candidates.AHEAD_MS + 1)
    assert await draw(caller, 2) == (["urgent", JOBS[2]], True)


async def test_a_connection_that_is_lost_behind_a_draw_loses_no_job(
    opener: Opener, proxy: FaultProxy
) -> None:
    caller = await drawn_from(opener, proxy.url)
    proxy.fail(Fault.CUT_IN_ANSWER)
    assert await draw(caller, 2) == (JOBS[2:4], True)
    assert await left(caller) == JOBS[4:]


async def test_what_was_looked_at_on_a_connection_that_is_lost_is_looked_at_again(
    opener: Opener, proxy: FaultProxy
) -> None:
    caller, other = await drawn_from(opener, proxy.url), opener.committer()
    await other.submit(create("urgent", terms=Terms(priority=5)))
    proxy.cut()
    assert await draw(caller, 2) == (["urgent", JOBS[2]], True)

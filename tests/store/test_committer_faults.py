"""Group commit while others interfere, answers are lost, and the store comes and goes."""

import asyncio
import random
from collections.abc import Sequence
from functools import partial

import pytest

from packhorse_broker.jobs.commands import Complete, Fail, Remove
from packhorse_broker.jobs.model import Applied, Refusal, RefusalCode, State
from packhorse_broker.store import committer as committing
from packhorse_broker.store.changes import Change
from packhorse_broker.store.embedded import EmbeddedStore
from packhorse_broker.store.errors import StoreUnavailable
from packhorse_broker.store.keys import PartitionKeys
from packhorse_broker.store.work import Failed, Result
from tests.support.commands import claim, create, first_token
from tests.support.inspection import Contents, Raw
from tests.support.opening import Opener
from tests.support.proxy import Fault, FaultProxy, written


async def states(raw: Raw, keys: PartitionKeys) -> dict[str, State]:
    """All jobs in the store, after a check that records and indexes agree."""
    found = await Contents.read(raw, keys)
    found.check(keys)
    return {job_id: job.state for job_id, job in found.jobs.items()}


def unavailable(result: Result) -> bool:
    return isinstance(result, Failed) and isinstance(result.error, StoreUnavailable)


class Meddler:
    """Touches a job's record whenever a transaction on it is about to be executed."""

    def __init__(
        self, raw: Raw, keys: PartitionKeys, job: str, *, spare_lone: bool = False
    ) -> None:
        self.meddled = 0
        self.stopped = False
        self._raw = raw
        self._record = keys.record(job)
        self._spare_lone = spare_lone

    async def __call__(self, transaction: list[list[bytes]]) -> None:
        records = written(transaction)
        spared = self._spare_lone and len(records) == 1
        if self.stopped or spared or self._record not in records:
            return
        self.meddled += 1
        await self._raw("SET", self._record, await self._raw("GET", self._record))


def _note(answered: list[str], name: str, _: object) -> None:
    answered.append(name)


# -- conflicts


async def test_a_batch_that_was_disturbed_is_decided_again(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys
) -> None:
    caller, other = opener.committer(proxy.url), opener.committer()
    await caller.submit(create("a"), create("b"))
    proxy.fail(Fault.PAUSE)
    claiming = caller.submit(("a", claim("ann")), ("b", claim("ann")))
    await proxy.met()
    assert isinstance(await other.ask("a", claim("bob")), Applied)
    proxy.resume()
    late, fine = await claiming
    assert late == Refusal(RefusalCode.WRONG_STATE, "the job is STARTED", State.STARTED)
    assert isinstance(fine, Applied)
    assert caller.committer.conflicts == 1
    assert (await Contents.read(raw, keys)).jobs["a"].runner == "bob"


async def test_record_that_comes_or_goes_is_a_change_too(opener: Opener, proxy: FaultProxy) -> None:
    caller, other = opener.committer(proxy.url), opener.committer()
    await other.submit(create("b"))
    proxy.fail(Fault.PAUSE)
    asking = caller.submit(create("a"), ("b", claim()))
    await proxy.met()
    await other.submit(create("a"), ("b", Remove()))
    proxy.resume()
    created, claimed = await asking
    assert isinstance(created, Refusal)
    assert created.code is RefusalCode.CONFLICT
    assert isinstance(claimed, Refusal)
    assert claimed.code is RefusalCode.NOT_FOUND


async def test_contended_job_does_not_starve_its_neighbours(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer(proxy.url)
    names = [f"job-{number}" for number in range(20)]
    await caller.submit(*(create(name) for name in names))
    meddler = Meddler(raw, keys, "job-7")
    proxy.before_exec = meddler
    proxy.fail(Fault.PAUSE)
    first = caller.submit(create("first"))
    await proxy.met()
    answered: list[str] = []
    waiting = {name: caller.submit((name, claim())) for name in names}
    for name, future in waiting.items():
        future.add_done_callback(partial(_note, answered, name))
    hot = waiting.pop("job-7")
    last = caller.submit(("job-19", Remove()), ("job-18", Remove()))
    proxy.resume()
    before = [waiting[name] for name in names[:7]]
    await asyncio.gather(first, *before)
    assert not hot.done()
    assert meddler.meddled >= 2
    meddler.stopped = True
    await asyncio.gather(hot, last, *waiting.values())
    assert answered == names, "answers come in the order of the questions"
    found = await states(raw, keys)
    assert set(found) == {"first", *names[:18]}


async def test_job_that_never_rests_is_given_up_alone(
    opener: Opener,
    proxy: FaultProxy,
    raw: Raw,
    keys: PartitionKeys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(committing, "MAX_CONFLICTS", 5)
    caller = opener.committer(proxy.url)
    await caller.submit(*(create(name) for name in "abcde"))
    meddler = Meddler(raw, keys, "b")
    proxy.before_exec = meddler
    results = await caller.submit(*((name, claim()) for name in "abcde"))
    assert [unavailable(result) for result in results] == [False, True, False, False, False]
    assert meddler.meddled == 2 + 2 + 5, "twice in all five, twice in two, five times alone"
    assert (await states(raw, keys))["b"] is State.QUEUED


async def test_failure_within_a_divided_batch_answers_each_once(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys
) -> None:
    def publish(changes: Sequence[Change]) -> bytes | None:
        if [change.job.id for change in changes] == ["d"]:
            raise RuntimeError("no notice")
        return None

    caller = opener.committer(proxy.url, publish=publish)
    await caller.submit(*(create(name) for name in "abcd"))
    proxy.before_exec = Meddler(raw, keys, "c", spare_lone=True)
    proxy.fail(Fault.PAUSE)
    first = caller.submit(create("first"))
    await proxy.met()
    asked = [caller.submit((name, claim())) for name in "abcd"]
    proxy.resume()
    await first
    *fine, [failed] = await asyncio.gather(*asked)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, RuntimeError)
    for [result] in fine:
        assert isinstance(result, Applied)
    await caller.submit(("none", Remove()))
    assert caller.answers == [1] * 7
    assert (await states(raw, keys))["d"] is State.QUEUED


# -- the unknown outcome


@pytest.mark.parametrize(
    "fault", [Fault.SWALLOW_ANSWER, Fault.CUT_IN_ANSWER, Fault.CUT_BEFORE, Fault.HOLD]
)
async def test_every_caller_is_answered_once_though_the_answer_was_lost(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys, fault: Fault
) -> None:
    caller = opener.committer(proxy.url)
    claims = [claim(), claim()]
    await caller.submit(create("a"), create("b", handler="bob"), create("c"))
    await caller.submit(("a", claims[0]), ("b", claims[1]))
    proxy.fail(Fault.PAUSE, fault)
    first = caller.submit(create("first"))
    await proxy.met()
    asked = [
        caller.submit(("a", Complete("ann", first_token(claims[0]), b"result"))),
        caller.submit(create("d")),
        caller.submit(("c", Remove())),
        caller.submit(("b", Fail("ann", first_token(claims[1]), b"error"))),
        caller.submit(("none", Remove())),
    ]
    drawing = caller.draw("mail", [claim() for _ in range(3)])
    proxy.resume()
    await asyncio.gather(first, drawing, *asked)
    assert await proxy.met() is fault
    if fault is Fault.HOLD:
        assert await proxy.deliver() is None
    drawn, _ = drawing.result()
    assert [applied.job.id for applied in drawn] == ["first", "d"]
    assert caller.answers == [1] * 9
    assert await states(raw, keys) == {
        "b": State.FAILED,
        "d": State.STARTED,
        "first": State.STARTED,
    }
    assert len(opener.committed) == 3 + 2 + 1 + 5


async def test_answers_lost_again_and_again(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys
) -> None:
    """Forty jobs are created, claimed and completed while half of all transactions are harmed."""
    chance = random.Random(7)
    harm = (Fault.SWALLOW_ANSWER, Fault.CUT_IN_ANSWER, Fault.CUT_BEFORE, Fault.HOLD)
    proxy.fail(*(chance.choice(harm) for _ in range(20)))

    async def some_faults(_: object) -> Fault | None:
        return chance.choice((None, None, *harm[:3]))

    proxy.before_exec = some_faults
    caller = opener.committer(proxy.url)

    async def live(name: str) -> None:
        created = await caller.applied(*create(name, handler="bob"))
        assert created.job.version == 1
        claimed = claim()
        held = await caller.applied(name, claimed)
        assert held.job.token == first_token(claimed)
        done = await caller.applied(name, Complete("ann", first_token(claimed), name.encode()))
        assert (done.job.version, done.job.outcome) == (3, name.encode())

    names = {f"job-{number}" for number in range(40)}
    await asyncio.gather(*map(live, names))
    found = await states(raw, keys)
    assert found == dict.fromkeys(names, State.COMPLETE)
    assert set(caller.answers) == {1}


async def test_type_of_a_job_is_told_by_the_transaction_that_was_applied(
    opener: Opener, proxy: FaultProxy
) -> None:
    caller = opener.committer(proxy.url)
    proxy.fail(Fault.CUT_BEFORE, Fault.SWALLOW_ANSWER)
    await caller.submit(create("a"))
    await caller.submit(create("b"))
    assert [transaction[-2][0] for transaction in proxy.transactions] == [
        b"SADD",
        b"SADD",
        b"HINCRBY",
    ]
    assert await opener.reader().types() == ["mail"]


# -- a store that is away or refuses


async def test_store_that_comes_back_in_time_costs_nobody_his_answer(
    opener: Opener, proxy: FaultProxy
) -> None:
    caller = opener.committer(proxy.url)
    proxy.refusing = True
    creating = caller.submit(create("a"))
    for _ in range(3):
        await proxy.refused()
    assert not creating.done()
    proxy.refusing = False
    [created] = await creating
    assert isinstance(created, Applied)


async def test_store_that_stays_away_is_told_as_unavailable(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer(proxy.url, wait_ms=100)
    proxy.refusing = True
    results = await caller.submit(create("a"), ("b", Remove()))
    assert [unavailable(result) for result in results] == [True, True]
    assert await caller.draw("mail", [claim()]) == ([], True)
    proxy.refusing = False
    assert isinstance(await caller.ask(*create("c")), Applied)
    assert set(await states(raw, keys)) == {"c"}


async def test_store_without_memory_refuses_and_recovers(
    own_store: EmbeddedStore, own_raw: Raw, opener: Opener, keys: PartitionKeys
) -> None:
    caller = opener.committer(own_store.url, wait_ms=100)
    await own_raw("CONFIG", "SET", "maxmemory", 1)
    assert unavailable(await caller.ask(*create("a")))
    await own_raw("CONFIG", "SET", "maxmemory", 0)
    assert isinstance(await caller.ask(*create("b")), Applied)
    assert set(await states(own_raw, keys)) == {"b"}


@pytest.mark.parametrize("fault", [Fault.SWALLOW_ANSWER, Fault.CUT_BEFORE])
async def test_nobody_waits_for_ever_for_an_outcome_that_can_not_be_told(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys, fault: Fault
) -> None:
    caller = opener.committer(proxy.url, wait_ms=100)

    async def go_away(_: object) -> Fault:
        proxy.refusing = True
        return fault

    proxy.before_exec = go_away
    unknown = caller.submit(create("a"))
    await proxy.met()
    proxy.before_exec = None
    assert unavailable(await caller.ask(*create("b")))
    assert await caller.draw("mail", [claim()]) == ([], True)
    [result] = await unknown
    assert unavailable(result)
    proxy.refusing = False
    while unavailable(await caller.ask(*create("c"))):
        """Until it is known what came of the first one."""
    assert set(caller.answers) == {1}
    assert set(await states(raw, keys)) == {"a", "c"}


async def test_an_outcome_in_doubt_is_waited_for_by_who_claims_and_who_only_waits(
    opener: Opener, proxy: FaultProxy
) -> None:
    """A claim that nobody learns of would be held for nothing."""
    caller = opener.committer(proxy.url, wait_ms=100)
    await caller.submit(create("a"), create("b"))

    async def go_away(_: object) -> Fault:
        proxy.refusing = True
        return Fault.SWALLOW_ANSWER

    proxy.fail(Fault.PAUSE)
    first = caller.submit(create("first"))
    await proxy.met()
    proxy.before_exec = go_away
    claimed = caller.submit(("a", claim()))
    waiting = caller.submit()
    ended = caller.submit(("b", Remove()))
    proxy.resume()
    await first
    await proxy.met()
    proxy.before_exec = None
    [result] = await ended
    assert unavailable(result)
    assert not claimed.done()
    assert not waiting.done()
    proxy.refusing = False
    [granted] = await claimed
    assert isinstance(granted, Applied)
    assert await waiting == []
    assert caller.answers == [1] * 5


@pytest.mark.parametrize("fault", [Fault.SWALLOW_ANSWER, Fault.CUT_BEFORE])
async def test_closing_answers_everybody_though_the_outcome_can_not_be_told(
    opener: Opener, proxy: FaultProxy, fault: Fault
) -> None:
    """The store went away around EXEC and stays away: closing waits a while, then says so."""
    caller = opener.committer(proxy.url, wait_ms=100)

    async def stay_away(_: object) -> Fault:
        proxy.refusing = True
        return fault

    await caller.submit(create("a"))
    proxy.before_exec = stay_away
    asked = [caller.submit(create("b"))]
    await proxy.met()
    asked += [caller.submit(create("c")), caller.submit(create("d"))]
    drawing = caller.draw("mail", [claim()])
    await caller.committer.close()
    assert drawing.result() == ([], True)
    for future in asked:
        [result] = future.result()
        assert isinstance(result, Failed)
    assert caller.answers == [1] * 5


async def test_closing_answers_the_rest_of_a_divided_batch(
    opener: Opener, proxy: FaultProxy, raw: Raw, keys: PartitionKeys
) -> None:
    caller = opener.committer(proxy.url, wait_ms=100)
    await caller.submit(create("a"), create("b"), create("c"))
    disturb = Meddler(raw, keys, "a", spare_lone=True)

    async def disturb_then_stay_away(transaction: list[list[bytes]]) -> Fault | None:
        await disturb(transaction)
        if len(written(transaction)) > 1:
            return None
        proxy.refusing = True
        return Fault.CUT_BEFORE

    proxy.before_exec = disturb_then_stay_away
    asked = caller.submit(*((name, claim()) for name in "abc"))
    await proxy.met()
    await caller.committer.close()
    assert [unavailable(result) for result in asked.result()] == [True] * 3
    assert caller.answers == [1, 1]

"""Two things at once, each time in the order that hurts: the test holds one of them back."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from packhorse_broker.broker import Broker
from packhorse_broker.store.reader import Found
from packhorse_protocol.messages import (
    Bye,
    ClaimJobs,
    Claims,
    Create,
    Done,
    Events,
    Handled,
    Info,
    NewJob,
    Ok,
    Outcomes,
    Remove,
    Take,
    Watch,
)
from tests.support.brokers import Brokers, at_rest, until
from tests.support.proxy import Fault, FaultProxy
from tests.support.requests import complete, count, create, get, names, release, take


class Gate:
    """Holds back what a broker reads: it has left the store, and has not arrived yet."""

    def __init__(self, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = asyncio.Event()
        self._open = asyncio.Event()
        self._read = broker.parts.reader.records
        monkeypatch.setattr(broker.parts.reader, "records", self._records)

    async def _records(self, ids: Sequence[str]) -> list[Found]:
        found = await self._read(ids)
        self.reached.set()
        await self._open.wait()
        return found

    def open(self) -> None:
        """Lets everything through from now on."""
        self._open.set()


@pytest.fixture
async def proxy(store_url: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(store_url) as opened:
        yield opened


# -- what a runner holds


@pytest.mark.parametrize("size", [10, 2_000])
async def test_a_claim_that_ends_while_a_resume_reads_it_is_over(
    brokers: Brokers, broker: Broker, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """What a client does first after coming back: it reports what it did in the meantime."""
    first = await brokers.connect(broker, "r")
    await create(first, "a", "b", "c", payload=bytes(size), attempts=2)
    a, b = await first.ask(ClaimJobs, jobs=("a", "b"))
    await first.abort()
    gate = Gate(broker, monkeypatch)
    again = await brokers.connect(broker, "r", secret=first.welcome.secret)
    await gate.reached.wait()
    await complete(again, a)
    gate.open()
    await at_rest(broker)
    # It does not come again, and takes up no room.
    assert names(await again.claims(1)) == ["b"]
    await take(again, 2)
    assert names(await again.claims(1)) == ["c"]
    assert not again.kept(Claims)
    assert b.job == "b"


async def test_a_claim_that_ends_while_it_is_compared_with_the_store_is_over(
    brokers: Brokers, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = await brokers.connect(broker)
    await create(runner, "a", "b", attempts=2)
    await take(runner, 1)
    [a] = await runner.claims(1)
    gate = Gate(broker, monkeypatch)
    broker.parts.fanout.missed()
    await gate.reached.wait()
    await complete(runner, a)
    gate.open()
    await at_rest(broker)
    assert names(await runner.claims(1)) == ["b"]
    await runner.ask(Info)
    assert not runner.kept(Claims)


async def test_a_claim_that_is_made_while_a_resume_reads_comes_once(
    brokers: Brokers, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await brokers.connect(broker, "r")
    await create(first, *"abc")
    await first.ask(ClaimJobs, jobs=("a",))
    gate = Gate(broker, monkeypatch)
    again = await brokers.connect(broker, "r", secret=first.welcome.secret)
    await gate.reached.wait()
    [b] = await again.ask(ClaimJobs, jobs=("b",))
    await again.ask(Take, types={"t": 3}, credit=3)
    gate.open()
    await at_rest(broker)
    claims = await again.claims(2)
    assert sorted(names(claims)) == ["a", "c"]
    await again.ask(Info)
    assert not again.kept(Claims)
    await complete(again, b, *claims)
    assert await count(again, "STARTED") == 0


# -- a connection that is lost between a draw and its push


async def test_a_claim_drawn_for_a_connection_that_was_lost_goes_back(
    brokers: Brokers, proxy: FaultProxy
) -> None:
    """At once: neither a timeout is waited for nor an attempt spent."""
    broker = await brokers.start(store_url=proxy.url)
    creator, runner, other = [await brokers.connect(broker) for _ in range(3)]
    await create(creator, *"abc", attempts=1)
    proxy.fail(Fault.PAUSE)
    await take(runner, 3)
    await proxy.met()
    await runner.abort()
    await until(lambda: broker.sessions.get(runner.id) is None)
    await other.ask(Take, types={"t": 3}, credit=3)
    proxy.resume()
    claims = await other.claims(3)
    assert names(claims) == ["a", "b", "c"]
    assert [claim.attempt for claim in claims] == [1, 1, 1]
    view = await get(creator, "a")
    assert (view.lost, view.failed, view.runner) == (0, 0, other.id)


async def test_a_claim_drawn_for_a_connection_that_was_replaced_comes_to_the_new_one(
    brokers: Brokers, proxy: FaultProxy
) -> None:
    broker = await brokers.start(store_url=proxy.url)
    creator, runner = await brokers.connect(broker), await brokers.connect(broker, "r")
    await create(creator, *"abc")
    proxy.before_exec = _only_draws
    await take(runner, 3)
    await proxy.met()
    proxy.before_exec = None
    again = await brokers.connect(broker, "r", secret=runner.welcome.secret)
    assert again.welcome.resumed
    proxy.resume()
    claims = await again.claims(3)
    assert names(claims) == ["a", "b", "c"]
    await again.ask(Info)
    assert not again.kept(Claims)
    await take(again, 3)
    await release(again, *claims)
    assert names(await again.claims(3)) == ["a", "b", "c"]


async def _only_draws(transaction: list[list[bytes]]) -> Fault | None:
    claimed = any(command[0] == b"ZADD" and b":s:" in command[1] for command in transaction)
    return Fault.PAUSE if claimed else None


async def test_a_claim_drawn_for_one_that_says_bye_is_not_lost(
    brokers: Brokers, proxy: FaultProxy
) -> None:
    broker = await brokers.start(store_url=proxy.url)
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(creator, *"abc", attempts=2)
    proxy.fail(Fault.PAUSE)
    await take(runner, 3)
    await proxy.met()
    bye = runner.begin(Bye)
    await until(lambda: broker.sessions.get(runner.id) is None)
    proxy.resume()
    await runner.answer(bye)
    other = await brokers.connect(broker)
    await take(other, 3)
    assert names(await other.claims(3)) == ["a", "b", "c"]


async def test_who_takes_nothing_more_is_answered_when_no_claim_can_come(
    brokers: Brokers, proxy: FaultProxy
) -> None:
    broker = await brokers.start(store_url=proxy.url)
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(creator, *"abc", attempts=1)
    proxy.fail(Fault.PAUSE)
    await take(runner, 3)
    await proxy.met()
    enough = runner.begin(Take, types={}, credit=0)
    info = runner.begin(Info)
    assert isinstance(await runner.answer(info), Ok)  # the other one could have been, too
    proxy.resume()
    answer = await runner.next()
    assert isinstance(answer, Ok)
    assert answer.id == enough
    assert await runner.ask(Bye) == (Done(),)
    await take(creator, 3)
    assert [(claim.job, claim.attempt) for claim in await creator.claims(3)] == [
        ("a", 1),
        ("b", 1),
        ("c", 1),
    ]


async def test_who_takes_again_is_not_kept_waiting(brokers: Brokers, proxy: FaultProxy) -> None:
    broker = await brokers.start(store_url=proxy.url)
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(creator, "a")
    proxy.fail(Fault.PAUSE)
    await take(runner, 3)
    await proxy.met()
    takes = [runner.begin(Take, types={}, credit=0) for _ in range(2)]
    takes.append(runner.begin(Take, types={"t": 1}, credit=1))
    for number in takes:
        assert isinstance(await runner.answer(number), Ok)
    proxy.resume()
    assert names(await runner.claims(1)) == ["a"]
    last = runner.begin(Take, types={}, credit=0)
    assert isinstance(await runner.answer(last), Ok)


async def test_a_claim_by_id_for_a_connection_that_was_lost_goes_back(
    brokers: Brokers, proxy: FaultProxy
) -> None:
    broker = await brokers.start(store_url=proxy.url)
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(creator, "a", attempts=1)
    proxy.fail(Fault.PAUSE)
    runner.begin(ClaimJobs, jobs=("a",))
    await proxy.met()
    await runner.abort()
    await until(lambda: broker.sessions.get(runner.id) is None)
    proxy.resume()
    await take(creator, 1)
    [claim] = await creator.claims(1)
    assert claim.attempt == 1


async def test_jobs_that_come_while_a_draw_is_under_way_are_not_forgotten(
    brokers: Brokers, proxy: FaultProxy
) -> None:
    broker = await brokers.start(store_url=proxy.url)
    creator, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(creator, "a")
    proxy.fail(Fault.PAUSE)
    await take(runner, 5)
    await proxy.met()
    later = creator.begin(Create, jobs=(NewJob(type="t", id="b"),))
    await until(lambda: broker.parts.committer.waiting > 0)
    proxy.resume()
    await creator.answer(later)
    assert names(await runner.claims(2)) == ["a", "b"]


async def test_one_that_says_bye_while_connections_are_compared_is_answered(
    brokers: Brokers, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaver = await brokers.connect(broker)
    reached, opened = asyncio.Event(), asyncio.Event()
    ask = broker._registry.newest_connections

    async def delayed(clients: Sequence[str]) -> dict[str, str | None]:
        reached.set()
        await opened.wait()
        return await ask(clients)

    monkeypatch.setattr(broker._registry, "newest_connections", delayed)
    sweep = asyncio.create_task(broker.parts.sweeper.sweep())
    await reached.wait()
    bye = leaver.begin(Bye)
    await until(lambda: broker.sessions.get(leaver.id) is None)
    opened.set()
    await sweep
    assert (await leaver.answer(bye)).id == bye
    assert await leaver.ended() == []


# -- what a handler is owed


async def test_an_outcome_that_is_handled_while_it_is_read_does_not_come_again(
    brokers: Brokers, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, runner = await brokers.connect(broker, "h"), await brokers.connect(broker)
    await create(first, "a", "b", handle=True)
    await complete(runner, *await runner.ask(ClaimJobs, jobs=("a", "b")))
    await first.outcomes(2)
    await first.abort()
    gate = Gate(broker, monkeypatch)
    again = await brokers.connect(broker, "h", secret=first.welcome.secret)
    await gate.reached.wait()
    await again.ask(Handled, jobs=("a",))
    gate.open()
    await at_rest(broker)
    assert [outcome.job for outcome in await again.outcomes(1)] == ["b"]
    await again.ask(Info)
    assert not again.kept(Outcomes)


async def test_an_outcome_that_comes_while_others_are_read_comes_once(
    brokers: Brokers, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, runner = await brokers.connect(broker, "h"), await brokers.connect(broker)
    await create(first, *"abc", handle=True)
    claims = await runner.ask(ClaimJobs, jobs=("a", "b", "c"))
    await complete(runner, claims[0])
    await first.abort()
    gate = Gate(broker, monkeypatch)
    again = await brokers.connect(broker, "h", secret=first.welcome.secret)
    await gate.reached.wait()
    await complete(runner, claims[1], result=b"small")
    await complete(runner, claims[2], result=bytes(2_000))
    gate.open()
    outcomes = await again.outcomes(3)
    assert sorted(outcome.job for outcome in outcomes) == ["a", "b", "c"]
    await at_rest(broker)
    await again.ask(Info)
    assert not again.kept(Outcomes)


# -- what a watcher sees


async def test_a_change_while_a_watch_begins_is_told(
    brokers: Brokers, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(runner, "a", persistent=True)
    gate = Gate(broker, monkeypatch)
    request = watcher.begin(Watch, jobs=("a",))
    await gate.reached.wait()
    [claim] = await runner.ask(ClaimJobs, jobs=("a",))
    gate.open()
    await watcher.answer(request)
    await complete(runner, claim)
    events = await watcher.events("a", lambda event: event.state == "COMPLETE")
    assert [event.version for event in events] == sorted({event.version for event in events})


async def test_a_removal_while_a_watch_begins_is_told(
    brokers: Brokers, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher, admin = await brokers.connect(broker), await brokers.connect(broker)
    await create(admin, "a")
    gate = Gate(broker, monkeypatch)
    request = watcher.begin(Watch, jobs=("a",))
    await gate.reached.wait()
    await admin.ask(Remove, jobs=("a",))
    gate.open()
    await watcher.answer(request)
    await watcher.events("a", lambda event: event.removed)
    # Another job of that id is not watched.
    await create(admin, "a")
    await admin.ask(ClaimJobs, jobs=("a",))
    await at_rest(broker)
    await watcher.ask(Info)
    assert not watcher.kept(Events)


async def test_an_older_look_does_not_overtake_a_newer_event(
    brokers: Brokers, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher, runner = await brokers.connect(broker), await brokers.connect(broker)
    await create(runner, "a", persistent=True)
    await watcher.ask(Watch, jobs=("a",))
    gate = Gate(broker, monkeypatch)
    broker.parts.fanout.missed()
    await gate.reached.wait()
    [claim] = await runner.ask(ClaimJobs, jobs=("a",))
    await watcher.events("a", lambda event: event.state == "STARTED")
    gate.open()
    await at_rest(broker)
    await complete(runner, claim)
    [event] = await watcher.events("a", lambda event: event.state == "COMPLETE")
    assert event.version == 3

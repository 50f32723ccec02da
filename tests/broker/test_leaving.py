"""How clients leave (bye), and how a broker does (drain, close)."""

import asyncio

from packhorse_broker.broker import Broker
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    Bye,
    ClaimJobs,
    Claims,
    Create,
    Done,
    Drain,
    Fail,
    Get,
    Handled,
    Info,
    NewJob,
    Ok,
    Refused,
    Take,
    Watch,
)
from tests.support.brokers import Brokers, at_rest, until
from tests.support.requests import complete, count, create, failure, get, names, release, take
from tests.support.wire import Wire

# -- bye


async def test_bye_ends_claims_and_handler_entries(brokers: Brokers, broker: Broker) -> None:
    leaver, other = await brokers.connect(broker, "l"), await brokers.connect(broker)
    await create(other, "again", attempts=2)
    await create(other, "last", attempts=1)
    await create(leaver, "mine", "done", handle=True)
    await create(other, "other", handle=True)
    *_, done = await leaver.ask(ClaimJobs, jobs=("again", "last", "done"))
    await complete(leaver, done)
    assert await leaver.ask(Bye) == (Done(),)
    assert all(not isinstance(message, Claims) for message in await leaver.ended())
    again, last, mine = [await get(other, job) for job in ("again", "last", "mine")]
    assert (again.state, again.lost, again.current_attempt) == ("QUEUED", 1, 1)
    assert (last.state, last.reason, last.lost) == ("FAILED", "RUNNER_TIMEOUT", 1)
    assert last.error is None
    assert (mine.state, mine.handlers) == ("QUEUED", ())
    # It was finished and nobody else waits for it.
    [gone] = await other.ask(Get, jobs=("done",))
    assert gone.code == Code.NOT_FOUND
    assert (await get(other, "other")).handlers == (other.id,)
    [info] = await other.ask(Info)
    assert info.clients == 1


async def test_jobs_of_one_that_left_go_to_others_at_their_old_place(
    brokers: Brokers, broker: Broker
) -> None:
    leaver, other = await brokers.connect(broker), await brokers.connect(broker)
    await create(other, *"abc", attempts=3)
    await leaver.ask(ClaimJobs, jobs=("a", "b"))
    await leaver.ask(Bye)
    await take(other, 3)
    claims = await other.claims(3)
    assert names(claims) == ["a", "b", "c"]
    assert [claim.attempt for claim in claims] == [2, 2, 1]


async def test_the_id_is_free_after_bye(brokers: Brokers, broker: Broker) -> None:
    first = await brokers.connect(broker, "me")
    await first.ask(Bye)
    second = await brokers.connect(broker, "me", secret=bytes(32))
    assert not second.welcome.resumed


async def test_a_handler_that_comes_back_after_bye_is_owed_nothing(
    brokers: Brokers, broker: Broker
) -> None:
    first, other = await brokers.connect(broker, "me"), await brokers.connect(broker)
    await create(first, "a", handle=True, persistent=True)
    await first.ask(Bye)
    [claim] = await other.ask(ClaimJobs, jobs=("a",))
    await complete(other, claim)
    again = await brokers.connect(broker, "me", secret=first.welcome.secret)
    assert not again.welcome.resumed
    [refused] = await again.ask(Handled, jobs=("a",))
    assert refused.code == Code.NOT_HANDLER


async def test_bye_of_one_with_a_thousand_jobs(brokers: Brokers, broker: Broker) -> None:
    leaver, other = await brokers.connect(broker), await brokers.connect(broker)
    ids = [f"j{n}" for n in range(1_200)]
    await create(leaver, *ids, attempts=2, handle=True)
    await take(leaver, 700)
    await leaver.claims(700)
    await leaver.ask(Bye)
    assert await count(other, "QUEUED") == 1_200
    assert await count(other, "STARTED") == 0


async def test_a_connection_that_is_half_closed_is_over(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker, "me")
    await create(wire, "a")
    wire.end_sending()
    await wire.ended()
    assert broker.sessions.get("me") is None
    again = await brokers.connect(broker, "me", secret=wire.welcome.secret)
    assert again.welcome.resumed


async def test_nothing_is_kept_of_connections_that_are_gone(
    brokers: Brokers, broker: Broker
) -> None:
    for turn in range(30):
        wire = await brokers.connect(broker)
        await create(wire, f"a{turn}", f"b{turn}", type=f"type-{turn}", handle=True)
        await take(wire, 1, f"type-{turn}", "t")
        await wire.ask(Watch, jobs=(f"a{turn}", f"b{turn}"))
        [claim] = await wire.claims(1)
        await complete(wire, claim)
        await wire.outcomes(1)
        if turn % 3 == 0:
            await wire.abort()
        elif turn % 3 == 1:
            await wire.close()
        else:
            await wire.ask(Bye)
    strangers = [await brokers.dial(broker) for _ in range(10)]
    for stranger in strangers:
        await stranger.abort()
    await until(lambda: broker.server.connections == 0)
    await at_rest(broker)
    assert not list(broker.sessions)
    parts = (
        (broker.server, ("_connections", "_strangers", "_tasks")),
        (broker.parts.feeder, ("_takers", "_may_wait", "_drawing", "_signalled", "_appetite")),
        (broker.parts.watching, ("_watched", "_jobs_of")),
        (broker.parts.delivery, ("_reading",)),
        (broker.parts.operations, ("_removing",)),
    )
    for part, collections in parts:
        for name in collections:
            assert not getattr(part, name), name


# -- drain


async def draining(broker: Broker) -> "asyncio.Task[None]":
    """Begins a drain; the broker has said so when this returns."""
    task = asyncio.create_task(broker.drain())
    await until(lambda: broker.draining)
    return task


async def test_a_drain_is_announced_and_takes_in_no_work(brokers: Brokers) -> None:
    broker = await brokers.start(drain_ms=60_000)
    runner, creator = await brokers.connect(broker), await brokers.connect(broker)
    await create(creator, *"abcd", handle=True, attempts=2)
    await take(runner, 3)
    a, b, c = await runner.claims(3)
    task = await draining(broker)
    for wire in (runner, creator):
        assert (await wire.push(Drain)).grace_ms == 60_000
    # What is under way goes on, and what it frees is given to nobody.
    await complete(runner, a)
    await runner.ask(Fail, jobs=(failure(b),))
    await release(runner, c)
    [outcome] = await creator.outcomes(1)
    await creator.ask(Handled, jobs=(outcome.job,))
    for request, fields in (
        (Create, {"jobs": (NewJob(type="t"),)}),
        (ClaimJobs, {"jobs": ("d",)}),
        (Take, {"types": {"t": 1}, "credit": 1}),
    ):
        error = await runner.refusal(request, **fields)
        assert (error.code, error.retryable, error.closing) == (Code.DRAINING, True, False)
    await at_rest(broker)
    assert await count(creator, "QUEUED") == 3
    assert not runner.kept(Claims)
    # It is over when all have left.
    await runner.close()
    assert not task.done()
    await creator.close()
    await task


async def test_a_draining_broker_accepts_no_connection(brokers: Brokers) -> None:
    broker = await brokers.start(drain_ms=60_000)
    wire = await brokers.connect(broker)
    task = await draining(broker)
    await wire.push(Drain)
    try:
        refused: Wire | None = await Wire.dial(broker.addresses[0])
    except OSError:
        refused = None
    assert refused is None
    await wire.close()
    await task


async def test_the_drain_ends_after_its_time_and_tells_who_is_left(brokers: Brokers) -> None:
    broker = await brokers.start(drain_ms=0)
    runner = await brokers.connect(broker, "r")
    await create(runner, "a")
    [claim] = await runner.ask(ClaimJobs, jobs=("a",))
    await broker.drain()
    await brokers.stop(broker)
    assert (await runner.push(Drain)).grace_ms == 0
    error = await runner.closing_error()
    assert (error.code, error.retryable) == (Code.DRAINING, True)
    # The claim is kept over the reconnect.
    successor = await brokers.start()
    again = await brokers.connect(successor, "r", secret=runner.welcome.secret)
    assert await again.claims(1) == [claim]
    await complete(again, claim)


async def test_what_was_asked_before_the_close_is_committed_and_answered(brokers: Brokers) -> None:
    broker = await brokers.start()
    wire = await brokers.connect(broker)
    requests = [wire.begin(Create, jobs=(NewJob(type="t", id=f"j{n}"),)) for n in range(50)]
    await until(lambda: broker.parts.committer.waiting > 0)
    await brokers.stop(broker)
    answers = [message for message in await wire.ended() if getattr(message, "id", None)]
    done = [answer for answer in answers if isinstance(answer, Ok)]
    assert 0 < len(done) <= len(answers) <= len(requests)
    assert {answer.code for answer in answers if isinstance(answer, Refused)} <= {Code.DRAINING}
    successor = await brokers.start()
    other = await brokers.connect(successor)
    assert await count(other, "QUEUED") == len(done)

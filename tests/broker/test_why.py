"""One request says why a job does not run."""

from packhorse_broker.broker import Broker
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    AskWhy,
    Backoff,
    Cancel,
    Cause,
    Claim,
    ClaimJobs,
    Claims,
    Configure,
    Fail,
    Problem,
    Timeouts,
    TypeChange,
    Why,
)
from tests.support.brokers import Brokers
from tests.support.inspection import Raw
from tests.support.requests import complete, create, failure, get, take
from tests.support.wire import Wire

HOUR_MS = 3_600_000


async def why(wire: Wire, job: str) -> Why:
    [found] = await wire.ask(AskWhy, jobs=(job,))
    assert isinstance(found, Why), found
    return found


async def causes(wire: Wire, job: str) -> list[Cause]:
    return list((await why(wire, job)).causes)


async def cause(wire: Wire, job: str) -> Cause:
    [found] = await causes(wire, job)
    return found


async def codes(wire: Wire, job: str) -> list[str]:
    return [found.code for found in await causes(wire, job)]


async def test_a_delayed_job(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", delay_ms=HOUR_MS)
    found = await cause(wire, "a")
    assert found.code == "delayed"
    assert found.until == (await get(wire, "a")).delayed_until
    assert (await why(wire, "a")).state == "PENDING"


async def test_a_job_that_waits_for_its_next_attempt(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", attempts=2, backoff=Backoff(type="fixed", delay_ms=HOUR_MS))
    [claim] = await wire.ask(ClaimJobs, jobs=("a",))
    await wire.ask(Fail, jobs=(failure(claim, message="no paper"),))
    found = await cause(wire, "a")
    view = await get(wire, "a")
    assert found.code == "retry_wait"
    assert found.until == view.next_attempt
    assert found.message.endswith("attempt 1 of 2 failed (Oops: no paper)")


async def test_a_queued_job_that_nobody_takes(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    await create(wire, "a", "b", "c")
    await create(wire, "urgent", priority=1)
    assert await codes(wire, "urgent") == ["no_runner"]
    no_runner, behind = await causes(wire, "c")
    assert no_runner.code == "no_runner"
    assert (behind.code, behind.jobs) == ("behind", 3)


async def test_a_runner_without_a_free_place(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    runner = await brokers.connect(broker)
    await create(wire, "a", "b")
    await take(runner, 1)
    await runner.claims(1)
    assert await codes(wire, "b") == ["no_room"]


async def test_a_paused_type(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker, "bob")
    runner = await brokers.connect(broker)
    await wire.ask(
        Configure, types=(TypeChange(type="t", paused=True),), why="the printer is broken"
    )
    await take(runner, 5)
    await create(wire, "a")
    found = await cause(wire, "a")
    assert (found.code, found.client, found.until) == ("paused", "bob", 0)
    assert found.since > 0
    assert found.message == "the type 't' is paused, by 'bob': the printer is broken"
    assert runner.kept(Claims) == []
    limited = (TypeChange(type="t", max_jobs=5),)
    await (await brokers.connect(broker, "eve")).ask(Configure, types=limited, why="it grows")
    assert (await cause(wire, "a")).message == found.message


async def test_nothing_is_in_the_way(brokers: Brokers, broker: Broker) -> None:
    """A broker that is about to go claims nothing, though its runners have room."""
    wire = await brokers.connect(broker)
    runner = await brokers.connect(broker)
    await take(runner, 1)
    broker.parts.feeder.paused = True
    await create(wire, "a")
    assert await codes(wire, "a") == ["next"]


async def test_runners_of_other_brokers_count(brokers: Brokers) -> None:
    first, second = await brokers.start(), await brokers.start()
    wire = await brokers.connect(first)
    runner = await brokers.connect(second)
    await take(runner, 1)
    await create(wire, "a")
    await second.parts.sweeper.sweep()
    await runner.claims(1)
    await create(wire, "b")
    await second.parts.sweeper.sweep()
    assert await codes(wire, "b") == ["no_room"]


async def test_a_running_job(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker, "ann")
    await create(wire, "a", timeouts=Timeouts(run_ms=HOUR_MS))
    await wire.ask(ClaimJobs, jobs=("a",))
    view = await get(wire, "a")
    found = await cause(wire, "a")
    assert (found.code, found.client) == ("running", "ann")
    assert (found.since, found.until) == (view.started_at, view.deadline)
    assert view.deadline == view.started_at + HOUR_MS


async def test_a_runner_that_is_silent(brokers: Brokers, broker: Broker, store_url: str) -> None:
    wire = await brokers.connect(broker)
    await brokers.connect(broker, "ann")
    runner = await brokers.connect(broker, "bob", timeout_ms=10_000)
    await create(wire, "a")
    await runner.ask(ClaimJobs, jobs=("a",))
    # So long ago that it is silent even though the store hears of it late.
    last_response = broker._clock.now_ms() - 1_000_000
    raw = await Raw.open(store_url)
    await raw("ZADD", broker._client_keys.alive, last_response + 10_000, "bob")
    await raw.close()
    silent, running = await causes(wire, "a")
    assert (silent.code, silent.client) == ("runner_silent", "bob")
    assert (silent.since, silent.until) == (last_response, last_response + 10_000)
    assert running.code == "running"


async def test_a_job_that_is_being_cancelled(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker, "bob")
    runner = await brokers.connect(broker, "ann")
    await create(wire, "a")
    await runner.ask(ClaimJobs, jobs=("a",))
    await wire.ask(Cancel, jobs=("a",), grace_ms=HOUR_MS, why="wrong list")
    cancelling, running = await causes(wire, "a")
    view = await get(wire, "a")
    assert view.cancel is not None
    assert (cancelling.code, cancelling.client) == ("cancelling", "bob")
    assert (cancelling.since, cancelling.until) == (view.cancel.at, view.cancel.until)
    assert "(wrong list)" in cancelling.message
    assert (running.code, running.client) == ("running", "ann")


async def test_a_job_that_has_ended(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker, "bob")
    await create(wire, "a", "b", persistent=True)
    claim, _ = await wire.ask(ClaimJobs, jobs=("a", "b"))
    assert isinstance(claim, Claim)
    await complete(wire, claim)
    found = await cause(wire, "a")
    assert (found.code, found.since) == ("finished", (await get(wire, "a")).finished_at)
    await create(wire, "c", persistent=True)
    await wire.ask(Cancel, jobs=("c",), why="too late")
    found = await cause(wire, "c")
    assert found.message.startswith("it was cancelled by 'bob' (too late)")


async def test_many_at_once_in_the_order_asked(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    names = [f"{n:03}" for n in range(450)]
    await create(wire, *names)
    await create(wire, "later", delay_ms=HOUR_MS)
    answers = await wire.ask(AskWhy, jobs=(*names, "missing", "later", "000"))
    for place, answer in enumerate(answers[:450]):
        assert isinstance(answer, Why)
        assert [found.jobs for found in answer.causes if found.code == "behind"] == (
            [place] if place else []
        )
    missing, later, again = answers[450:]
    assert isinstance(missing, Problem)
    assert missing.code == Code.NOT_FOUND
    assert [found.code for found in later.causes] == ["delayed"]
    assert again == answers[0]

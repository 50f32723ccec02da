"""What happened to a type's jobs, as clients ask for it."""

from packhorse_broker.broker import Broker
from packhorse_protocol import Code
from packhorse_protocol.messages import CountMinutes, Fail, Minute
from tests.support.brokers import Brokers
from tests.support.requests import complete, create, failure, take
from tests.support.wire import Wire


async def total(wire: Wire, job_type: str = "t") -> Minute:
    """All minutes together: a test may begin in one and end in the next."""
    [found] = await wire.ask(CountMinutes, type=job_type)
    names = [name for name in Minute.__annotations__ if name != "at"]
    assert [one.at for one in found.minutes] == sorted(one.at for one in found.minutes)
    return Minute(
        at=0, **{name: sum(getattr(one, name) for one in found.minutes) for name in names}
    )


async def test_what_was_just_done_is_in_it(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    assert await total(wire) == Minute(at=0)
    await take(wire, 3)
    await create(wire, "a", "b", "c")
    first, second, _ = await wire.claims(3)
    await complete(wire, first)
    await wire.ask(Fail, jobs=(failure(second),))
    found = await total(wire)
    assert (found.created, found.started, found.completed, found.failed) == (3, 3, 1, 1)
    assert await total(wire, "other") == Minute(at=0)


async def test_brokers_count_together(brokers: Brokers) -> None:
    """What another one did is in it once that has written it: in a second, or when it ends."""
    first, second = await brokers.start(), await brokers.start()
    await create(await brokers.connect(first), "a")
    await create(await brokers.connect(second), "b", "c")
    await brokers.stop(second)
    assert (await total(await brokers.connect(first))).created == 3


async def test_role(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker, roles=("create",))
    assert (await wire.refusal(CountMinutes, type="t")).code == Code.FORBIDDEN

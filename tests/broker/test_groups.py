"""Groups of handlers: each outcome to one member, to another one if that leaves, until answered."""

import pytest

from packhorse_broker.broker import Broker
from packhorse_broker.group_members import MEMBER_WINDOW
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    ClaimJobs,
    Create,
    Done,
    Ended,
    Fail,
    Handle,
    Handled,
    Join,
    NewJob,
    Outcomes,
    Remove,
    Retry,
)
from tests.broker.test_outcomes import gone
from tests.support.brokers import Brokers, at_rest
from tests.support.requests import complete, count, create, failure, get
from tests.support.wire import Wire

pytestmark = pytest.mark.usefixtures("never_missed")


async def owed(wire: Wire, *jobs: str, group: str = "g", result: bytes = b"r") -> None:
    """Jobs that the group handles, finished."""
    new = tuple(NewJob(type="t", id=job) for job in jobs)
    await wire.ask(Create, jobs=new, group=group)
    await finish(wire, *jobs, result=result)


async def finish(wire: Wire, *jobs: str, result: bytes = b"r") -> None:
    claims = await wire.ask(ClaimJobs, jobs=jobs)
    assert set(await complete(wire, *claims, result=result)) == {Ended(state="COMPLETE")}


async def member(brokers: Brokers, broker: Broker, *groups: str) -> Wire:
    wire = await brokers.connect(broker)
    await join(wire, *groups or ("g",))
    return wire


async def join(wire: Wire, *groups: str) -> None:
    assert await wire.ask(Join, groups=groups) == (Done(),)


async def nothing_more(wire: Wire, broker: Broker) -> None:
    await at_rest(broker)
    await wire.ask(Handled, jobs=("missing",))
    assert not wire.kept(Outcomes)


async def told(wire: Wire, most: int = 1) -> list[str]:
    """Jobs of so many outcomes, in order."""
    return [outcome.job for outcome in await wire.outcomes(most)]


async def test_a_member_gets_the_outcome_and_answers_for_the_group(
    brokers: Brokers, broker: Broker
) -> None:
    creator, handler = await brokers.connect(broker), await member(brokers, broker)
    await owed(creator, "a")
    [outcome] = await handler.outcomes(1)
    assert (outcome.job, outcome.group, outcome.result) == ("a", "g", b"r")
    # For itself it handles nothing.
    [refused] = await handler.ask(Handled, jobs=("a",))
    assert refused.code == Code.NOT_HANDLER
    assert await handler.ask(Handled, jobs=("a",), group="g") == (Done(),)
    assert await gone(creator, "a")


async def test_members_take_turns_and_each_outcome_goes_to_one(
    brokers: Brokers, broker: Broker
) -> None:
    creator = await brokers.connect(broker)
    handlers = [await member(brokers, broker) for _ in range(3)]
    await owed(creator, *(f"j{n}" for n in range(9)))
    seen = [job for handler in handlers for job in await told(handler, 3)]
    assert sorted(seen) == [f"j{n}" for n in range(9)]
    for handler in handlers:
        await nothing_more(handler, broker)


async def test_it_waits_for_as_long_as_nobody_is_there(brokers: Brokers, broker: Broker) -> None:
    creator = await brokers.connect(broker)
    await owed(creator, "a", "b")
    assert (await get(creator, "a")).groups == ("g",)
    handler = await member(brokers, broker)
    assert sorted(await told(handler, 2)) == ["a", "b"]


async def test_what_a_member_leaves_unanswered_goes_to_another(
    brokers: Brokers, broker: Broker
) -> None:
    creator = await brokers.connect(broker)
    first = await member(brokers, broker)
    await owed(creator, "answered", "left")
    assert sorted(await told(first, 2)) == ["answered", "left"]
    await first.ask(Handled, jobs=("answered",), group="g")
    second = await member(brokers, broker)
    await nothing_more(second, broker)
    await first.abort()
    assert await told(second) == ["left"]
    # A member that comes back joins anew.
    again = await brokers.connect(broker, first.id, secret=first.welcome.secret)
    await join(again, "g")
    await nothing_more(again, broker)


async def test_one_that_leaves_the_group_leaves_its_outcomes(
    brokers: Brokers, broker: Broker
) -> None:
    creator = await brokers.connect(broker)
    first = await member(brokers, broker)
    await owed(creator, "a")
    assert await told(first) == ["a"]
    second = await member(brokers, broker)
    await join(first, "other")
    assert await told(second) == ["a"]
    await owed(creator, "b")
    assert await told(second) == ["b"]
    await owed(creator, "c", group="other")
    assert await told(first) == ["c"]


async def test_groups_and_clients_are_told_apart_where_one_is_both(
    brokers: Brokers, broker: Broker
) -> None:
    wire = await member(brokers, broker, "g", "h")
    job = NewJob(type="t", id="a")
    await wire.ask(Create, jobs=(job,), group="g", handle=True)
    await wire.ask(Handle, jobs=("a",), group="h")
    await finish(wire, "a")
    outcomes = await wire.outcomes(3)
    assert {outcome.group for outcome in outcomes} == {None, "g", "h"}
    await wire.ask(Handled, jobs=("a",), group="g")
    view = await get(wire, "a")
    assert (view.handlers, view.groups) == ((wire.id,), ("h",))
    await wire.ask(Handled, jobs=("a",))
    await wire.ask(Handled, jobs=("a",), group="h")
    assert await gone(wire, "a")


async def test_a_group_may_come_late(brokers: Brokers, broker: Broker) -> None:
    wire = await member(brokers, broker)
    await create(wire, "a", persistent=True)
    await finish(wire, "a")
    assert await wire.ask(Handle, jobs=("a",), group="g") == (Ended(state="COMPLETE"),)
    [outcome] = await wire.outcomes(1)
    assert outcome.group == "g"
    await wire.ask(Handle, jobs=("a",), group="g")
    await nothing_more(wire, broker)
    await wire.ask(Handled, jobs=("a",), group="g")
    assert (await get(wire, "a")).groups == ()


async def test_joining_twice_is_joining_once(brokers: Brokers, broker: Broker) -> None:
    creator, handler = await brokers.connect(broker), await member(brokers, broker, "g", "g")
    await owed(creator, "a")
    assert await told(handler) == ["a"]
    await join(handler, "g")
    await nothing_more(handler, broker)


async def test_an_id_used_again_is_another_outcome(brokers: Brokers, broker: Broker) -> None:
    creator, handler = await brokers.connect(broker), await member(brokers, broker)
    for _ in range(2):
        await owed(creator, "a")
        assert await told(handler) == ["a"]
        await handler.ask(Handled, jobs=("a",), group="g")


async def test_groups_need_the_role(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker, roles=("create", "run"))
    job = NewJob(type="t", id="a")
    for request, fields in (
        (Join, {"groups": ("g",)}),
        (Create, {"jobs": (job,), "group": "g"}),
        (Handled, {"jobs": ("a",), "group": "g"}),
    ):
        refused = await wire.refusal(request, **fields)
        assert refused.code == Code.FORBIDDEN


@pytest.mark.parametrize("members", [1, 2])
async def test_more_than_members_have_room_for_waits_in_the_store(
    brokers: Brokers, broker: Broker, members: int
) -> None:
    creator = await brokers.connect(broker)
    handlers = [await member(brokers, broker) for _ in range(members)]
    jobs = [f"j{n:04}" for n in range(3 * members * MEMBER_WINDOW)]
    await owed(creator, *jobs)
    seen: list[str] = []
    for handler in handlers:
        seen += await told(handler, MEMBER_WINDOW)
        await nothing_more(handler, broker)
    answered = 0
    while answered < len(jobs):
        page = tuple(seen[answered:])
        for start in range(0, len(page), 50):
            await handlers[0].ask(Handled, jobs=page[start : start + 50], group="g")
        answered += len(page)
        await at_rest(broker)
        for handler in handlers:
            await handler.ask(Handled, jobs=("missing",))
            seen += [outcome.job for push in handler.kept(Outcomes) for outcome in push.outcomes]
    assert sorted(seen) == jobs
    assert await count(creator, "COMPLETE") == 0


async def test_outcomes_far_larger_than_the_outbox_arrive(brokers: Brokers, broker: Broker) -> None:
    creator = await brokers.connect(broker)
    jobs = [f"j{n}" for n in range(20)]
    for job in jobs:
        await owed(creator, job, result=bytes(1024 * 1024))
    handler = await member(brokers, broker)
    seen: set[str] = set()
    while len(seen) < len(jobs):
        outcomes = (await handler.push(Outcomes)).outcomes
        seen |= {outcome.job for outcome in outcomes}
        await handler.ask(Handled, jobs=tuple(outcome.job for outcome in outcomes), group="g")
    assert await count(creator, "COMPLETE") == 0


# -- at several brokers


@pytest.fixture
async def two(brokers: Brokers) -> list[Broker]:
    """Both know of each other and do not sweep by themselves."""
    started = [await brokers.start() for _ in range(2)]
    for broker in [*started, *started]:
        await broker.parts.sweeper.sweep()
    return started


async def test_a_member_elsewhere_gets_what_ends_where_nobody_is(
    brokers: Brokers, two: list[Broker]
) -> None:
    creator, handler = await brokers.connect(two[0]), await member(brokers, two[1])
    await owed(creator, "a")
    assert await told(handler) == ["a"]
    await handler.ask(Handled, jobs=("a",), group="g")
    assert await gone(creator, "a")


async def test_one_that_ends_where_a_member_is_comes_once(
    brokers: Brokers, two: list[Broker]
) -> None:
    near, far = await member(brokers, two[0]), await member(brokers, two[1], "g", "other")
    await owed(near, "a")
    assert await told(near) == ["a"]
    # The notice of it has been heard there when a later one has been.
    await owed(near, "b", group="other")
    assert await told(far) == ["b"]
    await nothing_more(far, two[1])


async def test_what_the_last_member_leaves_goes_elsewhere(
    brokers: Brokers, two: list[Broker]
) -> None:
    near, far = [await member(brokers, broker) for broker in two]
    await owed(near, "a")
    assert await told(near) == ["a"]
    await near.abort()
    assert await told(far) == ["a"]


async def test_what_no_notice_told_is_found_by_looking(brokers: Brokers, two: list[Broker]) -> None:
    creator, handler = await brokers.connect(two[0]), await member(brokers, two[1])
    two[1].parts.notices._heard = lambda _: None
    await owed(creator, "a")
    two[1].parts.groups.look()
    assert await told(handler) == ["a"]


async def test_members_everywhere_get_each_outcome_once(
    brokers: Brokers, two: list[Broker]
) -> None:
    """However often both brokers look for what the group is owed."""
    creator = await brokers.connect(two[0])
    members = [await member(brokers, broker) for broker in (*two, *two)]
    jobs = [f"j{number:03}" for number in range(4 * MEMBER_WINDOW)]
    for start in range(0, len(jobs), 40):
        await owed(creator, *jobs[start : start + 40])
        for broker in two:
            broker.parts.groups.look()
    seen = [job for wire in members for job in await told(wire, MEMBER_WINDOW)]
    assert sorted(seen) == jobs
    for wire, broker in zip(members, (*two, *two), strict=True):
        broker.parts.groups.look()
        await nothing_more(wire, broker)


async def test_what_a_full_member_has_no_room_for_goes_elsewhere(
    brokers: Brokers, two: list[Broker]
) -> None:
    near, far = [await member(brokers, broker) for broker in two]
    jobs = [f"j{number:03}" for number in range(MEMBER_WINDOW + 7)]
    await owed(near, *jobs)
    assert await told(near, MEMBER_WINDOW) == jobs[:MEMBER_WINDOW]
    assert await told(far, 7) == jobs[MEMBER_WINDOW:]
    await owed(near, "late")
    assert await told(far) == ["late"]
    await nothing_more(near, two[0])


async def test_who_joins_elsewhere_gets_what_waits(brokers: Brokers, two: list[Broker]) -> None:
    near = await member(brokers, two[0])
    jobs = [f"j{number:03}" for number in range(MEMBER_WINDOW + 2)]
    await owed(near, *jobs)
    assert await told(near, MEMBER_WINDOW) == jobs[:MEMBER_WINDOW]
    await at_rest(two[0])
    far = await member(brokers, two[1])
    assert await told(far, 2) == jobs[MEMBER_WINDOW:]
    await nothing_more(far, two[1])


async def test_what_a_lost_broker_had_taken_is_brought_by_another(
    brokers: Brokers, two: list[Broker]
) -> None:
    near, far = [await member(brokers, broker) for broker in two]
    await owed(near, "a", "b")
    assert await told(near, 2) == ["a", "b"]
    two[1].parts.groups.catch_up("g")
    await nothing_more(far, two[1])
    await near.ask(Handled, jobs=("a",), group="g")
    two[1].parts.groups.running({two[0].id, two[1].id})
    await nothing_more(far, two[1])
    two[1].parts.groups.running({two[1].id})
    assert await told(far) == ["b"]


async def test_a_job_that_ends_again_is_owed_again_wherever(
    brokers: Brokers, two: list[Broker]
) -> None:
    near, far = [await member(brokers, broker) for broker in two]
    await near.ask(Create, jobs=(NewJob(type="t", id="a"),), group="g")
    for _ in range(2):
        [claim] = await far.ask(ClaimJobs, jobs=("a",))
        await far.ask(Fail, jobs=(failure(claim),))
        # The end is committed at the second broker, whose member it is brought to.
        assert await told(far) == ["a"]
        await near.ask(Retry, jobs=("a",))
    await nothing_more(near, two[0])


@pytest.mark.parametrize("how", ["removed", "answered for elsewhere"])
async def test_what_is_owed_no_more_takes_up_no_room(
    brokers: Brokers, two: list[Broker], how: str
) -> None:
    creator, handler = await brokers.connect(two[0]), await member(brokers, two[0])
    first = [f"a{number:03}" for number in range(MEMBER_WINDOW)]
    await owed(creator, *first, "late")
    assert await told(handler, MEMBER_WINDOW) == first
    if how == "removed":
        await creator.ask(Remove, jobs=tuple(first))
    else:
        elsewhere = await brokers.connect(two[1])
        await elsewhere.ask(Handled, jobs=tuple(first), group="g")
        two[0].parts.groups.look()
    assert await told(handler) == ["late"]

"""Groups of handlers: any member may handle an outcome, and one gets it."""

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site, ref
from packhorse_conformance.verdict import expect
from packhorse_conformance.wire import Wire


async def _ended_for(site: Site, wire: Wire, group: str) -> str:
    """A job that ended, which this group is to handle."""
    [entry] = await site.create(wire, site.new(), group=group)
    claim = await wire.one("claim", jobs=[entry["job"]])
    await wire.one("complete", jobs=[ref(claim)])
    return str(entry["job"])


@scenario("11")
async def goes_to_one_member(site: Site) -> None:
    """An outcome for a group is pushed to a member, with `group`, and answered for it."""
    wire, member = await site.client(), await site.client()
    group = site.name("group")
    await member.one("join", groups=[group])
    job = await _ended_for(site, wire, group)
    [outcome] = await member.outcomes(1)
    expect((outcome["job"], outcome.get("group")) == (job, group), "job and group", outcome)
    await member.problem("not_handler", "handled", jobs=[job])
    await member.one("handled", jobs=[job], group=group)
    await wire.problem("not_found", "get", jobs=[job])


@scenario("11")
async def waits_for_a_member(site: Site) -> None:
    """While no member is there the outcome waits, also for one that joins later."""
    wire = await site.client()
    group = site.name("group")
    job = await _ended_for(site, wire, group)
    member = await site.client()
    await member.one("join", groups=[group, site.name("another")])
    [outcome] = await member.outcomes(1)
    expect(outcome["job"] == job, "the outcome", outcome)


@scenario("11")
async def goes_to_another_member(site: Site) -> None:
    """What a member has not answered when its connection ends is pushed to another one."""
    wire, first, second = [await site.client() for _ in range(3)]
    group = site.name("group")
    await first.one("join", groups=[group])
    job = await _ended_for(site, wire, group)
    await first.outcomes(1)
    await second.one("join", groups=[group])
    first.abort()
    [outcome] = await second.outcomes(1)
    expect((outcome["job"], outcome.get("group")) == (job, group), "the outcome", outcome)


@scenario("11")
async def goes_on_when_a_member_leaves(site: Site) -> None:
    """A member that leaves the group by `join` gives back what it has not answered."""
    wire, first, second = [await site.client() for _ in range(3)]
    group = site.name("group")
    await first.one("join", groups=[group])
    job = await _ended_for(site, wire, group)
    await first.outcomes(1)
    await second.one("join", groups=[group])
    await first.one("join", groups=[])
    [outcome] = await second.outcomes(1)
    expect(outcome["job"] == job, "the outcome", outcome)


@scenario("11")
async def tells_the_client_from_its_group(site: Site) -> None:
    """A handler that is a member of a handling group gets two outcomes, and answers each."""
    wire = await site.client()
    group = site.name("group")
    await wire.one("join", groups=[group])
    [entry] = await site.create(wire, site.new(), group=group, handle=True)
    claim = await wire.one("claim", jobs=[entry["job"]])
    await wire.one("complete", jobs=[ref(claim)])
    groups = {outcome.get("group") for outcome in await wire.outcomes(2)}
    expect(groups == {None, group}, "one without group, one with it", groups)
    await wire.one("handled", jobs=[entry["job"]])
    await wire.one("get", jobs=[entry["job"]])
    await wire.one("handled", jobs=[entry["job"]], group=group)
    await wire.problem("not_found", "get", jobs=[entry["job"]])


@scenario("11")
async def takes_answers_of_others(site: Site) -> None:
    """Who is no member may answer for a group; `handle` with `group` makes it a handler."""
    wire = await site.client()
    group = site.name("group")
    claim = await site.claimed(wire)
    await wire.one("handle", jobs=[claim["job"]], group=group)
    view = await wire.one("get", jobs=[claim["job"]])
    right = (view.get("groups"), view.get("handlers", [])) == ([group], [])
    expect(right, "the group as the only handler", view)
    await wire.problem("wrong_state", "handled", jobs=[claim["job"]], group=group)
    await wire.one("complete", jobs=[ref(claim)])
    await wire.one("handled", jobs=[claim["job"]], group=group)
    await wire.problem("not_found", "get", jobs=[claim["job"]])


@scenario("11")
async def outlives_its_members(site: Site) -> None:
    """A group stays a handler when the client that made it one has left for good."""
    wire, other = await site.client(), await site.client()
    group = site.name("group")
    job = await _ended_for(site, wire, group)
    await wire.answer(wire.begin("bye"))
    await other.one("join", groups=[group])
    [outcome] = await other.outcomes(1)
    expect(outcome["job"] == job, "the outcome", outcome)


@scenario("11")
async def answers_for_one_group_alone(site: Site) -> None:
    """What one group has handled is still to be handled by another one."""
    wire = await site.client()
    first, second = site.name("first"), site.name("second")
    [entry] = await site.create(wire, site.new(), group=first)
    job = entry["job"]
    await wire.one("handle", jobs=[job], group=second)
    claim = await wire.one("claim", jobs=[job])
    await wire.one("complete", jobs=[ref(claim)])
    await wire.one("handled", jobs=[job], group=first)
    await wire.problem("not_handler", "handled", jobs=[job], group=first)
    await wire.one("join", groups=[first, second])
    [outcome] = await wire.outcomes(1)
    expect(outcome.get("group") == second, "the other group's outcome", outcome)
    await wire.one("handled", jobs=[job], group=second)
    await wire.problem("not_found", "get", jobs=[job])

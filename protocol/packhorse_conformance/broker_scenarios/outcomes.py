"""Outcomes: to each handler, until it has handled them."""

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site, ref
from packhorse_conformance.verdict import expect


@scenario("11")
async def goes_to_each_handler(site: Site) -> None:
    """The outcome is pushed to every handler; the job goes when the last has handled it."""
    wire, other = await site.client(), await site.client()
    job = await site.job(wire, handle=True, key="k")
    entry = await other.one("handle", jobs=[job])
    expect(entry["state"] == "QUEUED", "QUEUED", entry)
    claim = await wire.one("claim", jobs=[job])
    await wire.one("complete", jobs=[ref(claim, result=b"\x00\xff")])
    for handler in (wire, other):
        [outcome] = await handler.outcomes(1)
        right = (outcome["job"], outcome["type"], outcome["state"], outcome.get("result"))
        expect(right == (job, site.type(), "COMPLETE", b"\x00\xff"), "the outcome", outcome)
        expect("group" not in outcome, "no `group`", outcome)
        times = outcome["created_at"], outcome["started_at"], outcome["finished_at"]
        expect(0 < times[0] <= times[1] <= times[2], "times in order", outcome)
        expect((outcome.get("key"), outcome["attempt"]) == ("k", 1), "key, attempt", outcome)
    await wire.one("handled", jobs=[job])
    await other.one("get", jobs=[job])
    await other.one("handled", jobs=[job])
    await other.problem("not_found", "get", jobs=[job])


@scenario("11")
async def has_an_empty_result(site: Site) -> None:
    """The outcome of a COMPLETE job has a `result` also where that is empty."""
    wire = await site.client()
    claim = await site.claimed(wire, handle=True)
    await wire.one("complete", jobs=[ref(claim)])
    [outcome] = await wire.outcomes(1)
    expect(outcome.get("result") == b"", "an empty `result`", outcome)


@scenario("11")
async def comes_again_until_handled(site: Site) -> None:
    """After each resume an outcome is pushed again, until it was handled."""
    wire = await site.client()
    claim = await site.claimed(wire, handle=True)
    await wire.one("complete", jobs=[ref(claim)])
    await wire.outcomes(1)
    for _ in range(2):
        wire.abort()
        wire = await site.resume(wire)
        [outcome] = await wire.outcomes(1)
        expect(outcome["job"] == claim["job"], "the outcome again", outcome)
    await wire.one("handled", jobs=[claim["job"]])
    wire.abort()
    wire = await site.resume(wire)
    fence = await site.claimed(wire, handle=True)
    await wire.one("complete", jobs=[ref(fence)])
    [outcome] = await wire.outcomes(1)
    expect(outcome["job"] == fence["job"], "no handled outcome again", outcome)


@scenario("11")
async def waits_for_who_is_away(site: Site) -> None:
    """A job that ends while its handler is away has its outcome pushed at the resume."""
    wire, runner = await site.client(), await site.client()
    job = await site.job(wire, handle=True)
    wire.abort()
    claim = await runner.one("claim", jobs=[job])
    await runner.one("fail", jobs=[ref(claim, error={"message": "x"})])
    back = await site.resume(wire)
    [outcome] = await back.outcomes(1)
    right = (outcome["state"], outcome.get("error")) == ("FAILED", {"message": "x"})
    expect(right, "FAILED, with the error", outcome)


@scenario("11")
async def comes_at_once_to_a_late_handler(site: Site) -> None:
    """Who becomes the handler of a job that has finished gets its outcome at once."""
    wire, late = await site.client(), await site.client()
    claim = await site.claimed(wire, handle=True)
    await wire.one("complete", jobs=[ref(claim)])
    entry = await late.one("handle", jobs=[claim["job"]])
    expect(entry["state"] == "COMPLETE", "COMPLETE", entry)
    await late.outcomes(1)
    await late.problem("not_found", "handle", jobs=[site.name("missing")])


@scenario("11")
async def refuses_handled_out_of_turn(site: Site) -> None:
    """`handled` before the end is `wrong_state`, by no handler `not_handler`: both do nothing."""
    wire, other = await site.client(), await site.client()
    claim = await site.claimed(wire, handle=True)
    await wire.problem("wrong_state", "handled", jobs=[claim["job"]])
    await wire.one("complete", jobs=[ref(claim)])
    await other.problem("not_handler", "handled", jobs=[claim["job"]])
    await wire.one("handled", jobs=[claim["job"]])
    await wire.problem("not_found", "handled", jobs=[claim["job"]])


@scenario("11")
async def keeps_what_is_persistent(site: Site) -> None:
    """A `persistent` job stays when it was handled, until it is removed."""
    wire = await site.client()
    claim = await site.claimed(wire, handle=True, persistent=True)
    await wire.one("complete", jobs=[ref(claim)])
    await wire.outcomes(1)
    await wire.one("handled", jobs=[claim["job"]])
    view = await wire.one("get", jobs=[claim["job"]])
    expect(view["state"] == "COMPLETE", "COMPLETE", view)
    await wire.problem("not_handler", "handled", jobs=[claim["job"]])


@scenario("11")
async def keeps_as_long_as_it_says(site: Site) -> None:
    """A job that nobody handles goes after its `keep_ms`: 0 at once, else at `expires_at`."""
    wire = await site.client()
    claim = await site.claimed(wire, keep_ms=3_600_000)
    await wire.one("complete", jobs=[ref(claim)])
    view = await wire.one("get", jobs=[claim["job"]])
    right = view.get("expires_at") == view["finished_at"] + 3_600_000
    expect(right, "`expires_at` an hour after its end", view)
    claim = await site.claimed(wire, keep_ms=0)
    await wire.one("fail", jobs=[ref(claim, error={})])
    await wire.problem("not_found", "get", jobs=[claim["job"]])
    claim = await site.claimed(wire, keep_ms=50)
    await wire.ask("watch", jobs=[claim["job"]])
    await wire.one("complete", jobs=[ref(claim)])
    await wire.events(claim["job"], lambda event: event.get("removed", False))


@scenario("12")
async def tells_that_a_job_was_removed(site: Site) -> None:
    """A handler whose job is removed by hand gets one event with `removed`, watched or not."""
    wire, other = await site.client(), await site.client()
    job = await site.job(wire, handle=True)
    await other.one("remove", jobs=[job])
    events = await wire.events(job, lambda event: event.get("removed", False))
    expect(len(events) == 1, "one event", events)


@scenario("11")
async def bounds_the_handlers(site: Site) -> None:
    """A job has at most 256 handlers, clients and groups together: one more is `too_many`."""
    wire = await site.client()
    job = await site.job(wire, handle=True)
    groups = [site.name(f"group-{number}") for number in range(256)]
    requests = [wire.begin("handle", jobs=[job], group=group) for group in groups]
    answers = [(await wire.answer(request))["results"][0] for request in requests]
    codes = [answer["problem"]["code"] if "problem" in answer else "done" for answer in answers]
    expect(codes == ["done"] * 255 + ["too_many"], "the 257th handler to be `too_many`", codes[-3:])
    await wire.one("handle", jobs=[job])


@scenario("11")
async def pushes_many(site: Site) -> None:
    """A hundred outcomes at once arrive each once, in however many pushes."""
    wire = await site.client()
    entries = await site.create(wire, *[site.new() for _ in range(100)], handle=True)
    jobs = [entry["job"] for entry in entries]
    found = await wire.ask("claim", jobs=jobs)
    await wire.ask("complete", jobs=[ref(claim) for claim in found])
    outcomes = await wire.outcomes(100)
    expect({outcome["job"] for outcome in outcomes} == set(jobs), "each job once", len(outcomes))
    await wire.ask("handled", jobs=jobs)
    await wire.fence()
    wire.nothing_more("outcomes")


@scenario("11")
async def is_kept_when_its_handlers_left(site: Site) -> None:
    """A finished job whose last handler is removed stays as long as its `keep_ms` says."""
    wire, handler = await site.client(), await site.client()
    job = await site.job(wire, keep_ms=3_600_000)
    await handler.one("handle", jobs=[job])
    claim = await wire.one("claim", jobs=[job])
    await wire.one("complete", jobs=[ref(claim)])
    await handler.outcomes(1)
    view = await wire.one("get", jobs=[job])
    expect(view.get("expires_at", 0) == 0, "no `expires_at` while somebody is to handle it", view)
    await handler.answer(handler.begin("bye"))
    view = await wire.one("get", jobs=[job])
    until = view["finished_at"] + 3_600_000
    expect(view.get("expires_at") == until, "`expires_at` an hour after its end", view)

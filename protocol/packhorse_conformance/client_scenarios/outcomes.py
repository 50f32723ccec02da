"""How a client handles outcomes, for itself and for groups."""

from packhorse_conformance.peer import Peer, problem
from packhorse_conformance.scenario import scenario
from packhorse_conformance.stage import Stage, created, in_base64, outcome, outcomes
from packhorse_conformance.verdict import expect


async def _handles(stage: Stage, *jobs: str, groups: tuple[str, ...] = ()) -> Peer:
    """A client that handles outcomes, and has created these jobs as their handler."""
    peer = await stage.connect()
    answer = stage.driver.do("handle_outcomes", groups=list(groups))
    joined: set[str] = set()
    while joined != set(groups):  # all at once, or one after the other
        join = await peer.expect("join")
        joined = set(join["groups"])
        peer.done(join)
    await answer.ok()
    if jobs:
        new = [{"type": "work", "id": job} for job in jobs]
        answer = stage.driver.do("create", jobs=new, handle=True)
        for request in await peer.expect_all("create", len(jobs)):
            peer.ok(request, *map(created, request["jobs"]))
        await answer.ok()
    return peer


@scenario("11")
async def handles_each_outcome(stage: Stage) -> None:
    """Each outcome of a push is told and answered `handled`, COMPLETE and FAILED ones."""
    peer = await _handles(stage, "a", "b")
    error = {"type": "OSError", "message": "no disk", "traceback": "..."}
    failed = outcome("b", state="FAILED", reason="FAILED", error=error, result=None)
    peer.send(outcomes(outcome("a", result=b"\x00\xff", later=1.5), failed))
    told = await stage.driver.event("outcome", lambda event: event["outcome"]["job"] == "a")
    expect(told["outcome"].get("state") == "COMPLETE", "COMPLETE", told)
    expect(told["outcome"].get("result") == in_base64(b"\x00\xff"), "the result", told)
    told = await stage.driver.event("outcome", lambda event: event["outcome"]["job"] == "b")
    expect(told["outcome"].get("reason") == "FAILED", "the reason FAILED", told)
    expect(told["outcome"].get("error", {}).get("message") == "no disk", "the error", told)
    handled = [job for request in await peer.expect_all("handled", 2) for job in request["jobs"]]
    expect(set(handled) == {"a", "b"}, "`handled` for both", handled)


@scenario("9")
async def handles_after_the_create(stage: Stage) -> None:
    """Before a `create` that is repeated there was no `handled`: it would be done twice."""
    peer = await _handles(stage)
    answer = stage.driver.do("create", jobs=[{"type": "work", "id": "a"}], handle=True)
    await peer.expect("create")
    peer.send(outcomes(outcome("a")))
    await stage.still_answers(peer)
    handled = any(message["t"] == "handled" for message in peer.heard)
    peer.abort()
    back, _ = await stage.comes_back()
    repeated = await stage.request_or_answer(back, "create", answer)
    if repeated is None:
        told = await answer.problem()
        expect(told["code"] == "disconnected", "`disconnected`", told)
        return
    expect(not handled, "no `handled` before the answer to a `create` that is repeated", "one")
    back.send(outcomes(outcome("a")))
    back.ok(repeated, created({"id": "a"}, state="COMPLETE", existed=True))
    await answer.ok()
    await stage.driver.event("outcome", lambda event: event["outcome"]["job"] == "a")
    told_as_handled = await back.expect("handled")
    expect(told_as_handled["jobs"] == ["a"], "`handled` for the job", told_as_handled)


@scenario("11")
async def waits_for_an_outcome(stage: Stage) -> None:
    """Waiting for a job makes the client its handler; the outcome is told and `handled`."""
    peer = await stage.connect()
    answer = stage.driver.do("wait", job="a")
    handle = await peer.expect("handle")
    expect(handle["jobs"] == ["a"] and "group" not in handle, "the job alone", handle)
    peer.send(outcomes(outcome("a", result=b"")))  # before the answer
    peer.ok(handle, {"state": "COMPLETE"})
    found = await answer.ok()
    expect(found.get("state") == "COMPLETE", "COMPLETE", found)
    expect(found.get("result", "") == "", "an empty result", found)
    handled = await peer.expect("handled")
    expect(handled["jobs"] == ["a"], "`handled` for the job", handled)


@scenario("11")
async def tells_why_a_job_failed(stage: Stage) -> None:
    """A FAILED outcome is told with its reason, and which timeout it was."""
    peer = await stage.connect()
    for reason, more in (
        ("RUNNER_TIMEOUT", {}),
        ("JOB_TIMEOUT", {"expired": "total"}),
        ("CANCELLED", {"error": {"type": "Cancelled"}}),
    ):
        answer = stage.driver.do("wait", job=reason)
        handle = await peer.expect("handle")
        peer.ok(handle, {"state": "QUEUED"})
        peer.send(outcomes(outcome(reason, state="FAILED", reason=reason, result=None, **more)))
        found = await answer.ok()
        expect(found.get("reason") == reason, f"the reason {reason}", found)
        expect(found.get("expired") == more.get("expired"), "`expired` as it was", found)
        await peer.expect("handled")


@scenario("11")
async def tells_that_a_job_is_gone(stage: Stage) -> None:
    """Waiting for a job that is not there ends with `not_found`."""
    peer = await stage.connect()
    answer = stage.driver.do("wait", job="a")
    peer.ok(await peer.expect("handle"), problem("not_found"))
    await answer.error("not_found")


@scenario("11")
async def takes_not_handler_for_done(stage: Stage) -> None:
    """A `handled` that is refused with `not_found` or `not_handler` is done: the client goes on."""
    peer = await _handles(stage, "a", "b")
    for job, code in (("a", "not_found"), ("b", "not_handler")):
        peer.send(outcomes(outcome(job)))
        peer.ok(await peer.expect("handled"), problem(code))
    await stage.still_answers(peer)


@scenario("11")
async def handles_again_what_comes_again(stage: Stage) -> None:
    """An outcome whose `handled` was lost comes again after a resume, and is answered again."""
    peer = await _handles(stage, "a")
    peer.send(outcomes(outcome("a")))
    await peer.expect("handled")
    back = await stage.resumed(peer, outcomes(outcome("a")))
    handled = await back.expect("handled")
    expect(handled["jobs"] == ["a"], "`handled` for the job again", handled)


@scenario("11")
async def gets_what_it_missed(stage: Stage) -> None:
    """An outcome that came while the client was away is told after the resume."""
    peer = await _handles(stage, "a")
    back = await stage.resumed(peer, outcomes(outcome("a")))
    await stage.driver.event("outcome", lambda event: event["outcome"]["job"] == "a")
    handled = await back.expect("handled")
    expect(handled["jobs"] == ["a"], "`handled` for the job", handled)


@scenario("11")
async def handles_for_a_group(stage: Stage) -> None:
    """A member joins its groups, and answers an outcome for the group that it came for."""
    peer = await _handles(stage, groups=("mail", "audit"))
    peer.send(outcomes(outcome("a", group="mail"), outcome("b", group="audit")))
    groups = {
        job: request.get("group")
        for request in await peer.expect_all("handled", 2)
        for job in request["jobs"]
    }
    expect(groups == {"a": "mail", "b": "audit"}, "each job with its group", groups)
    told = await stage.driver.event("outcome", lambda event: event["outcome"]["job"] == "a")
    expect(told["outcome"].get("group") == "mail", "the group `mail`", told)


@scenario("11")
async def tells_its_own_from_its_groups(stage: Stage) -> None:
    """The same job's outcome, for the client and for its group, is two: each is answered."""
    peer = await _handles(stage, "a", groups=("mail",))
    peer.send(outcomes(outcome("a"), outcome("a", group="mail")))
    groups = [request.get("group") for request in await peer.expect_all("handled", 2)]
    expect(set(groups) == {None, "mail"}, "one without group, one for `mail`", groups)


@scenario("11")
async def joins_again_after_a_resume(stage: Stage) -> None:
    """A membership ends with its connection: the client joins its groups again."""
    peer = await _handles(stage, groups=("mail",))
    back = await stage.resumed(peer)
    join = await back.expect("join")
    expect(join["groups"] == ["mail"], "the group `mail`", join)

"""How a client asks, and what it makes of answers."""

import time
from typing import Final

from packhorse_conformance.peer import items_of, ok, problem, refused
from packhorse_conformance.scenario import scenario
from packhorse_conformance.stage import Stage, news, view
from packhorse_conformance.verdict import expect
from packhorse_protocol.errors import CODE_SCOPES, RETRYABLE

RETRY_AFTER_MS: Final = 700
"""Far above what a library waits by itself before the first repetition."""
SLACK_MS: Final = 20
"""How much too early a timer may be, by another clock than the library's."""


@scenario("5")
async def takes_answers_in_any_order(stage: Stage) -> None:
    """Requests that wait have different ids, and their answers may come in any order."""
    peer = await stage.connect()
    names = [f"job-{number}" for number in range(30)]
    answers = [stage.driver.do("get", jobs=[name]) for name in names]
    requests = await peer.expect_all("get", len(names))
    for request in reversed(requests):
        peer.ok(request, *(view(job) for job in request["jobs"]))
    for name, answer in zip(names, answers, strict=True):
        found = (await answer.ok())["jobs"]
        expect([job.get("id") for job in found] == [name], f"the job `{name}`", found)


@scenario("5")
async def takes_pushes_between_answers(stage: Stage) -> None:
    """Pushes come between answers, also before the answer to what caused them."""
    peer = await stage.connect()
    watched = stage.driver.do("watch", jobs=["a"])
    watch = await peer.expect("watch")
    peer.send(
        news("a", 5, state="STARTED"),
        ok(watch, {"state": "QUEUED", "version": 4}),
        news("a", 6, state="COMPLETE"),
    )
    await watched.ok()
    await stage.driver.event("news", lambda event: event["news"].get("state") == "COMPLETE")
    await stage.still_answers(peer)


@scenario("5")
async def reads_each_entry_for_itself(stage: Stage) -> None:
    """In a batch each item succeeds or fails by itself, in the order of the request."""
    peer = await stage.connect()
    answer = stage.driver.do("get", jobs=["a", "missing", "b"])
    for request in await peer.expect_all("get", 3):
        entries = (
            problem("not_found") if job == "missing" else view(job) for job in request["jobs"]
        )
        peer.ok(request, *entries)
    found = (await answer.ok())["jobs"]
    expect([job.get("id") for job in found] == ["a", None, "b"], "`a`, a problem, `b`", found)
    expect(found[1].get("problem", {}).get("code") == "not_found", "`not_found`", found[1])


@scenario("17")
async def tells_the_codes_of_items(stage: Stage) -> None:
    """A refused item is told with its code, whichever it is, and as not retryable."""
    peer = await stage.connect()
    for code in CODE_SCOPES["item"]:
        if code in RETRYABLE:
            continue
        answer = stage.driver.do("cancel", job="a")
        peer.ok(await peer.expect("cancel"), problem(code, details={"state": "COMPLETE"}))
        error = await answer.error(code)
        expect(not error["retryable"], f"`{code}` with `retryable` false", error)


@scenario("17")
async def tells_the_codes_of_requests(stage: Stage) -> None:
    """A request that is refused as a whole is told with its code."""
    peer = await stage.connect()
    for code in CODE_SCOPES["request"]:
        if code in RETRYABLE or code == "unsupported":  # which a driver says of itself
            continue
        answer = stage.driver.do("cancel", job="a")
        peer.refuse(await peer.expect("cancel"), code, details={"path": "jobs"})
        await answer.error(code)


@scenario("17")
async def bears_codes_it_does_not_know(stage: Stage) -> None:
    """A code of a later version is told as it is, of an item and of a request."""
    peer = await stage.connect()
    answer = stage.driver.do("cancel", job="a")
    peer.ok(await peer.expect("cancel"), problem("teapot", details={"later": "x"}, later=[1.5]))
    await answer.error("teapot")
    answer = stage.driver.do("cancel", job="a")
    peer.refuse(await peer.expect("cancel"), "teapot", later={"a": 1.5})
    await answer.error("teapot")


@scenario("17")
async def goes_by_retryable(stage: Stage) -> None:
    """What is retryable is repeated, or told as retryable: also an unknown code."""
    peer = await stage.connect()
    for code in ("unavailable", "internal", "a_later_one"):
        answer = stage.driver.do("cancel", job="a")
        refusal = refused(await peer.expect("cancel"), code, retryable=True, retry_after_ms=1)
        peer.send(refusal)
        repeated = await stage.request_or_answer(peer, "cancel", answer)
        if repeated is not None:
            peer.ok(repeated, {"state": "FAILED"})
            await answer.ok()
        else:
            error = await answer.error(code)
            expect(error["retryable"], f"`{code}` with `retryable` true", error)


@scenario("17")
async def waits_as_it_is_told(stage: Stage) -> None:
    """What is repeated by itself is not repeated before `retry_after_ms` has passed."""
    peer = await stage.connect()
    answer = stage.driver.do("cancel", job="a")
    peer.refuse(await peer.expect("cancel"), "unavailable", retry_after_ms=RETRY_AFTER_MS)
    refused_s = time.monotonic()
    repeated = await stage.request_or_answer(peer, "cancel", answer)
    if repeated is None:
        await answer.error("unavailable")
        return
    waited_ms = round((time.monotonic() - refused_s) * 1_000)
    in_time = waited_ms >= RETRY_AFTER_MS - SLACK_MS
    expect(in_time, f"{RETRY_AFTER_MS} ms before it comes again", waited_ms)
    peer.ok(repeated, {"state": "FAILED"})
    await answer.ok()


@scenario("17")
async def tells_a_quota(stage: Stage) -> None:
    """A `create` beyond a budget is repeated later, or told as retryable."""
    peer = await stage.connect()
    answer = stage.driver.do("create", jobs=[{"type": "work"}])
    peer.ok(await peer.expect("create"), problem("quota", details={"limit": "1"}))
    repeated = await stage.request_or_answer(peer, "create", answer)
    if repeated is not None:
        peer.ok(repeated, {"job": "later", "state": "QUEUED"})
        await answer.ok()
        return
    told = await answer.problem()
    expect(told["code"] == "quota" and told["retryable"], "`quota`, retryable", told)


@scenario("5")
async def tells_a_refused_create(stage: Stage) -> None:
    """A `create` that is refused as a whole is told: nothing was created."""
    peer = await stage.connect()
    answer = stage.driver.do("create", jobs=[{"type": "work"}])
    peer.refuse(await peer.expect("create"), "forbidden")
    told = await answer.problem()
    expect(told["code"] == "forbidden", "`forbidden`", told)


@scenario("17")
async def goes_on_after_an_error_without_id(stage: Stage) -> None:
    """An `error` that answers no request and does not close is borne."""
    peer = await stage.connect()
    peer.refuse(None, "malformed", details={"path": "t"})
    await stage.still_answers(peer)


@scenario("15")
async def keeps_to_the_requests_in_flight(stage: Stage) -> None:
    """No more requests are unanswered than `limits.in_flight`."""
    peer = await stage.connect(limits={"in_flight": 3, "batch": 1})
    names = [f"job-{number}" for number in range(12)]
    answers = [stage.driver.do("get", jobs=[name]) for name in names]
    for _ in names:
        request = await peer.expect("get")
        peer.ok(request, *(view(job) for job in items_of(request)))
        await peer.look()
    for answer in answers:
        await answer.ok()
    most = peer.most_unanswered
    expect(most <= 3, "at most 3 unanswered requests", f"{most} at once")


@scenario("20")
async def keeps_to_the_batch(stage: Stage) -> None:
    """No request has more items than `limits.batch`."""
    peer = await stage.connect(limits={"batch": 3})
    names = [f"job-{number}" for number in range(8)]
    answer = stage.driver.do("get", jobs=names)
    left = len(names)
    while left:
        request = await peer.expect("get")
        expect(len(request["jobs"]) <= 3, "at most 3 items", len(request["jobs"]))
        left -= len(request["jobs"])
        peer.ok(request, *(view(job) for job in request["jobs"]))
    found = (await answer.ok())["jobs"]
    expect([job.get("id") for job in found] == names, "all jobs, in order", found)

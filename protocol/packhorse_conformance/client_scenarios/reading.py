"""How a client reads: jobs, logs, and news of watched jobs."""

from typing import Any

from packhorse_conformance.peer import problem
from packhorse_conformance.scenario import scenario
from packhorse_conformance.stage import Stage, in_base64, news, view
from packhorse_conformance.verdict import expect


def _entry(offset: int, **fields: Any) -> dict[str, Any]:
    """An entry of a log."""
    return {
        "offset": offset,
        "time_ms": 1_790_000_000_000 + offset,
        "attempt": 1,
        "type": "log",
        "message": f"line {offset}",
        **fields,
    }


@scenario("12")
async def shows_a_job_whole(stage: Stage) -> None:
    """A job is told with all that the broker says of it."""
    peer = await stage.connect()
    said: dict[str, Any] = {
        "state": "FAILED",
        "version": 2**53 - 1,
        "key": "k \u2713",
        "headers": {"a": "b"},
        "attempts": 3,
        "current_attempt": 2,
        "reason": "JOB_TIMEOUT",
        "expired": "run",
        "error": {"type": "T", "message": "m", "traceback": "line 1\nline 2"},
        "labels": ["x", "y"],
        "created_at": 1_790_000_000_000,
    }
    answer = stage.driver.do("get", jobs=["a"])
    peer.ok(await peer.expect("get"), view("a", payload=b"\x00\xff", **said))
    [found] = (await answer.ok())["jobs"]
    for field, value in said.items():
        expect(found.get(field) == value, f"`{field}` {value!r}", found.get(field))
    expect(found.get("payload") == in_base64(b"\x00\xff"), "the payload", found)


@scenario("12")
async def reads_a_log_to_its_end(stage: Stage) -> None:
    """A page may hold fewer entries than there are: the client asks on until `end`."""
    peer = await stage.connect()
    answer = stage.driver.do("logs", job="a")
    offset = 0
    while offset < 5:
        asked = await peer.expect("logs")
        expect(asked["job"] == "a", "the job", asked)
        expect(asked.get("offset", 0) == offset, f"the offset {offset}", asked)
        entries = [_entry(offset), _entry(offset + 1, type="progress", percent=50)][: 5 - offset]
        peer.ok(asked, {"entries": entries, "first": 0, "end": 5})
        offset += len(entries)
    found = (await answer.ok())["entries"]
    offsets = [entry["offset"] for entry in found]
    expect(offsets == [0, 1, 2, 3, 4], "the entries 0 to 4", offsets)
    expect(found[1].get("percent") == 50, "the progress", found[1])


@scenario("12")
async def tells_that_there_is_no_log(stage: Stage) -> None:
    """A log of a job that is not there is `not_found`."""
    peer = await stage.connect()
    answer = stage.driver.do("logs", job="a")
    peer.ok(await peer.expect("logs"), problem("not_found"))
    await answer.error("not_found")


@scenario("12")
async def tells_news(stage: Stage) -> None:
    """Events of a watched job are told: state, progress, and that it was removed."""
    peer = await stage.connect()
    answer = stage.driver.do("watch", jobs=["a", "b"])
    for request in await peer.expect_all("watch", 2):
        peer.ok(request, *({"state": "QUEUED", "version": 1} for _ in request["jobs"]))
    await answer.ok()
    peer.send(news("a", 2, progress={"percent": 50, "text": "half"}, later=1.5))
    peer.send(news("b", 2, removed=True))
    told = stage.driver.event
    await told("news", lambda event: event["news"].get("progress", {}).get("percent") == 50)
    await told("news", lambda event: event["news"]["job"] == "b" and event["news"].get("removed"))


@scenario("12")
async def tells_that_nothing_can_be_watched(stage: Stage) -> None:
    """Watching a job that is not there is `not_found`."""
    peer = await stage.connect()
    answer = stage.driver.do("watch", jobs=["a"])
    peer.ok(await peer.expect("watch"), problem("not_found"))
    await answer.error("not_found")

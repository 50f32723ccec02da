"""Each command in each state of a job: what becomes of it, or why it is refused."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site, ref
from packhorse_conformance.verdict import expect
from packhorse_conformance.wire import Wire

STATES: Final = ("PENDING", "QUEUED", "STARTED", "COMPLETE", "FAILED")

STALE: Final = ("stale_claim",) * 5
WRONG: Final = "wrong_state"
DONE: Final = "done"

Ask = Callable[[Wire, str], Awaitable[list[Any]]]


def _by_id(tag: str) -> Ask:
    return lambda wire, job: wire.ask(tag, jobs=[job])


def _by_token(tag: str, items: str, **fields: object) -> Ask:
    """With a token that was never given out."""
    return lambda wire, job: wire.ask(tag, **{items: [{"job": job, "token": bytes(16), **fields}]})


COMMANDS: Final[dict[str, tuple[Ask, tuple[str, ...]]]] = {
    "claim": (_by_id("claim"), (WRONG, "attempt 1", WRONG, WRONG, WRONG)),
    "release": (_by_token("release", "claims"), STALE),
    "extend": (_by_token("extend", "claims", run_ms=1), STALE),
    "progress": (_by_token("progress", "reports", percent=1), STALE),
    "log": (_by_token("log", "reports", messages=["x"]), STALE),
    "complete": (_by_token("complete", "jobs"), STALE),
    "fail": (_by_token("fail", "jobs", error={}), STALE),
    "handle": (_by_id("handle"), STATES),
    "handled": (_by_id("handled"), (WRONG, WRONG, WRONG, DONE, DONE)),
    "cancel": (_by_id("cancel"), ("FAILED", "FAILED", "STARTED", WRONG, WRONG)),
    "retry": (_by_id("retry"), (WRONG, WRONG, WRONG, WRONG, "QUEUED")),
    "run_now": (_by_id("run_now"), ("QUEUED", WRONG, WRONG, WRONG, WRONG)),
    "remove": (_by_id("remove"), (DONE,) * 5),
}
"""Command to what it comes to: of a job that is not there `not_found`, else by its state."""


async def _job_in(site: Site, wire: Wire, state: str) -> str:
    """A job in this state, of which the client is a handler."""
    if state in ("PENDING", "QUEUED"):
        delay_ms = 3_600_000 if state == "PENDING" else 0
        return await site.job(wire, handle=True, delay_ms=delay_ms)
    claim = await site.claimed(wire, handle=True, persistent=True)
    if state == "COMPLETE":
        await wire.one("complete", jobs=[ref(claim)])
    elif state == "FAILED":
        await wire.one("fail", jobs=[ref(claim, error={})])
    return str(claim["job"])


def _said(entry: Any) -> str:
    """An entry in a word."""
    if "problem" in entry:
        return str(entry["problem"]["code"])
    if "attempt" in entry:
        return f"attempt {entry['attempt']}"
    return str(entry.get("state", DONE))


@scenario("1")
async def allows_what_the_state_allows(site: Site) -> None:
    """Each command in each state: it is done, or refused by its code and changes nothing."""
    wire = await site.client()
    for command, (ask, expected) in COMMANDS.items():
        for state, right in zip(STATES, expected, strict=True):
            job = await _job_in(site, wire, state)
            before = await wire.one("get", jobs=[job])
            expect(before["state"] == state, f"a job that is {state}", before)
            [entry] = await ask(wire, job)
            about = f"`{command}` of a job that is {state}"
            expect(_said(entry) == right, f"{right} for {about}", entry)
            if "problem" in entry:
                after = await wire.one("get", jobs=[job])
                expect(after == before, f"nothing changed by {about}", after)


@scenario("17")
async def refuses_what_is_not_there(site: Site) -> None:
    """Each command for a job that is not there is `not_found`."""
    wire = await site.client()
    for command, (ask, _) in COMMANDS.items():
        [entry] = await ask(wire, site.name("missing"))
        expect(_said(entry) == "not_found", f"`not_found` for `{command}`", entry)

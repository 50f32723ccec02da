"""A broker whose store is away for a while."""

import asyncio
import time
from typing import Any, Final

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site, ref
from packhorse_conformance.verdict import Skipped, expect
from packhorse_conformance.wire import Wire

AGAIN_S: Final = 0.1
"""Before a request is repeated whose refusal does not say when."""

RUN_MS: Final = 3_000
"""A run timeout as long as an outage."""
STOPPING_MS: Final = 1_000
"""In which the store has to be away, so that enough of that is left afterwards."""


@scenario("17", alone=True)
async def refuses_and_goes_on(site: Site) -> None:
    """Requests are `unavailable`, on connections that stay; repeated afterwards they are done."""
    wire, handler = await site.client(), await site.client()
    claim = await site.claimed(wire)
    await handler.one("handle", jobs=[claim["job"]])
    create = {"jobs": [site.new("later", id=site.name("later"))]}
    complete = {"jobs": [ref(claim, result=b"done")]}
    site.remember(site.name("later"))
    async with site.without_store():
        await _unavailable(wire, "create", **create)
        await _unavailable(wire, "complete", **complete)
        await _unavailable(handler, "get", jobs=[claim["job"]])
    entry = await _repeated(wire, "create", **create)
    expect(entry.get("job") == site.name("later"), "the job that was created", entry)
    entry = await _repeated(wire, "complete", **complete)
    expect(entry.get("state") == "COMPLETE", "COMPLETE, by the token of before", entry)
    [outcome] = await handler.outcomes(1)
    right = (outcome["job"], outcome.get("result")) == (claim["job"], b"done")
    expect(right, "the outcome", outcome)


@scenario("17", alone=True)
async def lets_nobody_in(site: Site) -> None:
    """A `hello` that can't be answered is refused as `unavailable`, and closes."""
    async with site.without_store():
        wire = await site.dial()
        wire.send({"t": "hello", "versions": [1]})
        error = await wire.closing_error("unavailable")
    expect(error.get("retryable") is True, "`retryable` true", error)
    await _let_in_again(site)


@scenario("9", alone=True)
async def puts_timeouts_off(site: Site) -> None:
    """Time in which the store is away counts for a delay, and not towards a run timeout."""
    wire, other = await site.client(), await site.client()
    claim = await site.claimed(wire, timeouts={"run_ms": RUN_MS})
    claimed_s = time.monotonic()
    delayed = await site.job(wire, "delayed", delay_ms=RUN_MS)
    await other.ask("take", types={site.type("delayed"): 1}, credit=1)
    async with site.without_store():
        if (time.monotonic() - claimed_s) * 1_000 > STOPPING_MS:
            raise Skipped(f"the store took more than {STOPPING_MS} ms to stop")
        await asyncio.sleep(RUN_MS / 1_000)
    # What is due later than the attempt would be has been seen to.
    [due] = await other.claims(1)
    expect(due["job"] == delayed, "the delayed job", due)
    wire.nothing_more("revoke")
    entry = await _repeated(wire, "complete", jobs=[ref(claim)])
    expect(entry.get("state") == "COMPLETE", "COMPLETE: the attempt is not over", entry)


async def _unavailable(wire: Wire, tag: str, **fields: Any) -> None:
    """That a request is refused until later, as a whole or in its entry."""
    answer = await wire.answer(wire.begin(tag, **fields))
    refusal = answer if answer["t"] == "error" else answer["results"][0].get("problem", answer)
    right = (refusal.get("code"), refusal.get("retryable")) == ("unavailable", True)
    expect(right, f"`unavailable`, retryable, for `{tag}`", answer)
    expect(not answer.get("closing", False), "that the connection goes on", answer)


async def _repeated(wire: Wire, tag: str, **fields: Any) -> Any:
    """Its entry, when the store is there again."""
    while True:
        answer = await wire.answer(wire.begin(tag, **fields))
        entry = answer if answer["t"] == "error" else answer["results"][0]
        refusal = entry.get("problem", entry)
        if refusal.get("code") != "unavailable":
            return entry
        await asyncio.sleep(refusal.get("retry_after_ms", AGAIN_S * 1_000) / 1_000)


async def _let_in_again(site: Site) -> None:
    while True:
        wire = await site.dial()
        wire.send({"t": "hello", "versions": [1]})
        answer = await wire.find(lambda message: bool(message), "`welcome`, or `unavailable`")
        if answer.get("code") != "unavailable":
            wire.received.append(answer)
            await wire.welcomed()
            return
        await asyncio.sleep(AGAIN_S)

"""A broker that goes away: what it still does, and how it closes."""

from typing import Final

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site, ref
from packhorse_conformance.verdict import expect

AWAITED_MS: Final = 10_000
"""The longest grace time whose end is awaited."""


@scenario("16", last=True)
async def runs_down(site: Site) -> None:
    """Every client gets `drain`; nothing new begins, all else works, and it closes `draining`."""
    runner, other = await site.client(), await site.client()
    claim = await site.claimed(runner)
    await runner.ask("take", types={site.type("waits"): 1}, credit=1)
    await site.drain()
    drains = [await wire.push("drain", "`drain`") for wire in (runner, other)]
    job = claim["job"]
    await other.refused("draining", "create", jobs=[site.new("waits")])
    await other.refused("draining", "claim", jobs=[job])
    await runner.refused("draining", "take", types={site.type(): 1}, credit=1)
    await other.one("get", jobs=[job])
    await runner.one("extend", claims=[ref(claim, run_ms=60_000)])
    entry = await runner.one("complete", jobs=[ref(claim)])
    expect(entry["state"] == "COMPLETE", "COMPLETE", entry)
    runner.nothing_more("claims")
    if max(drain["grace_ms"] for drain in drains) <= AWAITED_MS:
        await runner.closing_error("draining")
        await other.closing_error("draining")

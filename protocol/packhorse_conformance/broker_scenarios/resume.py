"""What a client keeps over a lost connection, and what it loses when it is removed."""

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site, ref
from packhorse_conformance.verdict import expect


@scenario("7")
async def keeps_claims(site: Site) -> None:
    """A resumed client has its claims, pushed again with the same tokens."""
    wire = await site.client()
    one, two = await site.claimed(wire), await site.claimed(wire, payload=b"x")
    wire.abort()
    back = await site.resume(wire)
    expect(back.welcome["resumed"] is True, "`resumed` true", back.welcome)
    found = {claim["job"]: claim for claim in await back.claims(2)}
    expect(found[two["job"]] == two, "the same claim", found[two["job"]])
    await back.one("complete", jobs=[ref(one)])


@scenario("10")
async def pushes_what_was_never_read(site: Site) -> None:
    """A claim whose push was lost with its connection is held, and pushed again."""
    wire, producer = await site.client(), await site.client()
    await wire.ask("take", types={site.type(): 1}, credit=1)
    job = await site.job(producer)
    await producer.ask("watch", jobs=[job])
    view = await producer.one("get", jobs=[job])
    if view["state"] != "STARTED":
        await producer.events(job, lambda event: event.get("state") == "STARTED")
    wire.abort()
    back = await site.resume(wire)
    [claim] = await back.claims(1)
    expect(claim["job"] == job, "the claim", claim)


@scenario("7")
async def forgets_subscriptions(site: Site) -> None:
    """`take` and `watch` belong to the connection: a resumed one begins without."""
    wire, producer = await site.client(), await site.client()
    await wire.ask("take", types={site.type(): 5, site.type("fence"): 5}, credit=5)
    watched = await site.job(producer, "quiet")
    await wire.ask("watch", jobs=[watched])
    wire.abort()
    back = await site.resume(wire)
    await site.job(producer)
    await producer.one("remove", jobs=[watched])
    await back.ask("take", types={site.type("fence"): 5}, credit=5)
    fence = await site.job(producer, "fence")
    [claim] = await back.claims(1)
    expect(claim["job"] == fence, "only what was taken anew", claim)
    back.nothing_more("events")


@scenario("7")
async def changes_roles(site: Site) -> None:
    """A client may come back with other roles; pushes of roles that it lacks are not sent."""
    wire = await site.client()
    claim = await site.claimed(wire, handle=True)
    wire.abort()
    back = await site.resume(wire, roles=["read"])
    expect(back.welcome["roles"] == ["read"], "the role `read` alone", back.welcome)
    await back.fence()
    back.nothing_more("claims")
    await back.refused("forbidden", "complete", jobs=[ref(claim)])
    again = await site.resume(wire)
    await again.claims(1)
    await again.one("complete", jobs=[ref(claim)])


@scenario("8")
async def removes_who_is_silent(site: Site) -> None:
    """A client of which nothing is heard for its timeout is removed: its jobs are tried again."""
    watcher, runner = await site.client(), await site.short_lived()
    job = await site.job(watcher, attempts=2, handle=True)
    claim = await runner.one("claim", jobs=[job])
    handled = await site.job(runner, handle=True)
    await watcher.ask("watch", jobs=[job])
    runner.abort()
    await watcher.events(job, lambda event: event.get("state") == "QUEUED")
    view = await watcher.one("get", jobs=[job])
    expect(view.get("lost") == 1, "one lost attempt", view)
    await watcher.problem("stale_claim", "complete", jobs=[ref(claim)])
    view = await watcher.one("get", jobs=[handled])
    expect(view.get("handlers", []) == [], "no handler any more", view)
    again = await site.client_when_free(runner.client, runner.secret)
    expect(again.welcome["resumed"] is False, "`resumed` false", again.welcome)


@scenario("8")
async def fails_what_was_lost_at_last(site: Site) -> None:
    """The last attempt that is lost ends the job as RUNNER_TIMEOUT."""
    wire, runner = await site.client(), await site.short_lived()
    job = await site.job(wire, handle=True)
    await runner.one("claim", jobs=[job])
    runner.abort()
    [outcome] = await wire.outcomes(1)
    expect(outcome.get("reason") == "RUNNER_TIMEOUT", "RUNNER_TIMEOUT", outcome)


@scenario("8")
async def tells_a_removed_client(site: Site) -> None:
    """A silent client's connection is closed with `client_gone` or `silent`."""
    wire = await site.short_lived()
    wire.mute = True
    rest = await wire.end("a closing error and the connection's end")
    last = rest[-1] if rest else {}
    right = last.get("code") in ("client_gone", "silent") and last.get("closing")
    expect(right, "the closing error `client_gone` or `silent`", last)


@scenario("8")
async def hears_any_frame(site: Site) -> None:
    """A client that beats, or says anything, is not removed, however long."""
    wire, other = await site.short_lived(), await site.client()
    claim = await site.claimed(wire)
    gone = await site.short_lived()
    held = await site.job(other, attempts=2)
    await gone.one("claim", jobs=[held])
    await other.ask("watch", jobs=[held])
    gone.abort()
    # While that one is removed, which takes a whole timeout, this one says something.
    hearing = other.events(held, lambda event: event.get("state") == "QUEUED")
    await wire.keeps_saying_until(hearing)
    await wire.one("complete", jobs=[ref(claim)])


@scenario("8")
async def beats(site: Site) -> None:
    """A broker that has nothing to say sends `beat`."""
    wire = await site.short_lived()
    for _ in range(2):
        await wire.beat()

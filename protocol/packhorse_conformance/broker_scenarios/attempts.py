"""Attempts: failing, waiting for the next one, and lost runners."""

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site, ref
from packhorse_conformance.verdict import expect

ERROR = {"type": "OSError", "message": "no disk \u2713", "traceback": "line 1\nline 2"}


@scenario("10")
async def fails_with_its_error(site: Site) -> None:
    """A `fail` of the last attempt ends the job as FAILED, with the error that was said."""
    wire = await site.client()
    claim = await site.claimed(wire)
    entry = await wire.one("fail", jobs=[ref(claim, error=ERROR)])
    expect(entry["state"] == "FAILED", "FAILED", entry)
    view = await wire.one("get", jobs=[claim["job"]])
    right = (view.get("reason"), view.get("error"), view.get("failed")) == ("FAILED", ERROR, 1)
    expect(right, "the reason FAILED, the error, one failed attempt", view)


@scenario("9")
async def tries_again(site: Site) -> None:
    """While attempts remain the job is QUEUED again, at the end of its queue."""
    wire = await site.client()
    claim = await site.claimed(wire, id=site.id("first"), attempts=2)
    await site.job(wire, id=site.id("second"))
    entry = await wire.one("fail", jobs=[ref(claim, error=ERROR)])
    expect(entry["state"] == "QUEUED", "QUEUED", entry)
    await wire.ask("take", types={site.type(): 2}, credit=2)
    first, second = await wire.claims(2)
    expect(second["job"] == claim["job"], "the failed job behind the other", [first, second])
    expect(second["attempt"] == 2, "the attempt 2", second)
    entry = await wire.one("fail", jobs=[ref(second, error=ERROR)])
    expect(entry["state"] == "FAILED", "FAILED after the last attempt", entry)


@scenario("10")
async def fails_for_good(site: Site) -> None:
    """`retry` false ends the job though attempts remain."""
    wire = await site.client()
    claim = await site.claimed(wire, attempts=5)
    entry = await wire.one("fail", jobs=[ref(claim, error={}, retry=False, retry_in_ms=5)])
    expect(entry["state"] == "FAILED", "FAILED", entry)


@scenario("9")
async def waits_as_the_backoff_says(site: Site) -> None:
    """The wait before the next attempt follows from the backoff and the attempts so far."""
    backoffs = (
        ({"type": "fixed", "delay_ms": 70_000}, 70_000),
        ({"type": "linear", "delay_ms": 70_000}, 70_000),
        ({"type": "exponential", "delay_ms": 70_000, "factor_percent": 300}, 70_000),
        ({"type": "exponential", "delay_ms": 10**9, "max_ms": 70_000}, 70_000),
        ({"type": "list", "delays_ms": [70_000, 1]}, 70_000),
        ({"type": "list"}, 0),
        ({"type": "fixed"}, 0),
    )
    wire = await site.client()
    for backoff, wait_ms in backoffs:
        claim = await site.claimed(wire, attempts=9, backoff=backoff)
        entry = await wire.one("fail", jobs=[ref(claim, error=ERROR)])
        state = "PENDING" if wait_ms else "QUEUED"
        expect(entry["state"] == state, f"{state} with {backoff}", entry)
        [attempts] = await wire.ask("attempts", jobs=[claim["job"]])
        [attempt] = attempts["attempts"]
        next_at = attempt["finished_at"] + wait_ms if wait_ms else 0
        expect(attempt.get("next_at", 0) == next_at, f"`next_at` {next_at}", attempt)


@scenario("9")
async def waits_longer_each_time(site: Site) -> None:
    """With the number of spent attempts `linear` and `exponential` grow, a `list` goes on."""
    backoffs = (
        ({"type": "linear", "delay_ms": 1_000}, [1_000, 2_000, 3_000]),
        ({"type": "exponential", "delay_ms": 1_000, "factor_percent": 150}, [1_000, 1_500, 2_250]),
        ({"type": "list", "delays_ms": [5_000, 7_000]}, [5_000, 7_000, 7_000]),
        ({"type": "linear", "delay_ms": 1_000, "max_ms": 1_500}, [1_000, 1_500, 1_500]),
    )
    wire = await site.client()
    for backoff, waits_ms in backoffs:
        job = await site.job(wire, attempts=9, backoff=backoff)
        for wait_ms in waits_ms:
            claim = await wire.one("claim", jobs=[job])
            await wire.one("fail", jobs=[ref(claim, error=ERROR)])
            view = await wire.one("get", jobs=[job])
            [attempts] = await wire.ask("attempts", jobs=[job])
            last = attempts["attempts"][-1]
            waited = view["next_attempt"] - last["finished_at"]
            expect(waited == wait_ms, f"a wait of {wait_ms} ms with {backoff}", waited)
            await wire.one("run_now", jobs=[job])


@scenario("9")
async def spreads_waits_by_jitter(site: Site) -> None:
    """Jitter keeps the wait within its bounds."""
    jitters = (
        ({"jitter": "full"}, 0, 100_000),
        ({"jitter": "equal"}, 50_000, 100_000),
        ({"jitter": "share", "jitter_percent": 10}, 90_000, 110_000),
    )
    wire = await site.client()
    for jitter, low_ms, high_ms in jitters:
        backoff = {"type": "fixed", "delay_ms": 100_000, **jitter}
        claim = await site.claimed(wire, attempts=2, backoff=backoff)
        await wire.one("fail", jobs=[ref(claim, error=ERROR)])
        [attempts] = await wire.ask("attempts", jobs=[claim["job"]])
        [attempt] = attempts["attempts"]
        waited = attempt.get("next_at", attempt["finished_at"]) - attempt["finished_at"]
        expect(low_ms <= waited <= high_ms, f"a wait of {low_ms} to {high_ms} ms", waited)


@scenario("10")
async def waits_as_the_runner_says(site: Site) -> None:
    """`retry_in_ms` goes before the backoff, also 0; when it is over the job is claimed again."""
    wire = await site.client()
    slow = {"type": "fixed", "delay_ms": 3_600_000}
    claim = await site.claimed(wire, attempts=3, backoff=slow)
    entry = await wire.one("fail", jobs=[ref(claim, error=ERROR, retry_in_ms=0)])
    expect(entry["state"] == "QUEUED", "QUEUED at once", entry)
    claim = await wire.one("claim", jobs=[claim["job"]])
    entry = await wire.one("fail", jobs=[ref(claim, error=ERROR, retry_in_ms=50)])
    expect(entry["state"] == "PENDING", "PENDING", entry)
    await wire.ask("take", types={site.type(): 1}, credit=1)
    [again] = await wire.claims(1)
    expect(again["attempt"] == 3, "the attempt 3", again)


@scenario("12")
async def shows_each_attempt(site: Site) -> None:
    """`attempts` shows how each ended, oldest first; a released one is not spent."""
    wire = await site.client()
    job = await site.job(wire, attempts=3, persistent=True)
    claim = await wire.one("claim", jobs=[job])
    await wire.one("release", claims=[ref(claim)])
    claim = await wire.one("claim", jobs=[job])
    await wire.one("fail", jobs=[ref(claim, error=ERROR)])
    claim = await wire.one("claim", jobs=[job])
    await wire.one("complete", jobs=[ref(claim)])
    [found, missing] = await wire.ask("attempts", jobs=[job, site.name("missing")])
    ended = [(attempt["attempt"], attempt["ended"]) for attempt in found["attempts"]]
    right = [(1, "released"), (1, "failed"), (2, "completed")]
    expect(ended == right, f"{right}", ended)
    runners = {attempt["runner"] for attempt in found["attempts"]}
    expect(runners == {wire.client}, "its runner", runners)
    expect(found["attempts"][1].get("error") == ERROR, "the error", found["attempts"][1])
    expect(missing.get("problem", {}).get("code") == "not_found", "`not_found`", missing)


@scenario("9")
async def sets_aside_what_loses_its_runners(site: Site) -> None:
    """One loss more than `lost_limit` allows ends the job as RUNNER_TIMEOUT, attempts remain."""
    producer, runner = await site.client(), await site.client()
    job = await site.job(producer, handle=True, attempts=9, lost_limit=1)
    await runner.one("claim", jobs=[job])
    await runner.answer(runner.begin("bye"))
    [outcome] = await producer.outcomes(1)
    right = (outcome["state"], outcome.get("reason")) == ("FAILED", "RUNNER_TIMEOUT")
    expect(right, "FAILED with RUNNER_TIMEOUT", outcome)


@scenario("9")
async def keeps_its_place_when_lost(site: Site) -> None:
    """A job whose runner was lost, and that does not wait, is QUEUED at its former place."""
    producer, runner = await site.client(), await site.client()
    first, second = site.id("first"), site.id("second")
    await site.job(producer, id=first, attempts=2)
    await runner.one("claim", jobs=[first])
    await site.job(producer, id=second)
    await runner.answer(runner.begin("bye"))
    await producer.ask("take", types={site.type(): 2}, credit=2)
    claimed = [claim["job"] for claim in await producer.claims(2)]
    expect(claimed == [first, second], "the lost one first", claimed)


@scenario("9")
async def goes_to_the_end_when_timed_out(site: Site) -> None:
    """A job whose attempt took too long is QUEUED at the end of its queue."""
    wire = await site.client()
    first, second = site.id("first"), site.id("second")
    timeouts = {"run_ms": 3_600_000}
    claim = await site.claimed(wire, id=first, attempts=2, timeouts=timeouts)
    await site.job(wire, id=second)
    await wire.one("extend", claims=[ref(claim, run_ms=30)])
    await wire.revocation(first, "timeout")
    await wire.ask("take", types={site.type(): 2}, credit=2)
    claimed = [claim["job"] for claim in await wire.claims(2)]
    expect(claimed == [second, first], "the one that waited first", claimed)

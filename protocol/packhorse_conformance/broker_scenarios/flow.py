"""Flow: many requests, slow readers, large batches."""

from packhorse_conformance.scenario import scenario
from packhorse_conformance.site import Site, ref
from packhorse_conformance.verdict import expect


@scenario("15")
async def answers_more_than_in_flight(site: Site) -> None:
    """More requests than `limits.in_flight` are all answered: the broker reads when it can."""
    wire = await site.client()
    count = min(wire.limits["in_flight"] + 50, 5_000)
    requests = [wire.begin("counts", types=[site.type()]) for _ in range(count)]
    for request in requests:
        answer = await wire.answer(request)
        expect(answer["t"] == "ok", "`ok`", answer)


@scenario("15")
async def creates_a_whole_batch(site: Site) -> None:
    """A batch of `limits.batch` jobs is created, claimed, ended and handled as one."""
    wire = await site.client()
    count = min(wire.limits["batch"], 1_000)
    entries = await site.create(wire, *[site.new() for _ in range(count)], handle=True)
    jobs = [entry["job"] for entry in entries]
    expect(len(set(jobs)) == count, f"{count} different jobs", len(set(jobs)))
    claims = await wire.ask("claim", jobs=jobs)
    expect([claim["job"] for claim in claims] == jobs, "all claims in order", len(claims))
    ends = await wire.ask("complete", jobs=[ref(claim) for claim in claims])
    expect({end["state"] for end in ends} == {"COMPLETE"}, "all COMPLETE", len(ends))
    outcomes = await wire.outcomes(count)
    handled = await wire.ask("handled", jobs=[outcome["job"] for outcome in outcomes])
    expect(handled == [{}] * count, "all handled", len(handled))


@scenario("15")
async def cuts_large_pushes(site: Site) -> None:
    """Claims that fit into no frame together come in several."""
    wire, producer = await site.client(), await site.client()
    payload = b"x" * wire.limits["payload_bytes"]
    count = wire.limits["frame_bytes"] // len(payload) + 2
    jobs = [site.id(f"job-{number}") for number in range(count)]
    for job in jobs:
        await site.job(producer, id=job, payload=payload)
    await wire.ask("take", types={site.type(): count}, credit=count)
    found = await wire.claims(count)
    expect([claim["job"] for claim in found] == jobs, "each job, in order", len(found))


@scenario("5")
async def applies_requests_in_order(site: Site) -> None:
    """Pipelined requests that concern the same job take effect in the order in which they came."""
    wire = await site.client()
    claim = await site.claimed(wire, persistent=True)
    requests = [
        wire.begin("progress", reports=[ref(claim, percent=10)]),
        wire.begin("log", reports=[ref(claim, messages=["a"])]),
        wire.begin("progress", reports=[ref(claim, percent=90)]),
        wire.begin("complete", jobs=[ref(claim)]),
    ]
    for request in requests:
        answer = await wire.answer(request)
        done = answer["t"] == "ok" and "problem" not in answer["results"][0]
        expect(done, "each to be done", answer)
    view = await wire.one("get", jobs=[claim["job"]])
    expect(view["progress"]["percent"] == 90, "the last progress", view)

"""Bounds in both directions: a client that asks too much at once, and one that does not read."""

import asyncio
import gc
from pathlib import Path

from packhorse_broker.broker import Broker
from packhorse_protocol.messages import (
    Claim,
    ClaimJobs,
    Claims,
    ClientBeat,
    Create,
    Get,
    Handled,
    Info,
    JobView,
    LogReport,
    NewJob,
    Ok,
    Outcomes,
    ReadLog,
    Watch,
    WriteLog,
)
from tests.support.brokers import Brokers, until
from tests.support.requests import complete, count, create, names, take
from tests.support.wire import Wire

MIB = 1024 * 1024


def resident_bytes() -> int:
    """Memory of this process, in which the broker runs."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


async def slow(brokers: Brokers, broker: Broker, client: str, **hello: object) -> Wire:
    """One whose kernel holds little for it, so that what it does not read is the broker's."""
    wire = await Wire.open(broker.addresses[0], receive_buffer_bytes=4_096, client=client, **hello)
    return brokers.keep(wire)


async def full(broker: Broker, client: str) -> None:
    """Until the broker holds back what a client has not read."""
    session = broker.sessions.get(client)
    assert session is not None
    await until(lambda: not session.outlet.has_room())


# -- who asks too much at once


async def test_reading_stops_at_the_bound_and_nothing_is_lost(brokers: Brokers) -> None:
    broker = await brokers.start(max_in_flight=4)
    wire = await brokers.connect(broker)
    sent = [wire.begin(Create, jobs=(NewJob(type="t", id=f"j{n}"),)) for n in range(500)]
    for request in sent:
        assert isinstance(await wire.answer(request), Ok)
    for request in [wire.begin(Get, jobs=(f"j{n}",)) for n in range(500)]:
        answer = await wire.answer(request)
        assert isinstance(answer, Ok)
        assert isinstance(answer.results[0], JobView)
    assert await count(wire, "QUEUED") == 500


async def test_one_that_waits_for_its_answers_holds_up_nobody(brokers: Brokers) -> None:
    broker = await brokers.start(max_in_flight=1)
    busy, other = await brokers.connect(broker), await brokers.connect(broker)
    requests = [busy.begin(Info) for _ in range(300)]
    await create(other, "a")
    assert await count(other, "QUEUED") == 1
    for request in requests:
        await busy.answer(request)


async def test_answers_far_larger_than_the_outbox_arrive(brokers: Brokers, broker: Broker) -> None:
    """Whoever reads gets all that it asked for, however fast it asked."""
    wire = await brokers.connect(broker)
    ids = [f"j{n}" for n in range(12)]
    for job in ids:
        await create(wire, job, payload=bytes(MIB))
    requests = [wire.begin(Get, jobs=(job,)) for job in ids * 4]
    for request in requests:
        answer = await wire.answer(request)
        assert isinstance(answer, Ok)
        assert isinstance(answer.results[0], JobView)


async def test_claims_far_larger_than_the_outbox_arrive(brokers: Brokers, broker: Broker) -> None:
    creator, runner = await brokers.connect(broker), await brokers.connect(broker, "r")
    ids = [f"j{n:02}" for n in range(30)]
    for job in ids:
        await create(creator, job, payload=bytes(MIB))
    await take(runner, 30)
    claims = await runner.claims(30)
    assert names(claims) == ids
    # Also all at once, when they are pushed again.
    again = await brokers.connect(broker, "r", secret=runner.welcome.secret)
    held = await again.claims(30)
    assert sorted(held, key=lambda claim: claim.job) == claims
    await complete(again, *held)
    assert await count(creator, "STARTED") == 0


# -- who does not read


async def test_outcomes_wait_in_the_store_for_one_that_does_not_read(
    brokers: Brokers, broker: Broker
) -> None:
    """What it is owed is far more than what the broker holds for it."""
    handler = await slow(brokers, broker, "h")
    runner, other = await brokers.connect(broker), await brokers.connect(broker)
    ids = [f"j{n:03}" for n in range(64)]
    await create(handler, *ids, handle=True)
    before = resident_bytes()
    for job in ids:
        [claim] = await runner.ask(ClaimJobs, jobs=(job,))
        await complete(runner, claim, result=bytes(MIB))
        # Others are served meanwhile.
        await create(other, f"other-{job}")
    await full(broker, "h")
    session = broker.sessions.get("h")
    assert session is not None
    waiting = sum(len(outcome.result or b"") for outcome in session._outcomes)
    assert waiting <= broker.config.max_outbox_bytes
    assert resident_bytes() - before < 5 * broker.config.max_outbox_bytes < len(ids) * MIB
    # It has been sent a part, and gets everything once it reads.
    assert len(session.owed) < len(ids)
    seen: set[str] = set()
    while len(seen) < len(ids):
        outcomes = (await handler.push(Outcomes)).outcomes
        seen |= {outcome.job for outcome in outcomes}
        await handler.ask(Handled, jobs=tuple(outcome.job for outcome in outcomes))
    assert seen == set(ids)
    assert await count(runner, "COMPLETE") == 0


async def test_one_that_never_reads_gets_everything_when_it_comes_back(
    brokers: Brokers, broker: Broker
) -> None:
    handler = await slow(brokers, broker, "h")
    runner = await brokers.connect(broker)
    ids = [f"j{n:03}" for n in range(24)]
    await create(handler, *ids, handle=True)
    for job in ids:
        [claim] = await runner.ask(ClaimJobs, jobs=(job,))
        await complete(runner, claim, result=bytes(MIB))
    await full(broker, "h")
    await handler.abort()
    again = await brokers.connect(broker, "h", secret=handler.welcome.secret)
    assert again.welcome.resumed
    seen: set[str] = set()
    while len(seen) < len(ids):
        seen |= {outcome.job for outcome in (await again.push(Outcomes)).outcomes}


async def test_a_runner_that_does_not_read_is_given_no_more(
    brokers: Brokers, broker: Broker
) -> None:
    creator, other = await brokers.connect(broker), await brokers.connect(broker)
    runner = await slow(brokers, broker, "r")
    ids = [f"j{n:03}" for n in range(40)]
    for job in ids:
        await create(creator, job, payload=bytes(MIB))
    await take(runner, 40)
    await full(broker, "r")
    await take(other, 40)
    while await count(creator, "QUEUED"):
        await other.ask(Info)
    session = broker.sessions.get("r")
    assert session is not None
    assert 0 < len(session._held) < 40
    mine = await runner.claims(len(session._held))
    taken = await other.claims(40 - len(mine))
    assert sorted(names([*mine, *taken])) == ids


async def test_one_that_asks_and_does_not_read_is_answered_no_further(
    brokers: Brokers, broker: Broker
) -> None:
    """Its answers wait for its reading; the broker holds about one of them."""
    asker, other = await slow(brokers, broker, "a"), await brokers.connect(broker)
    for n in range(4):
        await create(other, f"j{n}", payload=bytes(MIB))
    before = resident_bytes()
    requests = [asker.begin(Get, jobs=(f"j{n % 4}",)) for n in range(60)]
    await full(broker, "a")
    assert await other.ask(Info)
    assert resident_bytes() - before < 5 * broker.config.max_outbox_bytes
    for request in requests:
        assert isinstance(await asker.answer(request), Ok)


async def test_one_that_drowns_in_its_answers_is_cut_off_and_comes_back(brokers: Brokers) -> None:
    """Answers that can't wait (of claims by id) fill the outbox; nothing is lost by it."""
    broker = await brokers.start(
        max_outbox_bytes=1_152 * 1024,
        max_frame_bytes=1_152 * 1024,
        max_payload_bytes=512 * 1024,
        max_result_bytes=1_000,
    )
    creator = await brokers.connect(broker)
    ids = [f"j{n:03}" for n in range(60)]
    for job in ids:
        await create(creator, job, payload=bytes(512 * 1024))
    runner = await slow(brokers, broker, "r")
    for job in ids:
        runner.begin(ClaimJobs, jobs=(job,))
    await until(lambda: broker.sessions.get("r") is None)
    started = await count(creator, "STARTED")
    again = await brokers.connect(broker, "r", secret=runner.welcome.secret)
    claims: list[Claim] = []
    while len(claims) < started:
        claims += (await again.push(Claims)).claims
    await complete(again, *claims)
    assert await count(creator, "STARTED") == 0
    assert await count(creator, "QUEUED") == 60 - started


async def test_a_silent_watcher_costs_little(brokers: Brokers, broker: Broker) -> None:
    watcher = await slow(brokers, broker, "w")
    runner = await brokers.connect(broker)
    ids = [f"j{n}" for n in range(500)]
    await create(runner, *ids)
    await watcher.ask(Watch, jobs=tuple(ids))
    claims = await runner.ask(ClaimJobs, jobs=tuple(ids))
    before = resident_bytes()
    for _ in range(10):
        reports = [
            LogReport(job=claim.job, token=claim.token, messages=("m" * 4_000,)) for claim in claims
        ]
        for start in range(0, len(reports), 250):
            await runner.ask(WriteLog, reports=tuple(reports[start : start + 250]))
    await full(broker, "w")
    assert resident_bytes() - before < 5 * broker.config.max_outbox_bytes
    [page] = await runner.ask(ReadLog, job="j0")
    assert page.end == 10


# -- heartbeats


async def test_a_quiet_connection_is_kept_alive_from_both_sides(brokers: Brokers) -> None:
    broker = await brokers.start(
        heartbeat_ms=10, client_timeout_ms=1_000, sweep_ms=10, last_response_flush_ms=10
    )
    wire = await brokers.connect(broker)
    # Beats come and nothing else, as long as this client says that it lives.
    while wire.beats < 3:
        beats = wire.beats
        wire.send(ClientBeat())
        while wire.beats == beats:
            await wire._read()
    assert await wire.ask(Info)


async def test_many_clients_at_once(brokers: Brokers, broker: Broker) -> None:
    wires = await asyncio.gather(*(brokers.connect(broker) for _ in range(200)))
    await asyncio.gather(*(take(wire, 1) for wire in wires))
    creator = await brokers.connect(broker)
    await create(creator, *(f"j{n}" for n in range(200)))
    claims = await asyncio.gather(*(wire.claims(1) for wire in wires))
    assert len({claim.job for [claim] in claims}) == 200

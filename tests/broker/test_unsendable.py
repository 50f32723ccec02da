"""What can't be sent to a client harms nothing that is sent with it.

Whoever asks by the wire can't bring it in. An older broker or one with larger frames can, and so
does the store when something is wrong with it; here it is put in past the wire.
"""

from collections.abc import Sequence

from packhorse_broker.broker import Broker
from packhorse_broker.contents import pack_body
from packhorse_broker.jobs.commands import Cancel, Command, ReportProgress
from packhorse_broker.jobs.commands import Create as CreateJob
from packhorse_broker.jobs.model import Applied, Progress
from packhorse_protocol.messages import Cancelling, ClaimJobs, Watch
from tests.support.brokers import Brokers
from tests.support.requests import complete, create, get, names, take

LONG = "x" * 2_000
"""Longer than any text on the wire."""


async def put(broker: Broker, items: Sequence[tuple[str, Command]]) -> None:
    """Commands in one batch."""
    results = await broker.parts.operations.applied(items)
    assert all(isinstance(result, Applied) for result in results)


async def test_a_job_that_no_runner_can_be_sent_fails_and_makes_room(
    brokers: Brokers, broker: Broker
) -> None:
    runner, handler = await brokers.connect(broker), await brokers.connect(broker)
    headers: dict[str, dict[str, str] | None] = {"a": None, "b": {"trace": LONG}, "c": None}
    await put(
        broker,
        [
            (job, CreateJob(job, "t", pack_body(b"", told), "maker", handler=handler.id))
            for job, told in headers.items()
        ],
    )
    await take(runner, 2)
    claims = await runner.claims(2)
    assert names(claims) == ["a", "c"]
    [outcome] = await handler.outcomes(1)
    assert (outcome.job, outcome.reason) == ("b", "FAILED")
    assert outcome.error is not None
    assert outcome.error.type == "Unsendable"
    assert "headers" in outcome.error.message
    assert (await get(handler, "a")).state == "STARTED"
    await complete(runner, *claims)


async def test_a_payload_larger_than_a_frame_of_this_broker(brokers: Brokers) -> None:
    large = await brokers.start()
    small = await brokers.start(
        max_frame_bytes=640 * 1024, max_payload_bytes=1024, max_result_bytes=1024
    )
    maker, runner = await brokers.connect(large), await brokers.connect(small)
    await create(maker, "a", payload=bytes(800_000), handle=True)
    await create(maker, "b")
    await take(runner, 1)
    assert names(await runner.claims(1)) == ["b"]
    view = await get(maker, "a")
    assert view.error is not None
    assert "bytes" in view.error.message


async def test_other_events_and_cancellations_go(brokers: Brokers, broker: Broker) -> None:
    runner, watcher = await brokers.connect(broker), await brokers.connect(broker)
    await create(watcher, "a", "b")
    one, two = await runner.ask(ClaimJobs, jobs=("a", "b"))
    await watcher.ask(Watch, jobs=("a", "b"))
    await put(
        broker,
        [
            ("a", ReportProgress(runner.id, one.token, Progress(1, LONG))),
            ("b", ReportProgress(runner.id, two.token, Progress(2, "half"))),
        ],
    )
    [event] = await watcher.events("b", lambda event: event.progress is not None)
    assert event.progress is not None
    assert event.progress.text == "half"
    await put(broker, [("a", Cancel("boss", why=LONG)), ("b", Cancel("boss", why="late"))])
    [cancelled] = (await runner.push(Cancelling)).claims
    assert (cancelled.job, cancelled.why) == ("b", "late")

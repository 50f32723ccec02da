"""Bad input: each mistake gets its answer, the connection lives on unless framing itself broke."""

from typing import Any

import msgpack
import pytest

from packhorse_broker.broker import Broker
from packhorse_protocol import Code
from packhorse_protocol.messages import (
    ClaimJobs,
    ClaimRef,
    Complete,
    Completion,
    Create,
    Error,
    Fail,
    Failure,
    Get,
    Handle,
    Handled,
    Info,
    LogReport,
    NewJob,
    ProgressReport,
    Refused,
    Release,
    Remove,
    ReportProgress,
    Unwatch,
    Watch,
    WriteLog,
)
from tests.support.brokers import Brokers
from tests.support.requests import count, create
from tests.support.wire import Wire


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def packed(**fields: Any) -> bytes:
    body: bytes = msgpack.packb(fields)
    return framed(body)


def job(**fields: Any) -> bytes:
    """A create whose second job is this one; the first is fine."""
    return packed(t="create", id=77, jobs=[{"type": "t", "id": "fine"}, fields])


MESSAGES: list[tuple[bytes, Code, str, int | None]] = [
    # no message at all
    (framed(b"\xc1"), Code.MALFORMED, "", None),
    (framed(b"\xc0"), Code.MALFORMED, "", None),
    (framed(b"\x93\x01\x02\x03"), Code.MALFORMED, "", None),
    (framed(b"\x80"), Code.MALFORMED, "t", None),
    (framed(b"\x80\x80"), Code.MALFORMED, "", None),
    (framed(b"\xda\xff\xffabc"), Code.MALFORMED, "", None),
    (framed(b"\x81\xa1t\xa2\xff\xfe"), Code.MALFORMED, "", None),
    (framed(b"\x81\xc4\x01t\xa4beat"), Code.MALFORMED, "t", None),
    (framed(b"\x91" * 5_000 + b"\x90"), Code.MALFORMED, "", None),
    (framed(b"\x82\xa1t\xa4info\xa1x\xc7\x01\x05\x00"), Code.MALFORMED, "", None),
    (framed(b"\xdd\xff\xff\xff\xff"), Code.MALFORMED, "", None),
    (packed(t=5), Code.MALFORMED, "t", None),
    # not a message of ours
    (packed(t="howdy"), Code.UNSUPPORTED, "t", None),
    (packed(t="howdy", id=77), Code.UNSUPPORTED, "t", 77),
    (packed(t="welcome", id=77), Code.UNSUPPORTED, "t", 77),
    # fields
    (packed(t="info"), Code.MALFORMED, "id", None),
    (packed(t="info", id=0), Code.MALFORMED, "id", None),
    (packed(t="info", id=-1), Code.MALFORMED, "id", None),
    (packed(t="info", id=True), Code.MALFORMED, "id", None),
    (packed(t="info", id=1.0), Code.MALFORMED, "id", None),
    (packed(t="info", id=2**63), Code.MALFORMED, "id", None),
    (packed(t="get", id=77), Code.MALFORMED, "jobs", 77),
    (packed(t="get", id=77, jobs=[]), Code.MALFORMED, "jobs", 77),
    (packed(t="get", id=77, jobs="a"), Code.MALFORMED, "jobs", 77),
    (packed(t="get", id=77, jobs=["a", ""]), Code.MALFORMED, "jobs[1]", 77),
    (packed(t="get", id=77, jobs=["a", "x" * 129]), Code.MALFORMED, "jobs[1]", 77),
    (packed(t="get", id=77, jobs=["a\n"]), Code.MALFORMED, "jobs[0]", 77),
    (packed(t="get", id=77, jobs=[b"a"]), Code.MALFORMED, "jobs[0]", 77),
    (packed(t="take", id=77, types={"t": -1}, credit=1), Code.MALFORMED, "types", 77),
    (packed(t="take", id=77, types={"t": 1}, credit=100_001), Code.MALFORMED, "credit", 77),
    (packed(t="logs", id=77, job="a", limit=0), Code.MALFORMED, "limit", 77),
    (packed(t="logs", id=77, job="a", limit=1_001), Code.MALFORMED, "limit", 77),
    # one bad item makes the whole malformed
    (job(), Code.MALFORMED, "jobs[1].type", 77),
    (job(type="t", payload="text"), Code.MALFORMED, "jobs[1].payload", 77),
    (job(type="t", attempts=0), Code.MALFORMED, "jobs[1].attempts", 77),
    (job(type="t", attempts=1_001), Code.MALFORMED, "jobs[1].attempts", 77),
    (job(type="t", persistent=1), Code.MALFORMED, "jobs[1].persistent", 77),
    (job(type="t", headers={"h": 1}), Code.MALFORMED, "jobs[1].headers", 77),
    (job(type="t", headers={f"{n}": "" for n in range(33)}), Code.MALFORMED, "jobs[1].headers", 77),
    (job(type=""), Code.MALFORMED, "jobs[1].type", 77),
    (
        packed(t="progress", id=77, reports=[{"job": "a", "token": bytes(16), "percent": 101}]),
        Code.MALFORMED,
        "reports[0].percent",
        77,
    ),
    (
        packed(t="complete", id=77, jobs=[{"job": "a", "token": bytes(15)}]),
        Code.MALFORMED,
        "jobs[0].token",
        77,
    ),
]


async def errors_so_far(wire: Wire) -> list[Refused]:
    """Those that answer no request of the wire's own."""
    await wire.ask(Info)
    return wire.kept(Refused)


@pytest.mark.parametrize(
    ("frame", "code", "path", "request_id"),
    MESSAGES,
    ids=[f"{number}-{path or code}" for number, (_, code, path, _) in enumerate(MESSAGES)],
)
async def test_a_bad_message_is_answered_and_forgotten(
    brokers: Brokers, broker: Broker, frame: bytes, code: Code, path: str, request_id: int | None
) -> None:
    wire = await brokers.connect(broker)
    if request_id is not None:
        wire.expect(Info(id=request_id))
    wire.send_bytes(frame)
    [error] = await errors_so_far(wire)
    assert (error.code, error.id, error.closing) == (code, request_id, False)
    assert not error.retryable
    found = (error.details or {}).get("path", "")
    assert found.startswith(path) if path else not found
    assert await count(wire, "QUEUED") == 0


NAMES = ("a", "b", "c")
REFS = tuple(ClaimRef(job=job, token=bytes(16)) for job in NAMES)


@pytest.mark.parametrize(
    ("request_kind", "fields"),
    [
        (Create, {"jobs": tuple(NewJob(type="t", id=job) for job in NAMES)}),
        (Get, {"jobs": NAMES}),
        (ClaimJobs, {"jobs": NAMES}),
        (Handle, {"jobs": NAMES}),
        (Handled, {"jobs": NAMES}),
        (Remove, {"jobs": NAMES}),
        (Watch, {"jobs": NAMES}),
        (Unwatch, {"jobs": NAMES}),
        (Release, {"claims": REFS}),
        (Complete, {"jobs": tuple(Completion(job=ref.job, token=ref.token) for ref in REFS)}),
        (
            Fail,
            {"jobs": tuple(Failure(job=ref.job, token=ref.token, error=Error()) for ref in REFS)},
        ),
        (
            ReportProgress,
            {
                "reports": tuple(
                    ProgressReport(job=ref.job, token=ref.token, percent=1) for ref in REFS
                )
            },
        ),
        (
            WriteLog,
            {
                "reports": tuple(
                    LogReport(job=ref.job, token=ref.token, messages=("m",)) for ref in REFS
                )
            },
        ),
    ],
)
async def test_more_items_than_a_batch_holds_are_refused_as_a_whole(
    brokers: Brokers, request_kind: Any, fields: dict[str, Any]
) -> None:
    broker = await brokers.start(max_batch=2)
    wire = await brokers.connect(broker)
    error = await wire.refusal(request_kind, **fields)
    assert (error.code, error.retryable, error.closing) == (Code.TOO_MANY, False, False)
    [name] = fields
    assert len(await wire.ask(request_kind, **{name: fields[name][:2]})) == 2


async def test_a_bad_message_does_not_hold_up_the_others(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    before = wire.begin(Create, jobs=(NewJob(type="t", id="a"),))
    wire.send_bytes(framed(b"\xc1"))
    wire.send_bytes(packed(t="howdy"))
    after = wire.begin(Get, jobs=("a",))
    assert (await wire.answer(before)).id == before
    assert (await wire.answer(after)).id == after
    assert [error.code for error in wire.kept(Refused)] == [Code.MALFORMED, Code.UNSUPPORTED]


async def test_unknown_keys_are_ignored(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    wire.expect(Create(id=77, jobs=(NewJob(type="t"),)))
    wire.send_bytes(
        packed(t="create", id=77, jobs=[{"type": "t", "later": {"x": [1.5]}}], when={"a": None})
    )
    assert (await wire.answer(77)).id == 77
    assert await count(wire, "QUEUED") == 1


@pytest.mark.parametrize(
    ("header", "code"),
    [(bytes(4), Code.FRAME_MALFORMED), (b"\xff\xff\xff\xff", Code.FRAME_TOO_LARGE)],
)
async def test_a_broken_frame_ends_the_connection_and_nothing_else(
    brokers: Brokers, broker: Broker, header: bytes, code: Code
) -> None:
    wire, other = await brokers.connect(broker, "me"), await brokers.connect(broker)
    begun = wire.begin(Create, jobs=(NewJob(type="t", id="before"),))
    wire.send_bytes(header + packed(t="create", id=9, jobs=[{"type": "t", "id": "after"}]))
    error = await wire.closing_error()
    assert (error.code, error.retryable) == (code, False)
    assert begun
    # What came before was read and is done, also where the answer found no connection any more.
    again = await brokers.connect(broker, "me", secret=wire.welcome.secret)
    assert again.welcome.resumed
    # Commits come in the order of arrival: when this one is answered, that one is there.
    await other.ask(Create, jobs=(NewJob(type="t", id="later"),))
    before, after = await other.ask(Get, jobs=("before", "after"))
    assert before.id == "before"
    assert after.code == Code.NOT_FOUND


async def test_the_largest_frame_is_accepted_and_no_larger(brokers: Brokers) -> None:
    broker = await brokers.start(
        max_frame_bytes=1024 * 1024, max_payload_bytes=100_000, max_result_bytes=100_000
    )
    wire = await brokers.connect(broker)
    limit = wire.welcome.limits.frame_bytes
    head = msgpack.packb({"t": "beat", "filling": bytes(limit - 20)})
    filling = limit - 20 + limit - len(head)
    body = msgpack.packb({"t": "beat", "filling": bytes(filling)})
    assert len(body) == limit
    wire.send_bytes(framed(body))
    assert not await errors_so_far(wire)
    wire.send_bytes((limit + 1).to_bytes(4, "big"))
    assert (await wire.closing_error()).code == Code.FRAME_TOO_LARGE


async def test_frames_may_arrive_byte_by_byte(brokers: Brokers, broker: Broker) -> None:
    wire = await brokers.connect(broker)
    wire.expect(Create(id=77, jobs=(NewJob(type="t"),)))
    for byte in packed(t="create", id=77, jobs=[{"type": "t", "id": "a"}]):
        wire.send_bytes(bytes([byte]))
        await wire.drain()
    assert (await wire.answer(77)).id == 77
    await create(wire, "b")
    assert await count(wire, "QUEUED") == 2

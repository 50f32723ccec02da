"""Batches cut to limits of bytes and elements: nothing lost, order kept, each frame within them."""

from itertools import pairwise
from typing import Final

import pytest

from packhorse_protocol import (
    NO_ROOM,
    BrokerConnection,
    Cancellation,
    Cancelling,
    Claim,
    Claims,
    ConnectionState,
    Done,
    Event,
    Events,
    FrameTooLarge,
    JobView,
    LocalProtocolError,
    LogEntry,
    Ok,
    Outcome,
    Outcomes,
    Progress,
    Push,
    Revocation,
    Revoke,
    batching,
    codec,
    fit,
    split,
)
from packhorse_protocol.batching import ENVELOPE
from tests.protocol.ends import FRAME_BYTES, pair

LIMIT_BYTES: Final = 20_000
TOKEN: Final = b"t" * 16

CLAIMS: Final = tuple(
    Claim(job=f"j{n}", token=TOKEN, fence=n, type="a", attempt=1, payload=b"x" * (n * 100))
    for n in range(120)
)
OUTCOMES: Final = tuple(
    Outcome(job=f"j{n}", type="a", state="COMPLETE", version=1, result=b"x" * 3_000)
    for n in range(50)
)
REVOCATIONS: Final = tuple(
    Revocation(job="j" * 128, token=TOKEN, reason="removed") for _ in range(1_000)
)
CANCELLATIONS: Final = tuple(
    Cancellation(job=f"j{n}", token=TOKEN, grace_ms=n, why="w" * 1_000) for n in range(100)
)
EVENTS: Final = tuple(
    Event(
        job=f"j{n}",
        version=n,
        log=(LogEntry(offset=n, time_ms=0, attempt=1, type="log", message="m" * 5_000),),
    )
    for n in range(30)
)


def items(push: Push) -> tuple[object, ...]:
    match push:
        case Claims(claims=claims):
            return claims
        case Outcomes(outcomes=outcomes):
            return outcomes
        case Revoke(claims=revoked):
            return revoked
        case Cancelling(claims=cancelled):
            return cancelled
        case Events(events=events):
            return events


@pytest.mark.parametrize(
    "push",
    [
        Claims(claims=CLAIMS),
        Outcomes(outcomes=OUTCOMES),
        Revoke(claims=REVOCATIONS),
        Cancelling(claims=CANCELLATIONS),
        Events(events=EVENTS),
    ],
    ids=lambda push: type(push).__name__,
)
def test_a_push_is_split(push: Push) -> None:
    parts, left_out = split(push, LIMIT_BYTES)
    assert not left_out
    assert len(parts) > 1
    assert {type(part) for part in parts} == {type(push)}
    assert tuple(item for part in parts for item in items(part)) == items(push)
    sizes = [len(codec.encode(part)) for part in parts]
    assert max(sizes) <= LIMIT_BYTES
    assert all(first + second > LIMIT_BYTES / 2 for first, second in pairwise(sizes))


def test_a_push_that_fits_stays_one() -> None:
    push = Claims(claims=CLAIMS[:2])
    assert split(push, LIMIT_BYTES) == ([push], [])


def test_an_item_larger_than_a_frame_is_left_out_and_the_others_go() -> None:
    large = Claim(job="a", token=TOKEN, fence=1, type="a", attempt=1, payload=b"x" * LIMIT_BYTES)
    push = Claims(claims=(CLAIMS[0], large, CLAIMS[1]))
    parts, [left_out] = split(push, LIMIT_BYTES)
    assert parts == [Claims(claims=CLAIMS[:2])]
    assert left_out.item is large
    assert isinstance(left_out.error, FrameTooLarge)
    assert left_out.error.limit_bytes == LIMIT_BYTES < left_out.error.size_bytes
    assert split(Claims(claims=(large, large)), LIMIT_BYTES).parts == []


def test_an_item_that_the_wire_does_not_allow_is_left_out_and_the_others_go() -> None:
    first, second = EVENTS[:2]
    bad = Event(job="b", version=1, progress=Progress(percent=1, text="\ud800"))
    parts, [left_out] = split(Events(events=(first, bad, second)), LIMIT_BYTES)
    assert parts == [Events(events=(first, second))]
    assert left_out.item is bad
    assert "UTF-8" in str(left_out.error)
    broker: BrokerConnection = pair(ConnectionState.OPEN)[0]
    with pytest.raises(LocalProtocolError):
        broker.send(Events(events=(first, bad)))


def view(size: int) -> JobView:
    return JobView(id="a", type="a", state="QUEUED", version=1, payload=b"x" * size)


def test_a_reply_keeps_what_fits_in_order() -> None:
    small, large = view(100), view(LIMIT_BYTES // 2)
    reply = fit(Ok(id=1, results=(small, large, large, small, Done())), LIMIT_BYTES)
    assert reply == Ok(id=1, results=(small, large, NO_ROOM, small, Done()))
    assert len(codec.encode(reply)) <= LIMIT_BYTES


def test_a_reply_that_fits_stays_as_it_is() -> None:
    reply = Ok(id=1, results=tuple(view(10) for _ in range(20)))
    assert fit(reply, LIMIT_BYTES) == reply


def test_a_reply_of_results_that_are_all_too_large() -> None:
    reply = fit(Ok(id=2**63 - 1, results=(view(LIMIT_BYTES),) * 50), LIMIT_BYTES)
    assert set(reply.results) == {NO_ROOM}
    assert len(codec.encode(reply)) <= LIMIT_BYTES


def test_what_was_fitted_can_be_sent() -> None:
    broker: BrokerConnection = pair(ConnectionState.OPEN)[0]
    reply = Ok(id=1, results=tuple(view(1_000_000) for _ in range(20)))
    with pytest.raises(FrameTooLarge):
        broker.send(reply)
    sent = broker.send(fit(reply, broker.send_limit_bytes))
    assert FRAME_BYTES - 1_100_000 < len(sent) <= FRAME_BYTES + 4


def test_the_envelope_is_no_larger_than_allowed_for() -> None:
    for push, size in (
        (Claims(claims=CLAIMS), CLAIMS),
        (Outcomes(outcomes=OUTCOMES), OUTCOMES),
        (Revoke(claims=REVOCATIONS), REVOCATIONS),
        (Cancelling(claims=CANCELLATIONS), CANCELLATIONS),
        (Events(events=EVENTS), EVENTS),
        (Ok(id=2**63 - 1, results=(Done(),) * 10_000), (Done(),) * 10_000),
    ):
        envelope = len(codec.encode(push)) - sum(codec.part_size(part).bytes for part in size)
        assert 0 < envelope <= ENVELOPE.bytes


# -- elements


def watched_by_many(handlers: int) -> JobView:
    return JobView(
        id="a", type="a", state="QUEUED", version=1, handlers=tuple(map(str, range(handlers)))
    )


def claim_with(headers: dict[str, str]) -> Claim:
    return Claim(job="a", token=TOKEN, fence=1, type="a", attempt=1, headers=headers)


def test_a_part_has_the_elements_that_a_receiver_counts() -> None:
    size = codec.part_size(claim_with({"a": "", "b": ""}))
    assert size.elements == 6 + 2
    assert codec.part_size(Done()).elements == 1
    assert codec.part_size(watched_by_many(3)).elements == 5 + 3


def test_a_reply_of_many_elements_is_not_sent_but_fitted() -> None:
    broker: BrokerConnection = pair(ConnectionState.OPEN)[0]
    view = watched_by_many(256)
    reply = Ok(id=1, results=(view,) * 1_000)
    with pytest.raises(FrameTooLarge, match=r"of 262003 elements, at most 200000") as caught:
        broker.send(reply)
    assert caught.value.size_bytes < caught.value.limit_bytes == FRAME_BYTES
    fitted = fit(reply, FRAME_BYTES)
    kept = fitted.results.count(view)
    assert 700 < kept < 1_000
    assert fitted.results == (view,) * kept + (NO_ROOM,) * (1_000 - kept)
    body = broker.send(fitted)[4:]
    assert codec.decode_broker_message(body, lambda _: JobView) == fitted


def test_a_push_of_many_elements_is_not_sent_but_split() -> None:
    broker: BrokerConnection = pair(ConnectionState.OPEN)[0]
    push = Claims(claims=(claim_with({str(n): "" for n in range(32)}),) * 6_000)
    with pytest.raises(FrameTooLarge):
        broker.send(push)
    parts, left_out = split(push, FRAME_BYTES)
    assert not left_out
    assert [len(items(part)) for part in parts] == [5_128, 872]
    assert tuple(item for part in parts for item in items(part)) == push.claims
    for part in parts:
        assert codec.decode_broker_message(broker.send(part)[4:], lambda _: None) == part


def test_an_item_of_more_elements_than_a_frame_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "MAX_ELEMENTS", 30)
    push = Claims(claims=(CLAIMS[0], claim_with({str(n): "" for n in range(32)})))
    parts, [left_out] = split(push, FRAME_BYTES)
    assert parts == [Claims(claims=CLAIMS[:1])]
    assert isinstance(left_out.error, FrameTooLarge)
    assert left_out.error.elements > 30

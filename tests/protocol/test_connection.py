"""The connection's states: what may pass in each, and what follows from it."""

from typing import Any, Final

import msgpack
import pytest

from packhorse_protocol import (
    BROKER_MESSAGES,
    CLIENT_MESSAGES,
    RESULTS,
    BrokerBeat,
    BrokerConnection,
    Bye,
    Cancelling,
    Claims,
    ClientBeat,
    ClientConnection,
    Code,
    ConnectionState,
    Create,
    Created,
    Done,
    Drain,
    Events,
    FrameTooLarge,
    FramingError,
    Get,
    Hello,
    Info,
    JobView,
    Join,
    LocalProtocolError,
    MalformedMessage,
    NewJob,
    Ok,
    Outcomes,
    Problem,
    Refused,
    Revoke,
    Welcome,
    codec,
)
from packhorse_protocol.connection import BATCH_FIELD
from packhorse_protocol.framing import frame
from packhorse_protocol.limits import HANDSHAKE_FRAME_BYTES, MAX_FRAME_BYTES
from packhorse_protocol.records import replace
from tests.protocol.ends import (
    CLOSING,
    FRAME_BYTES,
    HELLO,
    TOO_LONG,
    WELCOME,
    broker_samples,
    client_samples,
    pair,
    waiting_client,
)

HANDSHAKE, GREETED, OPEN, BROKEN, CLOSED = ConnectionState

FROM_CLIENT: Final = client_samples()
FROM_BROKER: Final = broker_samples()

# Written down once more, apart from the code: what may pass in each state.
CLIENT_MAY: Final[dict[ConnectionState, set[type]]] = {
    HANDSHAKE: {Hello},
    GREETED: set(),
    OPEN: set(CLIENT_MESSAGES.values()) - {Hello},
    BROKEN: set(),
    CLOSED: set(),
}
BROKER_MAY: Final[dict[ConnectionState, set[type]]] = {
    HANDSHAKE: {Refused},
    GREETED: {Welcome, Refused},
    OPEN: {BrokerBeat, Ok, Refused, Claims, Outcomes, Revoke, Cancelling, Events, Drain},
    BROKEN: {Refused},
    CLOSED: set(),
}
ITEMS: Final = {
    "jobs": "create get claim complete fail handle handled cancel retry run_now remove attempts why"
    " watch unwatch",
    "claims": "release extend",
    "reports": "progress log",
    "types": "configure schema",
    "schemas": "publish",
}
"""The field that holds a request's items, written down once more; the others have one result."""
AFTER: Final[dict[tuple[ConnectionState, type], ConnectionState]] = {
    (HANDSHAKE, Hello): GREETED,
    (GREETED, Welcome): OPEN,
    (HANDSHAKE, Refused): CLOSED,
    (GREETED, Refused): CLOSED,
    (BROKEN, Refused): CLOSED,
}


def in_state(message: Any, state: ConnectionState) -> Any:
    """The message; an error as a closing one, where it must be."""
    if isinstance(message, Refused):
        return CLOSING if state is not OPEN else replace(message, closing=False, id=None)
    return message


@pytest.mark.parametrize("state", ConnectionState)
@pytest.mark.parametrize("record", CLIENT_MESSAGES.values())
def test_a_client_sends(record: type, state: ConnectionState) -> None:
    broker, client = pair(state)
    message = FROM_CLIENT[record]
    if record in CLIENT_MAY[state]:
        assert broker.receive(client.send(message)) == [message]
        assert client.state is broker.state is AFTER.get((state, record), state)
        return
    with pytest.raises(LocalProtocolError, match=f"may not be sent in state {state.value}"):
        client.send(message)
    received = broker.receive(frame(codec.encode(message)))
    assert client.state is broker.state is state
    if state in {BROKEN, CLOSED}:
        assert received == []
    else:
        [error] = received
        assert isinstance(error, MalformedMessage)
        assert error.code is (Code.MALFORMED if state is OPEN else Code.HELLO_REQUIRED)
        assert error.request_id in {None, getattr(message, "id", None)}


@pytest.mark.parametrize("state", ConnectionState)
@pytest.mark.parametrize("record", BROKER_MESSAGES.values())
def test_a_broker_sends(record: type, state: ConnectionState) -> None:
    broker, client = pair(state)
    message = in_state(FROM_BROKER[record], state)
    if state is OPEN and record is Ok:
        client.send(Info(id=1))
        message = Ok(id=1, results=(Problem(code=Code.INTERNAL, message=""),))
    if record in BROKER_MAY[state]:
        received = client.receive(broker.send(message))
        assert received == ([] if state is BROKEN else [message])
        assert broker.state is AFTER.get((state, record), state)
        assert client.state is (BROKEN if state is BROKEN else broker.state)
        return
    with pytest.raises(LocalProtocolError, match=f"may not be sent in state {state.value}"):
        broker.send(message)
    received = client.receive(frame(codec.encode(message)))
    assert client.state is broker.state is state
    if state in {BROKEN, CLOSED}:
        assert received == []
    else:
        [error] = received
        assert isinstance(error, MalformedMessage)


@pytest.mark.parametrize("state", [HANDSHAKE, GREETED, BROKEN])
def test_an_error_outside_an_open_session_is_closing(state: ConnectionState) -> None:
    broker = pair(state)[0]
    with pytest.raises(LocalProtocolError, match="has to be a closing one"):
        broker.send(replace(CLOSING, closing=False))
    assert broker.state is state


def test_a_closing_error_closes_both_ends() -> None:
    broker, client = pair(OPEN)
    assert client.receive(broker.send(CLOSING) + frame(codec.encode(BrokerBeat()))) == [CLOSING]
    assert client.state is broker.state is CLOSED
    assert client.pending_bytes == 0
    assert client.receive(frame(codec.encode(BrokerBeat()))) == []


def test_an_error_before_the_welcome_closes_the_client_whatever_it_says() -> None:
    client = pair(GREETED)[1]
    error = replace(CLOSING, closing=False)
    assert client.receive(frame(codec.encode(error))) == [error]
    assert client.state is CLOSED


def test_a_broken_frame_is_the_last_item_and_may_be_answered() -> None:
    broker = pair(OPEN)[0]
    beat = frame(codec.encode(ClientBeat()))
    first, second = broker.receive(beat + TOO_LONG + beat)
    assert first == ClientBeat()
    assert isinstance(second, FramingError)
    assert second.code is Code.FRAME_TOO_LARGE
    assert broker.state is BROKEN
    assert broker.receive(beat) == []
    assert broker.pending_bytes == 0
    broker.send(Refused(code=second.code, message=second.message, closing=True))
    assert broker.state is CLOSED


def test_the_handshakes_limit_holds_until_the_welcome() -> None:
    large = frame(b"\xc0" * (HANDSHAKE_FRAME_BYTES + 1))
    for state in (HANDSHAKE, GREETED):
        for end in pair(state):
            [error] = end.receive(large[:4])
            assert isinstance(error, FramingError)
    for end in pair(OPEN):
        [item] = end.receive(large)
        assert isinstance(item, MalformedMessage)


def test_what_follows_the_welcome_in_the_same_bytes_may_be_large() -> None:
    broker, client = pair(GREETED)
    create = Create(id=1, jobs=(NewJob(type="a", payload=b"x" * 20_000),))
    job = JobView(id="a", type="a", state="QUEUED", version=1, payload=b"x" * 20_000)
    stream = broker.send(WELCOME)
    stream += broker.send(Ok(id=1, results=(job,)))
    welcome, refused = client.receive(stream)
    assert welcome == WELCOME
    assert isinstance(refused, MalformedMessage)
    assert broker.receive(client.send(create)) == [create]


def test_a_message_larger_than_the_peer_accepts_is_not_sent() -> None:
    broker, client = pair(OPEN)
    large = Create(id=1, jobs=(NewJob(type="a", payload=b"x" * FRAME_BYTES),))
    with pytest.raises(FrameTooLarge) as caught:
        client.send(large)
    assert caught.value.limit_bytes == FRAME_BYTES == client.send_limit_bytes
    assert caught.value.size_bytes == len(codec.encode(large))
    assert client.pending_requests == 0
    assert broker.receive(client.send(Info(id=1))) == [Info(id=1)]


def test_a_hello_larger_than_a_stranger_may_send_is_not_sent() -> None:
    client = pair(HANDSHAKE)[1]
    assert client.send_limit_bytes == HANDSHAKE_FRAME_BYTES
    client.send(replace(HELLO, library="x" * 1_024, client="🐴" * 128))
    assert client.state is GREETED


def test_a_refused_call_changes_nothing() -> None:
    client = pair(OPEN)[1]
    with pytest.raises(LocalProtocolError, match=r"Get.jobs\[0\]"):
        client.send(Get(id=1, jobs=("",)))
    client.send(Get(id=1, jobs=("a",)))
    with pytest.raises(LocalProtocolError, match="request 1 is not answered yet"):
        client.send(Info(id=1))
    assert client.pending_requests == 1


def test_answers_may_come_in_any_order_and_end_their_requests() -> None:
    broker, client = pair(OPEN)
    for message in (
        Create(id=1, jobs=(NewJob(type="a"), NewJob(type="a"))),
        Get(id=2, jobs=("a",)),
        Bye(id=3),
    ):
        client.send(message)
    assert client.pending_requests == 3
    answers: list[Ok | Refused] = [
        Ok(id=3, results=(Done(),)),
        Refused(id=2, code=Code.UNAVAILABLE, message="", retryable=True),
        Ok(id=1, results=(Created(job="a", state="QUEUED"), Problem(code="new", message=""))),
    ]
    assert client.receive(b"".join(map(broker.send, answers))) == answers
    assert client.pending_requests == 0
    client.send(Info(id=1))


@pytest.mark.parametrize(
    "answer",
    [
        {"t": "ok", "id": 7, "results": []},
        {"t": "ok", "id": 7, "results": [{}, {}]},
        {"t": "ok", "id": 7, "results": [{"state": 1}]},
        {"t": "ok", "id": 7, "results": 1},
        {"t": "error", "id": 7, "code": 1, "message": ""},
    ],
)
def test_a_malformed_answer_ends_its_request_too(answer: dict[str, object]) -> None:
    client = waiting_client("release", request_id=7)
    [error] = client.receive(frame(msgpack.packb(answer)))
    assert isinstance(error, MalformedMessage)
    assert error.request_id == 7
    assert client.pending_requests == 0
    assert client.state is OPEN


def test_a_push_of_a_later_version_ends_no_request() -> None:
    client = waiting_client("release", request_id=7)
    [error] = client.receive(frame(msgpack.packb({"t": "weather", "id": 7})))
    assert isinstance(error, MalformedMessage)
    assert error.code is Code.UNSUPPORTED
    assert client.pending_requests == 1


def test_an_error_without_id_ends_no_request() -> None:
    client = waiting_client("release", request_id=7)
    error = Refused(code=Code.MALFORMED, message="")
    assert client.receive(frame(codec.encode(error))) == [error]
    assert client.pending_requests == 1


def test_the_welcome_sets_the_limit_of_both_directions() -> None:
    broker = BrokerConnection(max_frame_bytes=100_000)
    client = ClientConnection()
    broker.receive(client.send(HELLO))
    with pytest.raises(LocalProtocolError, match="announces frames of"):
        broker.send(WELCOME)
    welcome = replace(WELCOME, limits=replace(WELCOME.limits, frame_bytes=100_000))
    assert client.receive(broker.send(welcome)) == [welcome]
    assert client.send_limit_bytes == broker.send_limit_bytes == 100_000
    for end in (broker, client):
        [error] = end.receive((100_001).to_bytes(4, "big"))
        assert isinstance(error, FramingError)


@pytest.mark.parametrize("announced", [0, HANDSHAKE_FRAME_BYTES - 1, FRAME_BYTES + 1, 2**62])
def test_a_client_refuses_a_welcome_whose_frames_it_cannot_hold(announced: int) -> None:
    client = pair(GREETED)[1]
    welcome = replace(WELCOME, limits=replace(WELCOME.limits, frame_bytes=announced))
    [error] = client.receive(frame(codec.encode(welcome)))
    assert isinstance(error, MalformedMessage)
    assert error.path == "limits.frame_bytes"
    assert client.state is GREETED


def test_a_client_refuses_a_version_that_it_did_not_offer() -> None:
    client = ClientConnection(max_frame_bytes=FRAME_BYTES)
    client.send(replace(HELLO, versions=(3, 4)))
    [error] = client.receive(frame(codec.encode(WELCOME)))
    assert isinstance(error, MalformedMessage)
    assert error.code is Code.VERSION_UNSUPPORTED


@pytest.mark.parametrize("limit", [0, HANDSHAKE_FRAME_BYTES - 1, MAX_FRAME_BYTES + 1])
def test_a_limit_outside_its_bounds(limit: int) -> None:
    with pytest.raises(ValueError, match="max_frame_bytes must be from 16384 to 67108864"):
        BrokerConnection(max_frame_bytes=limit)
    with pytest.raises(ValueError, match="max_frame_bytes"):
        ClientConnection(max_frame_bytes=limit)


def test_close_ends_an_end() -> None:
    broker, client = pair(OPEN)
    broker.receive(b"\0\0")
    assert broker.pending_bytes == 2
    for end in (broker, client):
        end.close()
        assert end.state is CLOSED
        assert end.pending_bytes == 0
        assert end.receive(frame(b"\xc0")) == []
    with pytest.raises(LocalProtocolError):
        broker.send(BrokerBeat())


# -- items and results


def test_which_requests_have_items() -> None:
    fields = {CLIENT_MESSAGES[tag]: name for name, tags in ITEMS.items() for tag in tags.split()}
    assert fields == BATCH_FIELD
    assert fields.keys() <= RESULTS.keys()


@pytest.mark.parametrize("groups", [(), ("a",), ("a", "b")])
def test_a_request_with_an_array_of_no_items_has_one_result(groups: tuple[str, ...]) -> None:
    broker, client = pair(OPEN)
    client.send(Join(id=1, groups=groups))
    answer = Ok(id=1, results=(Done(),))
    assert client.receive(broker.send(answer)) == [answer]
    assert client.pending_requests == 0

"""What the codec refuses to send, what it says, and how much it reads."""

import inspect
import textwrap
import tracemalloc
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Final, cast

import msgpack
import pytest

from packhorse_protocol import (
    RESULTS,
    ClaimRef,
    Code,
    Complete,
    Completion,
    Counts,
    Create,
    Created,
    Done,
    Error,
    Fail,
    Failure,
    Get,
    Hello,
    JobView,
    LocalProtocolError,
    MalformedMessage,
    NewJob,
    Ok,
    Problem,
    Refused,
    State,
    Take,
    codec,
    compiler,
)
from packhorse_protocol.fields import Bounds, Headers, Name
from packhorse_protocol.records import record

TOKEN = b"t" * 16
PAIR = Bounds(low=0, high=2)


def create(**fields: Any) -> Create:
    return Create(id=1, jobs=(NewJob(type="a"), NewJob(**{"type": "a", **fields})))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (create(payload="text"), r"Create.jobs\[1\].payload: must be binary .* is text of 4"),
        (create(id=""), r"Create.jobs\[1\].id: must be text of 1 to 128 characters"),
        (create(id=b"a"), r"jobs\[1\].id: .* is binary of 1 bytes"),
        (create(key="a\nb"), r"jobs\[1\].key: .* without control characters"),
        (create(attempts=1.5), r"jobs\[1\].attempts: .* is of type float"),
        (create(attempts=0), r"jobs\[1\].attempts: must be an integer from 1 to 1000, but is 0"),
        (create(persistent=2), r"jobs\[1\].persistent: must be a boolean, but is 2"),
        (create(headers=[("a", "b")]), r"jobs\[1\].headers: .* is an array of 1 items"),
        (create(headers={"a": 1}), r"jobs\[1\].headers\['a'\]: must be text"),
        (create(headers={"a" * 50: 1}), r"headers\['a{40}\.\.\.'\]: must be text"),
        (create(headers={1: "a"}), r"jobs\[1\].headers: must be a map whose keys are text"),
        (Create(id=0, jobs=(NewJob(type="a"),)), r"Create.id: must be an integer from 1"),
        (Create(id=True, jobs=(NewJob(type="a"),)), r"Create.id: .* but is true"),
        (Create(id=1, jobs=()), r"Create.jobs: must be an array of 1 to 10000 items"),
        (Create(id=1, jobs=cast(Any, ["a"])), r"Create.jobs: .* is an array of 1 items"),
        (
            Create(id=1, jobs=cast(Any, ({},))),
            r"Create.jobs\[0\]: must be of type NewJob, but is a map",
        ),
        (Get(id=1, jobs=cast(Any, ("a", None))), r"Get.jobs\[1\]: .* but is nil"),
        (Take(id=1, types={"a": -1}, credit=1), r"Take.types\['a'\]: must be an integer from 0"),
        (Take(id=1, types={"a": 1}, credit=cast(Any, "1")), r"Take.credit: must be an integer"),
        (Hello(versions=(1,), roles=cast(Any, ("root",))), r"Hello.roles\[0\]: must be one of"),
        (
            Fail(id=1, jobs=(Failure(job="a", token=TOKEN, error=cast(Any, "x")),)),
            r"Fail.jobs\[0\].error: must be of type Error, but is text",
        ),
        (Fail(id=1, jobs=(Failure(job="a", token=b"", error=Error()),)), r"binary of 16 bytes"),
        (Ok(id=0, results=()), r"Ok.id: must be a request's id"),
        (Ok(id=1, results=(Done(), Created(job="", state="QUEUED"))), r"Ok.results\[1\].job"),
        (Ok(id=1, results=("done",)), r"Ok.results\[0\]: str is no result of a request"),
        (
            Ok(id=1, results=(Counts(types={"a": cast(Any, {"NONE": 1})}),)),
            r"Ok.results\[0\].types\['a'\]: must be a map whose keys are one of PENDING, QUEUED",
        ),
        (Ok(id=1, results=(Counts(types=cast(Any, {"a": 1})),)), r"types\['a'\]: must be a map"),
        (cast(Any, ClaimRef(job="a", token=TOKEN)), r"ClaimRef is no message"),
        (create(key="\ud800"), r"UTF-8"),
    ],
)
def test_what_the_wire_does_not_allow_is_not_sent(message: Any, said: str) -> None:
    with pytest.raises(LocalProtocolError, match=said):
        codec.encode(message)


def test_a_part_that_the_wire_does_not_allow_has_no_size() -> None:
    with pytest.raises(LocalProtocolError, match=r"ClaimRef.token"):
        codec.part_size(ClaimRef(job="a", token=b""))
    with pytest.raises(LocalProtocolError, match="UTF-8"):
        codec.part_size(NewJob(type="\ud800"))


def test_texts_may_be_of_an_enumeration() -> None:
    class Kind(StrEnum):
        MAIL = "mail"

    sent = codec.encode(Create(id=1, jobs=(NewJob(type=Kind.MAIL),)))
    assert codec.decode_client_message(sent) == Create(id=1, jobs=(NewJob(type="mail"),))
    refused = codec.encode(Refused(code=Code.INTERNAL, message=""))
    [code] = [value for key, value in msgpack.unpackb(refused).items() if key == "code"]
    assert type(code) is str


def test_maps_may_be_any_mapping() -> None:
    headers = MappingProxyType({"a": "b"})
    types = MappingProxyType({"mail": MappingProxyType[State, int]({"QUEUED": 1})})
    sent = codec.encode(create(headers=headers))
    assert codec.decode_client_message(sent) == create(headers={"a": "b"})
    reply = codec.encode(Ok(id=1, results=(Counts(types=types),)))
    assert codec.decode_broker_message(reply, lambda _: Counts) == Ok(
        id=1, results=(Counts(types={"mail": {"QUEUED": 1}}),)
    )


def test_an_entry_with_an_error_of_its_own_is_no_problem() -> None:
    job = JobView(id="a", type="t", state="FAILED", version=2, error=Error(message="broken"))
    problem = Problem(code=Code.NOT_FOUND, message="")
    reply = Ok(id=1, results=(job, problem))
    assert codec.decode_broker_message(codec.encode(reply), lambda _: JobView) == reply


def test_no_result_record_has_the_key_that_marks_a_refusal() -> None:
    assert not any("problem" in fields for fields in map(dir, RESULTS.values()))


def test_what_is_decoded_is_the_record_and_frozen() -> None:
    claim = compiler.decoder_of(ClaimRef)({"job": "a", "token": TOKEN})
    assert type(claim) is ClaimRef
    assert claim == ClaimRef(job="a", token=TOKEN)
    assert hash(claim) == hash(ClaimRef(job="a", token=TOKEN))
    with pytest.raises(AttributeError):
        cast(Any, claim).job = "b"


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ({"priority": True}, "priority"),
        ({"labels": "a"}, "labels"),
        ({"delay_ms": None}, "delay_ms"),
        ({"persistent": 0}, "persistent"),
        ({"attempts": 1.0}, "attempts"),
    ],
)
def test_what_only_resembles_a_default_is_refused(sent: dict[str, object], path: str) -> None:
    body = msgpack.packb({"t": "create", "id": 1, "jobs": [{"type": "a", **sent}]})
    with pytest.raises(MalformedMessage) as caught:
        codec.decode_client_message(body)
    assert caught.value.path == f"jobs[0].{path}"


def test_defaults_are_not_sent() -> None:
    sent = codec.encode(Complete(id=1, jobs=(Completion(job="a", token=TOKEN, result=b""),)))
    assert msgpack.unpackb(sent) == {
        "t": "complete",
        "id": 1,
        "jobs": [{"job": "a", "token": TOKEN}],
    }


def test_many_elements_are_refused_while_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = 0
    counter = codec._entry_counter

    def counting() -> Any:
        count = counter()

        def hook(container: Any) -> Any:
            nonlocal counted
            counted += 1
            return count(container)

        return hook

    monkeypatch.setattr(codec, "_entry_counter", counting)
    bomb = b"\xdc\x00\x64" + (b"\xdc\x27\x10" + b"\x80" * 10_000) * 100
    with pytest.raises(MalformedMessage, match="more than 200000 elements"):
        codec.decode_client_message(bomb)
    assert counted < 210_000


def test_a_large_frame_of_few_elements_is_read() -> None:
    message = Create(id=1, jobs=tuple(NewJob(type="a", payload=b"x" * 10_000) for _ in range(50)))
    assert codec.decode_client_message(codec.encode(message)) == message


def test_a_refusal_shows_little_of_a_long_tag() -> None:
    body = msgpack.packb({"t": "x" * 100_000, "id": 3})
    with pytest.raises(MalformedMessage) as caught:
        codec.decode_client_message(body)
    assert caught.value.code is Code.UNSUPPORTED
    assert caught.value.request_id == 3
    assert len(str(caught.value)) < 100


def test_names() -> None:
    good = ["a", " a ", "\u200b", "a\u2028b", "é", "🐴", "x" * 128, "\u00ad"]
    bad = [" ", "\u00a0", "\u3000\u2003", "a\0", "\x1f", "\x7f", "a\x80", "\x9f"]
    assert all(map(compiler.is_name, good))
    assert not any(map(compiler.is_name, bad))


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[tuple[Annotated[tuple[Name, ...], PAIR], ...], PAIR],
        Annotated[tuple[Headers, ...], PAIR],
        Mapping[Name, Done],
        Mapping[Name, Annotated[tuple[Name, ...], PAIR]],
    ],
    ids=str,
)
def test_a_shape_that_the_compiler_has_no_code_for(annotation: object) -> None:
    made: type = record(type("Deep", (), {"__annotations__": {"field": annotation}}))
    for compiled in (compiler.decoder_of, compiler.encoder_of):
        with pytest.raises(TypeError, match="Deep has a shape without a code"):
            compiled(made)


def test_the_compilers_docstring_shows_what_it_writes() -> None:
    written = inspect.getsource(compiler.decoder_of(ClaimRef))
    assert textwrap.indent(written, "    ") in str(compiler.__doc__)


LONG_ARRAY: Final = b"\xdc\x27\x10"
"""The header of an array of 10000 items."""


@pytest.mark.parametrize("body", [LONG_ARRAY * 900, LONG_ARRAY * 5_000, b"\xdc\x04\x00" * 5_000])
def test_what_a_body_announces_takes_no_memory(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(MalformedMessage):
            codec.decode_client_message(body)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < 10_000_000


@pytest.mark.parametrize("items", [1_024, 1_025, 10_000])
def test_long_arrays_are_read(items: int) -> None:
    get = codec.decode_client_message(msgpack.packb({"t": "get", "id": 1, "jobs": ["a"] * items}))
    assert isinstance(get, Get)
    assert len(get.jobs) == items

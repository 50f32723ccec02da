"""Models in payloads and results."""

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgpack
import msgspec
import pydantic
import pydantic.dataclasses
import pytest

from packhorse import Context, InvalidValue, PayloadError, Worker, typed
from packhorse.functions import JobFunction, Terms, job_function
from packhorse.payload import pack_arguments, pack_result
from packhorse_protocol.messages import Done, Problem, Publish, Take
from tests.client.scripted import Peer, ScriptedBroker
from tests.client.serving import claim, failure, leave, result, serving

if TYPE_CHECKING:
    from collections import OrderedDict

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NUMBER = UUID("12345678-1234-5678-1234-567812345678")


class Colour(Enum):
    RED = "red"


class Struct(msgspec.Struct):
    url: str
    at: datetime = MOMENT
    blob: bytes = b"ok"


class Pydantic(pydantic.BaseModel):
    url: str
    at: datetime = MOMENT
    blob: bytes = b"ok"


@dataclass
class Plain:
    url: str
    at: datetime = MOMENT
    blob: bytes = b"ok"


@pydantic.dataclasses.dataclass
class PydanticDataclass:
    url: str
    at: datetime = MOMENT
    blob: bytes = b"ok"


@dataclass
class Rich:
    day: date = date(2026, 1, 2)
    number: UUID = NUMBER
    price: Decimal = Decimal("1.50")
    colour: Colour = Colour.RED
    tags: frozenset[str] = frozenset({"a"})
    inner: list[Plain] = field(default_factory=lambda: [Plain("b")])


MODELS = [Struct, Pydantic, Plain, PydanticDataclass]


def function_of(annotation: Any) -> JobFunction:
    async def work(ctx: Context, order: Any) -> None: ...

    work.__annotations__["order"] = annotation
    return job_function("t", work, Terms())


@pytest.mark.parametrize("model", MODELS)
def test_a_single_model_takes_the_whole_payload(model: Any) -> None:
    function = function_of(model)
    assert function.arguments(pack_arguments({"url": "x"})) == ((), {"order": model(url="x")})
    there = model(url="y", at=datetime(2030, 1, 1, tzinfo=UTC), blob=b"\x00\xfe")
    assert function.arguments(pack_arguments(there)) == ((), {"order": there})


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({}, "url"),
        ({"url": 5}, "url"),
        (None, "order: "),
        ([1], "order: "),
        (b"\xc1", "can't be unpacked"),
    ],
)
def test_what_does_not_fit(model: Any, payload: object, said: str) -> None:
    packed = payload if isinstance(payload, bytes) else msgpack.packb(payload)
    with pytest.raises(PayloadError, match=said):
        function_of(model).arguments(packed)


def test_no_payload_is_a_model_with_nothing_given() -> None:
    assert function_of(Rich).arguments(b"") == ((), {"order": Rich()})


def test_no_payload_leaves_a_default_alone() -> None:
    def work(order: Plain | None = None, whole: None = None) -> None: ...

    def single(order: Plain = Plain("x")) -> None: ...  # noqa: B008

    assert job_function("t", work, Terms()).arguments(b"") == ((), {})
    assert job_function("t", single, Terms()).arguments(b"") == ((), {})
    assert job_function("t", single, Terms()).arguments(pack_arguments({"url": "a"})) == (
        (),
        {"order": Plain("a")},
    )


@pytest.mark.parametrize("model", MODELS)
def test_one_of_several_arguments(model: Any) -> None:
    def work(first: Any, count: int, *, rest: Any = None, **more: object) -> None: ...

    work.__annotations__ |= {"first": model, "rest": list[model] | None}
    function = job_function("t", work, Terms())
    given = {"first": {"url": "a"}, "count": "unchecked", "rest": [{"url": "b"}], "x": 1}
    assert function.arguments(pack_arguments(given)) == (
        (),
        {"first": model(url="a"), "count": "unchecked", "rest": [model(url="b")], "x": 1},
    )
    with pytest.raises(PayloadError, match="t: payload does not fit the function: rest: "):
        function.arguments(pack_arguments({**given, "rest": 5}))
    with pytest.raises(PayloadError, match="missing a required argument: 'count'"):
        function.arguments(pack_arguments({"first": {"url": "a"}}))


def test_annotations_may_be_text() -> None:
    def work(order: "Plain", other: "OrderedDict[str, int]") -> None: ...

    function = job_function("t", work, Terms())
    given = {"order": {"url": "a"}, "other": {}}
    assert function.arguments(pack_arguments(given)) == ((), {"order": Plain("a"), "other": {}})


def test_parameters_without_names_can_not_be_checked() -> None:
    def work(order: Plain, *more: int) -> None: ...

    with pytest.raises(InvalidValue, match=r"t: .* all must have names"):
        job_function("t", work, Terms())


@pytest.mark.parametrize("model", MODELS)
def test_models_are_results(model: Any) -> None:
    packed = msgpack.unpackb(pack_result([model(url="a", blob=b"\xff")]))
    assert packed[0]["url"] == "a"
    assert packed[0]["blob"] == b"\xff"
    assert datetime.fromisoformat(packed[0]["at"]) == MOMENT


def test_what_models_hold() -> None:
    assert msgpack.unpackb(pack_result(Rich())) == {
        "day": "2026-01-02",
        "number": str(NUMBER),
        "price": "1.50",
        "colour": "red",
        "tags": ["a"],
        "inner": [{"url": "b", "at": "2026-01-02T03:04:05+00:00", "blob": b"ok"}],
    }
    assert function_of(Rich).arguments(pack_arguments(Rich())) == ((), {"order": Rich()})


@pytest.mark.parametrize("value", [MOMENT, NUMBER, {"a"}, Colour.RED, Plain])
def test_outside_of_models_nothing_is_guessed(value: object) -> None:
    with pytest.raises(PayloadError, match="can't be packed"):
        pack_result(value)


def test_a_dataclass_needs_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typed, "find_spec", lambda name: name == "pydantic" or None)
    assert function_of(Plain).models["order"].library == "pydantic"
    assert function_of(Plain).arguments(pack_arguments({"url": "a"}))[1] == {"order": Plain("a")}
    monkeypatch.setattr(typed, "find_spec", lambda _: None)
    with pytest.raises(
        InvalidValue, match="t: order: a dataclass is checked by msgspec or pydantic"
    ):
        function_of(Plain)


# -- schemas --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_the_schema_of_a_single_model(model: Any) -> None:
    found = function_of(model).schema()
    assert found is not None
    schema = json.loads(found)
    assert schema["$schema"].startswith("https://json-schema.org/")
    if "$ref" in schema:
        schema = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    assert schema["type"] == "object"
    assert schema["required"] == ["url"]


def test_the_schema_of_several_arguments() -> None:
    def work(order: Struct, user: Pydantic, count: int = 1) -> None: ...

    found = job_function("t", work, Terms()).schema()
    assert found is not None
    schema = json.loads(found)
    assert set(schema["properties"]) == {"order", "user", "count"}
    assert schema["required"] == ["order", "user"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["order"] == {"$ref": "#/$defs/Struct"}
    assert "Struct" in schema["$defs"]

    def open_ended(order: Struct, **more: object) -> None: ...

    found = job_function("t", open_ended, Terms()).schema()
    assert found is not None
    assert json.loads(found)["additionalProperties"] is True


def test_functions_without_models_have_no_schema() -> None:
    def work(url: str) -> None: ...

    assert job_function("t", work, Terms()).schema() is None


class Odd:
    """Known to neither library."""


class OddStruct(msgspec.Struct):
    odd: Odd


class OddPydantic(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    odd: Odd


@pytest.mark.parametrize("model", [OddStruct, OddPydantic])
def test_types_that_no_schema_can_tell(model: Any) -> None:
    with pytest.raises(InvalidValue):
        function_of(model).schema()


async def opened(scripted: ScriptedBroker, answer: object) -> tuple[Worker, Peer, Publish]:
    """A worker that has published what it can."""
    worker = Worker(dial=scripted.dial, publish_schemas=True)

    @worker.job("thumb")
    async def thumb(order: Struct) -> None: ...

    @worker.job("other")
    async def other(url: str) -> None: ...

    opening = asyncio.create_task(worker.__aenter__())
    peer = await scripted.accept()
    await peer.welcome()
    publish = await peer.expect(Publish)
    peer.ok(publish, answer)
    peer.ok(await peer.expect(Take), Done())
    await opening
    return worker, peer, publish


async def test_schemas_are_published_before_jobs_are_taken(scripted: ScriptedBroker) -> None:
    worker, peer, publish = await opened(scripted, Done())
    [published] = publish.schemas
    assert published.type == "thumb"
    assert "Struct" in json.loads(published.schema)["$defs"]
    await leave(worker, peer)


async def test_jobs_run_without_it_too(
    scripted: ScriptedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    worker, peer, _ = await opened(scripted, Problem(code="too_large", message="a long schema"))
    assert "the schema of thumb was not published" in caplog.text
    await leave(worker, peer)


# -- in a worker ----------------------------------------------------------------------------------


async def test_a_worker_checks_and_packs_models(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial)

    @worker.job("t")
    async def work(order: Struct) -> Plain:
        return Plain(order.url.upper())

    async with serving(scripted, worker) as peer:
        packed = await result(peer, claim("a", Struct("x")))
        assert msgpack.unpackb(packed)["url"] == "X"
        told = await failure(peer, claim("b", {"url": 5}))
    assert (told.error.type, told.retry) == ("PayloadError", False)
    assert "order: Expected `str`, got `int` - at `$.url`" in told.error.message

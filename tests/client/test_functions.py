import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from packhorse import Context, InvalidValue, PayloadError
from packhorse.functions import Terms, job_function
from packhorse.payload import pack_arguments


async def with_context(ctx: Context, url: str, size: int = 1) -> None: ...


def without_context(url: str) -> None: ...


def nothing() -> None: ...


def anything(*args: object, **kwargs: object) -> None: ...


def generator() -> Iterator[int]:
    yield 1


def test_what_is_known_of_a_coroutine() -> None:
    function = job_function("thumb", with_context, Terms(concurrency=3))
    assert function.kind == "coroutine"
    assert function.wants_context
    assert function.terms.concurrency == 3


@pytest.mark.parametrize("payload", [b"", b"{}", b"\xc1", pack_arguments({"url": "a"})])
def test_a_function_of_the_context_alone_takes_any_payload(payload: bytes) -> None:
    async def reads_it_there(ctx: Context) -> None: ...

    assert job_function("t", reads_it_there, Terms()).arguments(payload) == ((), {})


def test_what_is_known_of_a_plain_function() -> None:
    function = job_function("thumb", without_context, Terms())
    assert function.kind == "thread"
    assert not function.wants_context


@pytest.mark.parametrize(
    ("function", "value", "arguments"),
    [
        (with_context, {"url": "a"}, ((), {"url": "a"})),
        (with_context, {"url": "a", "size": 2}, ((), {"url": "a", "size": 2})),
        (with_context, "a", (("a",), {})),
        (without_context, "a", (("a",), {})),
        (anything, {"b": 1}, ((), {"b": 1})),
        (nothing, {}, ((), {})),
        (partial(without_context, "a"), {}, ((), {})),
    ],
)
def test_arguments_that_fit(function: Callable[..., Any], value: object, arguments: object) -> None:
    assert job_function("t", function, Terms()).arguments(pack_arguments(value)) == arguments


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (with_context, {}),
        (with_context, {"url": "a", "other": 1}),
        (with_context, {"ctx": 1, "url": "a"}),
        (without_context, {"size": 1}),
        (nothing, "a"),
    ],
)
def test_arguments_that_do_not_fit(function: Callable[..., Any], value: object) -> None:
    with pytest.raises(PayloadError, match=r"^t: payload does not fit the function"):
        job_function("t", function, Terms()).arguments(pack_arguments(value))


def test_bytes_that_are_no_arguments() -> None:
    with pytest.raises(PayloadError, match="can't be unpacked"):
        job_function("t", nothing, Terms()).arguments(b"\xc1")


def test_a_generator_is_no_job_function() -> None:
    with pytest.raises(InvalidValue, match="does not yield"):
        job_function("t", generator, Terms())


def test_concurrency_below_one_is_refused() -> None:
    with pytest.raises(InvalidValue, match="at least 1"):
        job_function("t", nothing, Terms(concurrency=0))


def test_what_can_not_be_called_is_no_function() -> None:
    with pytest.raises(InvalidValue, match="is no function"):
        job_function("t", 5, Terms())  # type: ignore[arg-type]


def positional_only(url: str, /, size: int = 1) -> None: ...


def keyword_only(*, url: str, size: int = 1) -> None: ...


def named_and_more(url: str, **more: object) -> None: ...


def one_and_more(url: str, *more: object, size: int) -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        with_context,
        without_context,
        nothing,
        anything,
        positional_only,
        keyword_only,
        named_and_more,
        one_and_more,
        partial(without_context, "a"),
        partial(without_context, url="a"),
    ],
)
def test_a_payload_fits_if_the_function_could_be_called(function: Callable[..., Any]) -> None:
    read = job_function("t", function, Terms())
    values: list[object] = ["a", {}]
    values += [{"url": "a"}, {"size": 1}, {"url": "a", "size": 1}, {"url": "a", "b": 1}]
    for value in values:
        positional, keywords = ((), value) if isinstance(value, dict) else ((value,), {})
        try:
            read.signature.bind(*positional, **keywords)
        except TypeError as error:
            with pytest.raises(PayloadError, match=re.escape(str(error))):
                read.arguments(pack_arguments(value))
        else:
            assert read.arguments(pack_arguments(value)) == (positional, keywords)

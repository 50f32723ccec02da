import msgpack
import pytest

from packhorse.errors import PayloadError
from packhorse.payload import (
    NOTHING,
    RawResult,
    pack_arguments,
    pack_result,
    unpack_arguments,
    unpack_result,
)


@pytest.mark.parametrize(
    ("value", "arguments"),
    [
        (NOTHING, ((), {})),
        ({"url": "cat.png", "sizes": [1, 2]}, ((), {"url": "cat.png", "sizes": [1, 2]})),
        ({}, ((), {})),
        (None, ((None,), {})),
        (5, ((5,), {})),
        ([1, 2], (([1, 2],), {})),
        (b"bytes", ((b"bytes",), {})),
    ],
)
def test_arguments_arrive(value: object, arguments: object) -> None:
    assert unpack_arguments(pack_arguments(value)) == arguments


def test_no_arguments_are_no_bytes() -> None:
    assert pack_arguments(NOTHING) == b""


@pytest.mark.parametrize("value", [None, 0, "text", {"a": [1, {"b": b"c"}]}, {1: "number"}])
def test_a_result_arrives(value: object) -> None:
    assert unpack_result(pack_result(value)) == value


def test_none_is_no_bytes() -> None:
    assert pack_result(None) == b""
    assert unpack_result(None) is None


def test_a_raw_result_is_sent_as_it_is() -> None:
    assert pack_result(RawResult(b"\xc1 no msgpack")) == b"\xc1 no msgpack"


@pytest.mark.parametrize("value", [{1: "a"}, object(), {"a": {1, 2}}, 2**70])
def test_what_can_not_be_packed_is_refused(value: object) -> None:
    with pytest.raises(PayloadError, match=r"^payload: "):
        pack_arguments(value)


def test_what_can_not_be_a_result_is_refused() -> None:
    with pytest.raises(PayloadError, match=r"^result: can't be packed"):
        pack_result(object())


@pytest.mark.parametrize(
    "payload",
    [
        b"\xc1",
        b"\x92\x01",
        msgpack.packb(1) + b"more",
        b"\x81\x90\x01",
        msgpack.packb({1: "a"}),
        b"\xa1\xff",
        b"\x91" * 2_000,
    ],
)
def test_what_can_not_be_unpacked_is_refused(payload: bytes) -> None:
    with pytest.raises(PayloadError, match=r"^payload: "):
        unpack_arguments(payload)

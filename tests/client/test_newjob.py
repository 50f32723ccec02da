import re

import pytest

from packhorse import InvalidValue, NewJob, PayloadError
from packhorse.payload import pack_arguments


def test_a_job_is_given_an_id() -> None:
    job = NewJob("thumb", {"url": "cat.png"})
    first, second = job.message(), job.message()
    assert first.id is not None
    assert re.fullmatch("[0-9a-z]{16}", first.id)
    assert first.id != second.id
    assert first.payload == pack_arguments({"url": "cat.png"})


def test_all_that_is_said_is_sent() -> None:
    message = NewJob(
        "thumb",
        payload=b"raw",
        job_id="mine",
        key="tenant",
        headers={"a": "b"},
        attempts=3,
        persistent=True,
    ).message()
    assert (message.type, message.payload, message.id, message.key) == (
        "thumb",
        b"raw",
        "mine",
        "tenant",
    )
    assert (message.headers, message.attempts, message.persistent) == ({"a": "b"}, 3, True)


def test_arguments_and_payload_exclude_each_other() -> None:
    with pytest.raises(InvalidValue, match="not both"):
        NewJob("thumb", {}, payload=b"").message()


def test_arguments_that_can_not_be_packed_are_refused() -> None:
    with pytest.raises(PayloadError):
        NewJob("thumb", object()).message()

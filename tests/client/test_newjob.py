import dataclasses
import re
from datetime import UTC, datetime, timedelta
from typing import Any, get_type_hints

import pytest

from packhorse import Backoff, InvalidValue, NewJob, PayloadError, Unique
from packhorse.newjob import JobOptions
from packhorse.payload import pack_arguments
from packhorse_protocol.messages import Backoff as BackoffMessage
from packhorse_protocol.messages import NewJob as NewJobMessage
from packhorse_protocol.messages import Timeouts
from packhorse_protocol.messages import Unique as UniqueMessage


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


def test_the_terms_of_a_job_are_sent() -> None:
    message = NewJob(
        "thumb",
        labels=["nightly", "cats", "nightly"],
        unique="cat.png",
        delay="10s",
        delay_until=datetime(2026, 12, 1, tzinfo=UTC),
        priority=-7,
        attempts=5,
        backoff="fixed:30s",
        lost_limit=2,
        idle_timeout="1h",
        run_timeout=90,
        total_timeout=timedelta(days=1),
        keep="0s",
    ).message()
    assert message.labels == ("nightly", "cats")
    assert message.unique == UniqueMessage(key="cat.png")
    assert (message.delay_ms, message.delay_until) == (10_000, 1_796_083_200_000)
    assert (message.priority, message.attempts, message.lost_limit) == (-7, 5, 2)
    assert message.backoff == BackoffMessage(type="fixed", delay_ms=30_000)
    assert message.timeouts == Timeouts(idle_ms=3_600_000, run_ms=90_000, total_ms=86_400_000)
    assert message.keep_ms == 0


def test_terms_may_be_objects() -> None:
    message = NewJob(
        "thumb",
        unique=Unique("k", on_duplicate="join"),
        backoff=Backoff.list("1s"),
        delay_until=5,
    ).message()
    assert message.unique == UniqueMessage(key="k", on_duplicate="join")
    assert message.backoff == BackoffMessage(type="list", delays_ms=(1_000,))
    assert message.delay_until == 5


def test_a_plain_job_costs_nothing_more() -> None:
    message = NewJob("thumb", job_id="a").message()
    assert message == NewJobMessage(type="thumb", id="a")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"delay": "soon"}, "delay: 'soon' is no duration"),
        ({"delay": -1}, "delay: -1 must be between 0 and ten years"),
        ({"delay": []}, r"delay: \[\] is no duration"),
        ({"delay_until": datetime(2026, 1, 1)}, "delay_until: .* has no time zone"),  # noqa: DTZ001
        ({"priority": 1_001}, "priority: 1001 must be between -1000 and 1000"),
        ({"priority": "high"}, "priority: 'high' is no whole number"),
        ({"backoff": "soon"}, "backoff: 'soon' is none"),
        ({"lost_limit": -1}, "lost_limit: -1 must be between 0 and 1000"),
        ({"idle_timeout": "0s"}, "idle_timeout: '0s' must be at least 1ms"),
        ({"run_timeout": "x"}, "run_timeout: 'x' is no duration"),
        ({"total_timeout": 0}, "total_timeout: 0 must be at least 1ms"),
        ({"labels": "nightly"}, "labels: 'nightly' is one text: give a list of them"),
        ({"labels": list(map(str, range(17)))}, "labels: 17 are too many: at most 16"),
        ({"labels": [""]}, "labels: '' must have between 1 and 64 characters"),
        ({"unique": Unique("k", scope="window")}, "unique: .* need each other"),
        ({"keep": "long"}, "keep: 'long' is no duration"),
    ],
)
def test_terms_that_can_not_be_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        NewJob("thumb", **options).message()


def test_the_options_are_the_fields() -> None:
    """Said twice, for type checkers: as the fields of a record and as keywords."""
    hints = get_type_hints(NewJob)
    options = {field.name for field in dataclasses.fields(NewJob)} - {"type", "arguments"}
    assert get_type_hints(JobOptions) == {name: hints[name] for name in options}

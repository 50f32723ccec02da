"""Backoff, unique key and retention as people write them."""

from datetime import timedelta

import pytest

from packhorse import Backoff, InvalidValue, Keep, Unique
from packhorse.terms import Jitter, OnDuplicate, Scope
from packhorse_protocol.messages import Backoff as BackoffMessage
from packhorse_protocol.messages import Retention
from packhorse_protocol.messages import Unique as UniqueMessage


@pytest.mark.parametrize(
    ("backoff", "text", "message"),
    [
        (Backoff.fixed("30s"), "fixed:30s", BackoffMessage(type="fixed", delay_ms=30_000)),
        (
            Backoff.fixed(timedelta(seconds=1), jitter="equal"),
            "fixed: 1s :equal",
            BackoffMessage(type="fixed", delay_ms=1_000, jitter="equal"),
        ),
        (
            Backoff.linear(10, max="5m"),
            "linear:10s..5m",
            BackoffMessage(type="linear", delay_ms=10_000, max_ms=300_000),
        ),
        (
            Backoff.exponential("1s", max="10m", jitter="full"),
            "exponential:1s..10m:full",
            BackoffMessage(type="exponential", delay_ms=1_000, max_ms=600_000, jitter="full"),
        ),
        (
            Backoff.exponential("1.5s", factor=1.25),
            "exponential:1.5s*1.25",
            BackoffMessage(type="exponential", delay_ms=1_500, factor_percent=125),
        ),
        (
            Backoff.exponential("1s", factor=3, max="1m", jitter=20),
            "exponential:1s*3..1m:20%",
            BackoffMessage(
                type="exponential",
                delay_ms=1_000,
                factor_percent=300,
                max_ms=60_000,
                jitter="share",
                jitter_percent=20,
            ),
        ),
        (
            Backoff.list("1s", "10s", "1m"),
            "list:1s,10s,1m",
            BackoffMessage(type="list", delays_ms=(1_000, 10_000, 60_000)),
        ),
    ],
)
def test_a_backoff_by_call_or_as_text(backoff: Backoff, text: str, message: BackoffMessage) -> None:
    assert backoff.message == message
    assert Backoff.parse(text) == backoff


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("soon", "backoff: 'soon' is none: write fixed:30s"),
        ("fixed", "backoff: 'fixed' is none"),
        ("fixed:", "backoff: 'fixed:' is none"),
        ("fixed:soon", "backoff: 'soon' is no duration"),
        ("fixed:1s..5s", "fixed takes no .."),
        ("fixed:1s*2", r"fixed takes no \*"),
        ("list:1s..5s", "list takes no .."),
        ("exponential:1s*0.5", "factor 0.5 must be between 1 and 100"),
        ("exponential:1s..0s", "backoff: max: '0s' must be at least 1ms"),
        ("exponential:1s:120%", "jitter 120 is none of"),
        ("list:" + ",".join(["1s"] * 101), "101 delays, allowed are 1 to 100"),
    ],
)
def test_a_text_that_is_no_backoff(text: str, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        Backoff.parse(text)


@pytest.mark.parametrize("jitter", ["half", -1, 101, True, None])
def test_a_jitter_that_is_none(jitter: Jitter) -> None:
    with pytest.raises(InvalidValue, match="backoff: jitter"):
        Backoff.fixed("1s", jitter=jitter)


def test_a_list_has_delays() -> None:
    with pytest.raises(InvalidValue, match="0 delays"):
        Backoff.list()


def test_a_unique_key() -> None:
    assert Unique("k").message() == UniqueMessage(key="k")
    assert Unique("k", window="1h", on_duplicate="join").message() == UniqueMessage(
        key="k", scope="window", window_ms=3_600_000, on_duplicate="join"
    )
    assert Unique("k", scope="until_started").message() == UniqueMessage(
        key="k", scope="until_started"
    )


@pytest.mark.parametrize(
    ("scope", "window", "on_duplicate", "said"),
    [
        ("window", None, "reject", "need each other"),
        ("until_started", "1h", "reject", "need each other"),
        ("for_ever", None, "reject", "unique: scope: 'for_ever' is none of until_started"),
        (None, None, "ignore", "unique: on_duplicate: 'ignore' is none of reject, join, replace"),
        (None, "0s", "reject", "unique: window: '0s' must be at least 1ms"),
    ],
)
def test_a_unique_key_that_can_not_be(
    scope: Scope | None, window: str | None, on_duplicate: OnDuplicate, said: str
) -> None:
    with pytest.raises(InvalidValue, match=said):
        Unique("k", scope=scope, window=window, on_duplicate=on_duplicate).message()


def test_retention() -> None:
    assert Keep("1d", jobs=5).message() == Retention(keep_ms=86_400_000, keep_jobs=5)
    assert Keep(0).message() == Retention(keep_ms=0)
    assert Keep(jobs=5).message() == Retention(keep_jobs=5)
    assert Keep().message() == Retention()
    with pytest.raises(InvalidValue, match="keep: -1 jobs must be at least 0"):
        Keep("1d", jobs=-1).message()

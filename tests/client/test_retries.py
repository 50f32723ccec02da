"""Which errors are tried again, and when."""

import pytest

from packhorse import Fail, InvalidValue, Worker
from packhorse.retries import RetryPolicy, RetryRules, Verdict, retry_policy
from tests.client.scripted import ScriptedBroker
from tests.client.serving import claim, failure, serving

RULES: RetryRules = {
    OSError: "30s",
    FileNotFoundError: "never",
    ConnectionError: "default",
    TimeoutError: 5,
}


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (OSError(), Verdict(in_ms=30_000)),
        (IsADirectoryError(), Verdict(in_ms=30_000)),
        (FileNotFoundError(), Verdict(retry=False)),
        (ConnectionResetError(), Verdict()),
        (TimeoutError(), Verdict(in_ms=5_000)),
        (ValueError(), Verdict()),
    ],
)
def test_the_nearest_class_decides(error: Exception, verdict: Verdict) -> None:
    assert retry_policy(RULES, "retry").verdict(error) == verdict


def test_one_policy_goes_before_another() -> None:
    own = retry_policy({OSError: "never"}, "retry")
    both = own.over(retry_policy(RULES, "retry"))
    assert both.verdict(OSError()) == Verdict(retry=False)
    assert both.verdict(TimeoutError()) == Verdict(in_ms=5_000)
    assert retry_policy(None, "retry") == RetryPolicy({})


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({OSError: "soon"}, r"retry: OSError: 'soon' is no duration"),
        ({OSError: -1}, r"retry: OSError: -1 must be between"),
        ({int: "never"}, r"retry: <class 'int'> is no exception class"),
        ({"OSError": "never"}, r"retry: 'OSError' is no exception class"),
    ],
)
def test_rules_that_can_not_be(rules: RetryRules, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        retry_policy(rules, "retry")


@pytest.mark.parametrize("kind", ["coroutine", "function"])
async def test_types_go_before_the_worker(scripted: ScriptedBroker, kind: str) -> None:
    worker = Worker(dial=scripted.dial, retry={OSError: "never", ValueError: "1m"})
    errors: dict[str, Exception] = {"a": OSError(), "b": ValueError(), "c": KeyError()}

    @worker.job("coroutine", retry={OSError: "2m"})
    async def coroutine(name: str) -> None:
        raise errors[name]

    @worker.job("function", retry={OSError: "2m"})
    def function(name: str) -> None:
        raise errors[name]

    async with serving(scripted, worker) as peer:
        told = [await failure(peer, claim(name, name, job_type=kind)) for name in "abc"]
    assert [(end.retry, end.retry_in_ms) for end in told] == [
        (True, 120_000),
        (True, 60_000),
        (True, None),
    ]


async def test_failing_on_purpose_says_when(scripted: ScriptedBroker) -> None:
    worker = Worker(dial=scripted.dial, retry={Fail: "never"})

    @worker.job("t")
    async def work(wait: str) -> None:
        raise Fail("not yet", retry_in=wait)

    async with serving(scripted, worker) as peer:
        told = await failure(peer, claim("a", "5m"))
        assert (told.retry, told.retry_in_ms) == (True, 300_000)
        told = await failure(peer, claim("b", "soon"))
    assert (told.retry, told.retry_in_ms) == (True, None)
    assert told.error.type == "packhorse.InvalidValue"
    assert "Fail: retry_in: 'soon' is no duration" in told.error.message


def test_never_and_in_a_while_do_not_go_together() -> None:
    with pytest.raises(InvalidValue, match="retry=False"):
        Fail("x", retry=False, retry_in="1s")


async def test_a_failing_job_leaves_one_line(
    scripted: ScriptedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(dial=scripted.dial, retry={KeyError: "never"})

    @worker.job("t")
    async def work(name: str) -> None:
        if name == "a":
            raise ValueError("no such\npicture")
        raise KeyError(name)

    async with serving(scripted, worker) as peer:
        await failure(peer, claim("a", "a", attempt=2, attempts=3))
        await failure(peer, claim("b", "b"))
    assert caplog.messages == [
        "job a (t) failed, attempt 2 of 3: ValueError: no such picture",
        "job b (t) failed, attempt 1 of 1, not to be tried again: KeyError: 'b'",
    ]

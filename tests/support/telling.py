"""Results in words."""

from collections.abc import Sequence

from packhorse_broker.jobs.model import Applied, Refusal
from packhorse_broker.store.work import Result


def told(results: Sequence[Result]) -> list[str]:
    """Results in a word each: a state, `gone`, or the code of a refusal."""
    words: list[str] = []
    for result in results:
        if isinstance(result, Refusal):
            words.append(result.code.value)
        else:
            assert isinstance(result, Applied), result
            words.append("gone" if result.removed else result.job.state.name)
    return words

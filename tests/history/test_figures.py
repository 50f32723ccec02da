"""What the table says of executions beyond the first one."""

import pytest

from tests.history.evidence import Case
from tests.history.figures import count
from tests.history.sound import TOKEN_1, Plant, add, drop, entry, gone_from_the_store, sound, store


def run(ms: int, who: str, token: str) -> Plant:
    return add(entry(ms, who, "begin", "run", job="kept", token=token))


@pytest.mark.parametrize(
    ("plants", "cause"),
    [
        ([], "asked for by fail"),
        ([drop(lambda line: line.op == "fail")], "not known"),
        (
            [drop(lambda line: line.op == "fail"), gone_from_the_store],
            "not known, its record is gone",
        ),
        ([drop(lambda line: line.op == "fail"), store(ended=())], "not known"),
    ],
)
def test_why_a_job_was_executed_again(plants: list[Plant], cause: str) -> None:
    evidence = sound()
    for plant in (run(71, "bob", TOKEN_1), run(131, "cat", "other"), *plants):
        plant(evidence)
    assert count(Case(evidence)).again == {cause: 1}

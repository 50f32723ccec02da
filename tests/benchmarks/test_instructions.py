"""Which stage an instruction counts for."""

import importlib.util
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.instructions import Instructions
from benchmarks.stages import (
    BROKER,
    CLIENT,
    OTHER,
    STAGES,
    WORKER_MODULES,
    is_counted,
    stage_of,
)
from packhorse_protocol.framing import frame


def function_in(module: str, body: str, **names: Any) -> Callable[[], None]:
    """A function that believes that it is in that module."""
    space: dict[str, Any] = {"__name__": module, **names}
    exec(f"def function():\n    {body}", space)  # noqa: S102
    made: Callable[[], None] = space["function"]
    return made


def counted(function: Callable[[], None]) -> Counter[str]:
    instructions = Instructions()
    instructions.start()
    try:
        function()
    finally:
        instructions.stop()
    stages: Counter[str] = Counter()
    for (stage, _), count in instructions.counts.items():
        stages[stage] += count
    return stages


def test_a_module_counts_for_its_stage_and_so_does_what_is_below_it() -> None:
    assert stage_of("packhorse_broker.connection") == "socket"
    assert stage_of("packhorse_broker.jobs") == "decide"
    assert stage_of("packhorse_broker.jobs.machine") == "decide"
    assert stage_of("packhorse_broker.store.records") == "records"
    assert stage_of("packhorse.runner") == "worker"
    assert stage_of("packhorse.lanes") == "client"


@pytest.mark.parametrize("name", ["newcomer", "store.newcomer", "connection_pool"])
def test_a_module_of_the_broker_that_no_stage_names_is_other(name: str) -> None:
    assert stage_of(f"{BROKER}.{name}") == OTHER
    assert counted(function_in(f"{BROKER}.{name}", "pass")).keys() == {OTHER}


def test_what_is_no_part_of_either_has_no_stage() -> None:
    for name in ("json", "packhorse_protocol.codec", "packhorsed", ""):
        assert stage_of(name) is None


def test_the_loop_and_the_benchmarks_are_not_counted() -> None:
    assert not is_counted("asyncio.events")
    assert not is_counted("benchmarks.counts")
    assert is_counted("asyncio.timeouts")
    assert counted(function_in("benchmarks.planted", "pass")) == {}


def test_the_stages_name_modules_that_there_are() -> None:
    named = [f"{BROKER}.{name}" for names in STAGES.values() for name in names]
    named += [f"{CLIENT}.{name}" for name in WORKER_MODULES]
    assert [name for name in named if importlib.util.find_spec(name) is None] == []


@pytest.mark.parametrize(
    ("module", "stage", "messages"),
    [
        ("packhorse_broker.connection", "socket", "messages"),
        ("packhorse.transport", "client", "client messages"),
        ("packhorse.runner", "worker", "client messages"),
    ],
)
def test_the_protocol_counts_for_the_side_that_calls_it(
    module: str, stage: str, messages: str
) -> None:
    found = counted(function_in(module, "frame(content)", frame=frame, content=b"x"))
    assert found.keys() == {stage, messages}


def test_what_has_no_stage_counts_for_its_caller() -> None:
    generated = function_in("", "pass")
    library = function_in("some_library", "generated()", generated=generated)
    alone = counted(function_in("packhorse_broker.jobs.claims", "pass"))
    calling = counted(function_in("packhorse_broker.jobs.claims", "library()", library=library))
    assert calling.keys() == {"decide"}
    assert calling["decide"] > alone["decide"] + 4
    assert counted(library) == {}


def test_what_the_loop_calls_by_itself_is_not_counted_for_who_runs_the_loop() -> None:
    loop = function_in("asyncio.events", "called()", called=function_in("some_library", "pass"))
    runs = function_in("packhorse_broker.daemon", "loop()", loop=loop)
    assert counted(runs) == counted(function_in("packhorse_broker.daemon", "loop()", loop=int))


def test_more_instructions_count_more_and_the_same_count_the_same() -> None:
    def in_decide(body: str) -> int:
        return counted(function_in("packhorse_broker.jobs.machine", body))["decide"]

    few, many = "for _ in range(10): pass", "for _ in range(20): pass"
    assert in_decide(few) == in_decide(few)
    assert in_decide(many) - in_decide(few) >= 10

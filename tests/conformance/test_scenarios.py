"""The scenarios as a whole: each is named and cites a section that there is; none is forgotten."""

import re
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from packhorse_conformance import broker_scenarios, client_scenarios
from packhorse_conformance.scenario import Scenario, chosen, scenarios_in
from packhorse_protocol.errors import Code
from packhorse_protocol.messages import BROKER_MESSAGES, CLIENT_MESSAGES

PROTOCOL: Final = Path(__file__).resolve().parents[2] / "protocol"
SECTIONS: Final = re.findall(r"^## (\d+)\. ", (PROTOCOL / "SPEC.md").read_text(), flags=re.M)

PACKAGES: Final = (broker_scenarios, client_scenarios)

NOT_PROVOKED: Final = {
    Code.SLOW_READER,
    Code.TOO_MANY_CONNECTIONS,
    Code.INTERNAL,
    Code.STORE_FULL,
}
"""By a client alone, at a broker of which no more is known than its address."""


def source(package: ModuleType) -> str:
    """All scenarios of a package, as they are written."""
    [folder] = package.__path__
    return "".join(path.read_text() for path in sorted(Path(folder).glob("*.py")))


def all_of(package: ModuleType) -> list[Scenario[Any]]:
    return scenarios_in(package)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_each_scenario_has_a_name_a_title_and_a_section_of_the_specification(
    package: ModuleType,
) -> None:
    scenarios = all_of(package)
    assert len({scenario.name for scenario in scenarios}) == len(scenarios)
    for scenario in scenarios:
        assert scenario.title, scenario.name
        assert scenario.section in SECTIONS, scenario.name


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_no_function_was_forgotten_to_be_made_a_scenario(package: ModuleType) -> None:
    functions = re.findall(r"^async def ([a-z]\w*)\((?:stage|site):", source(package), flags=re.M)
    names = [scenario.name.partition(".")[2] for scenario in all_of(package)]
    assert sorted(functions) == sorted(names)


def test_every_message_has_a_scenario() -> None:
    text = source(broker_scenarios)
    for tag in CLIENT_MESSAGES:
        assert f'"{tag}"' in text or f".{tag}(" in text, tag
    text = source(client_scenarios)
    for tag in BROKER_MESSAGES.keys() - {"events"} | {"news"}:  # as drivers call them
        assert re.search(rf'"{tag}"|\b{tag}\(', text), tag


@pytest.mark.parametrize("code", sorted(set(Code) - NOT_PROVOKED))
def test_every_code_that_can_be_provoked_has_a_scenario(code: Code) -> None:
    assert f'"{code}"' in source(broker_scenarios)


def test_a_whole_name_chooses_one() -> None:
    scenarios = all_of(client_scenarios)
    assert [found.name for found in chosen(scenarios, ["liveness.beats"])] == ["liveness.beats"]
    assert len(chosen(scenarios, ["beats"])) > 1
    assert chosen(scenarios, []) == scenarios

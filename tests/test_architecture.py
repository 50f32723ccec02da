"""The rules that keep the code a house: read from the imports, never from habit.

The tables below are the architecture. A new broker module has to be given its place in them.
Each rule is a function from sources to complaints; the second half of this file plants a breach
of each and sees it found.
"""

import ast
import graphlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE_ROOTS = {
    "packhorse_protocol": ROOT / "protocol",
    "packhorse_conformance": ROOT / "protocol",
    "packhorse": ROOT / "clients" / "python",
    "packhorse_broker": ROOT / "broker",
}
ALSO_READ = ("tests", "examples", "benchmarks")
"""Folders outside the packages, for the rules that hold everywhere."""

PACKAGES_MAY_IMPORT = {
    "packhorse_protocol": (),
    "packhorse_conformance": ("packhorse_protocol",),
    "packhorse": ("packhorse_protocol",),
    "packhorse_broker": ("packhorse_protocol",),
}
MAY_IMPORT_THE_CLIENT = {"packhorse_broker.daemon", "packhorse_broker.local"}
"""They join both ends in one process."""

BROKER_LAYERS = (
    # From the lowest to the highest. A module imports from layers below it, or its own.
    {"jobs"},
    {"addresses", "clock", "config", "durations", "errors", "logs", "settings", "sources"}
    | {"end_requests", "process_link", "pushes", "shared_addresses", "store_url"}
    | {"turns", "weights"},
    {"store"},
    {"contents", "outages"},
    {"operations"},
    {"cancelling", "sessions", "views"},
    {"job_views"},
    {"causes"},
    {"dealing", "delivery", "group_delivery", "group_members", "notices", "places", "watching"},
    {"feeder"},
    {"fanout", "holding"},
    {"store_watch", "type_news", "trimming"},
    {"changing", "finding", "governing", "looking"},
    {"dispatch"},
    {"intake"},
    {"connection"},
    {"server"},
    {"reception"},
    {"sweeper", "timers"},
    {"parts"},
    {"broker"},
    {"daemon", "local"},
    {"broker_process", "supervised", "supervisor"},
    {"cli"},
    {"__init__", "__main__"},
)

PURE = ("packhorse_protocol", "packhorse_broker.jobs")
"""No event loop, clock, randomness or log: these come in as arguments."""
PURE_MAY_NOT_IMPORT = {"asyncio", "time", "random", "secrets", "logging", "structlog"}
PURE_MAY_NOT_CALL = {"now", "utcnow", "today"}
PURE_THIRD_PARTIES = {
    "packhorse_protocol": {"msgpack", "msgspec"},
    "packhorse_broker.jobs": {"msgspec"},
}

ONLY_IN = {"redis": "packhorse_broker.store", "hiredis": "packhorse_broker.store"}
SECOND_COPIES = ("protocol", "broker", "clients")
"""From the checkout's root these import too, as second copies with different classes."""

EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}
MAX_LINES = 450

CLIENT_DOES_WITHOUT = ("click", "rich", "rich_click", "redis", "structlog", "uvloop")
"""What `import packhorse` must not load: it is imported by programs that start often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One source file, parsed."""

    name: str
    text: str
    tree: ast.Module

    @classmethod
    def of(cls, name: str, text: str) -> "Module":
        return cls(name=name, text=text, tree=ast.parse(text))

    def imports(self) -> Iterator[tuple[str, str]]:
        """Each import as (module, name taken from it or ""), also those inside functions."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, ""
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield node.module or "", alias.name


Sources: TypeAlias = dict[str, Module]
Rule: TypeAlias = Callable[[Sources], Iterator[str]]


def read_packages() -> Sources:
    found = {}
    for package, root in SOURCE_ROOTS.items():
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = Module.of(name, path.read_text())
    return found


def read_others() -> Sources:
    paths = (path for folder in ALSO_READ for path in sorted((ROOT / folder).rglob("*.py")))
    return {str(path): Module.of(str(path.relative_to(ROOT)), path.read_text()) for path in paths}


def targets(module: Module, sources: Sources) -> set[str]:
    """The modules of ours that it imports, each by its full name."""
    found = set()
    for imported, name in module.imports():
        if f"{imported}.{name}" in sources:
            found.add(f"{imported}.{name}")
        elif top(imported) in SOURCE_ROOTS:
            found.add(imported)
    return found


def top(name: str) -> str:
    return name.partition(".")[0]


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def wrong_packages(sources: Sources) -> Iterator[str]:
    for module in sources.values():
        for target in sorted(targets(module, sources)):
            mine, theirs = top(module.name), top(target)
            if theirs == mine or theirs in PACKAGES_MAY_IMPORT[mine]:
                continue
            if theirs == "packhorse" and module.name in MAY_IMPORT_THE_CLIENT:
                continue
            yield f"{module.name} may not import {target}"


def broker_unit(name: str) -> str:
    """The name under which a broker module stands in BROKER_LAYERS."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def wrong_layers(sources: Sources) -> Iterator[str]:
    height = {unit: level for level, layer in enumerate(BROKER_LAYERS) for unit in layer}
    for module in sources.values():
        if top(module.name) != "packhorse_broker":
            continue
        unit = broker_unit(module.name)
        if unit not in height:
            yield f"{module.name} has no place in BROKER_LAYERS"
            continue
        for target in sorted(targets(module, sources)):
            below = broker_unit(target)
            if top(target) == "packhorse_broker" and height.get(below, 0) > height[unit]:
                yield f"{module.name} may not import {target}, which stands above it"


def cycles(sources: Sources) -> Iterator[str]:
    graph = {name: targets(module, sources) - {name} for name, module in sources.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        yield f"import cycle: {' <- '.join(error.args[1])}"


def impurities(sources: Sources) -> Iterator[str]:
    for module in sources.values():
        package = next((name for name in PURE if is_within(module.name, name)), None)
        if package is None:
            continue
        for imported, _ in module.imports():
            name = top(imported)
            if name in PURE_MAY_NOT_IMPORT:
                yield f"{module.name} is pure and may not import {name}"
            elif name not in sys.stdlib_module_names and not (
                name in PURE_THIRD_PARTIES[package] or is_within(imported, package)
            ):
                yield f"{module.name} may not depend on {imported}"
        for node in ast.walk(module.tree):
            complaint = _impure(node)
            if complaint:
                yield f"{module.name}:{getattr(node, 'lineno', 0)} is pure and may not {complaint}"


def _impure(node: ast.AST) -> str | None:
    match node:
        case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
            return "use async or await"
        case ast.comprehension(is_async=1):
            return "use async or await"
        case ast.Call(func=ast.Attribute(attr=name)) if name in PURE_MAY_NOT_CALL:
            return f"call {name}()"
    return None


def misplaced_libraries(sources: Sources) -> Iterator[str]:
    for module in sources.values():
        for imported, _ in module.imports():
            home = ONLY_IN.get(top(imported))
            if home is not None and not is_within(module.name, home):
                yield f"{module.name} may not import {imported}: only {home} does"


def second_copies(modules: Iterable[Module]) -> Iterator[str]:
    for module in modules:
        for imported, name in module.imports():
            if top(imported) in SECOND_COPIES or (not imported and name in SECOND_COPIES):
                yield f"{module.name} imports {imported or name}: leave the source root away"


def empty_names(sources: Sources) -> Iterator[str]:
    for name in sources:
        if name.rpartition(".")[2].strip("_") in EMPTY_NAMES:
            yield f"{name} is named for nothing: name it for what it is responsible for"


def too_long(sources: Sources) -> Iterator[str]:
    for module in sources.values():
        lines = module.text.count("\n")
        if lines > MAX_LINES:
            yield f"{module.name} has {lines} lines, at most {MAX_LINES}: it does several things"


RULES = (
    wrong_packages,
    wrong_layers,
    cycles,
    impurities,
    misplaced_libraries,
    empty_names,
    too_long,
)


# --- The code as it is -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def packages() -> Sources:
    return read_packages()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_code_keeps_the_rule(rule: Rule, packages: Sources) -> None:
    assert list(rule(packages)) == []


def test_nothing_imports_a_second_copy(packages: Sources) -> None:
    assert list(second_copies([*packages.values(), *read_others().values()])) == []


def test_all_packages_were_read(packages: Sources) -> None:
    assert {top(name) for name in packages} == set(SOURCE_ROOTS)


def test_importing_the_client_loads_nothing_heavy() -> None:
    script = "import json, packhorse, sys; print(json.dumps(sorted(sys.modules)))"
    # Isolated from variables that load more, such as those that measure coverage.
    found = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": ""},
        cwd="/",
    )
    loaded = {top(name) for name in json.loads(found.stdout)}
    assert "packhorse_protocol" in loaded
    assert loaded.isdisjoint({*CLIENT_DOES_WITHOUT, "packhorse_broker"})


# --- Each rule can fail ----------------------------------------------------------------------


def planted(**texts: str) -> Sources:
    """Sources by module name, with __ for the dots."""
    names = ((name.replace("__", "."), text) for name, text in texts.items())
    return {name: Module.of(name, text) for name, text in names}


def test_wrong_packages_are_found() -> None:
    sources = planted(
        packhorse_protocol__codec="import packhorse",
        packhorse__client="def later():\n    from packhorse_broker import config",
        packhorse_broker__server="from packhorse import connect",
        packhorse_broker__daemon="import packhorse.client",
        packhorse_broker__dispatch="from packhorse_protocol import codec",
    )
    assert list(wrong_packages(sources)) == [
        "packhorse_protocol.codec may not import packhorse",
        "packhorse.client may not import packhorse_broker",
        "packhorse_broker.server may not import packhorse",
    ]


def test_wrong_layers_are_found() -> None:
    sources = planted(
        packhorse_broker__store__keys="from packhorse_broker import operations",
        packhorse_broker__operations="from packhorse_broker.store.keys import KEY",
        packhorse_broker__jobs__machine="import packhorse_broker.clock",
        packhorse_broker__newcomer="",
    )
    above = "which stands above it"
    assert list(wrong_layers(sources)) == [
        f"packhorse_broker.store.keys may not import packhorse_broker.operations, {above}",
        f"packhorse_broker.jobs.machine may not import packhorse_broker.clock, {above}",
        "packhorse_broker.newcomer has no place in BROKER_LAYERS",
    ]


def test_cycles_are_found_also_through_a_package() -> None:
    direct = planted(packhorse__a="import packhorse.b", packhorse__b="from packhorse import a")
    through = planted(
        packhorse="from packhorse.a import A", packhorse__a="from packhorse import VERSION"
    )
    straight = planted(packhorse__a="import packhorse.b", packhorse__b="import os")
    assert len(list(cycles(direct))) == 1
    assert len(list(cycles(through))) == 1
    assert list(cycles(straight)) == []


@pytest.mark.parametrize(
    "text",
    [
        "async def f(): pass",
        "async def f():\n    return [x async for x in y]",
        "import time",
        "from random import random",
        "import secrets",
        "import logging.handlers",
        "def f():\n    import structlog",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import date\ndate.today()",
        "import redis",
        "from packhorse_broker.clock import monotonic_ms",
    ],
)
@pytest.mark.parametrize("package", PURE)
def test_impurities_are_found(package: str, text: str) -> None:
    name = f"{package}.planted"
    assert list(impurities({name: Module.of(name, text)}))
    outside = "packhorse_broker.server"
    assert list(impurities({outside: Module.of(outside, text)})) == []


def test_a_pure_module_may_use_its_library_and_its_package() -> None:
    sources = planted(
        packhorse_protocol__codec="import msgpack, struct\nfrom packhorse_protocol import limits",
        packhorse_broker__jobs__model="import msgspec, enum\nimport packhorse_broker.jobs.rules",
    )
    assert list(impurities(sources)) == []


def test_misplaced_libraries_are_found() -> None:
    sources = planted(
        packhorse_broker__server="from redis.asyncio import Redis",
        packhorse_broker__store__link="import redis, hiredis",
    )
    assert list(misplaced_libraries(sources)) == [
        "packhorse_broker.server may not import redis.asyncio: only packhorse_broker.store does"
    ]


def test_second_copies_are_found() -> None:
    texts = (
        "import protocol.packhorse_protocol",
        "from broker.packhorse_broker import config",
        "from clients.python.packhorse import connect",
    )
    for text in texts:
        assert len(list(second_copies([Module.of("planted", text)]))) == 1
    assert list(second_copies([Module.of("planted", "import packhorse_protocol")])) == []


def test_empty_names_and_long_modules_are_found() -> None:
    long = "x = 1\n" * (MAX_LINES + 1)
    sources = planted(packhorse__utils="", packhorse__store__common="", packhorse__long=long)
    assert len(list(empty_names(sources))) == 2
    assert len(list(too_long(sources))) == 1

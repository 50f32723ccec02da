"""Each example is run as its reader would run it, and prints what its docstring says."""

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
EXAMPLES: Final = ROOT / "examples"

MAX_CODE_LINES: Final = 30
"""Without blank lines and the docstring: more than that nobody copies."""

FEATURES: Final = {
    "delay": ["delay"],
    "attempts, backoff, retry": ["retry", "backoff", "retry_rules"],
    "reasons": ["reasons", "lost"],
    "priority and fair turns": ["priorities", "workers"],
    "timeouts, lost runners": ["timeouts", "extend", "lost"],
    "logs and progress": ["logs", "log_limits", "events"],
    "handlers": ["handlers", "comes_back", "durable_handlers"],
    "removal": ["retention", "by_hand"],
    "cancel": ["cancel", "threads", "processes"],
    "unique jobs": ["unique", "join_or_replace"],
    "pause, drain, purge": ["pause", "drain"],
    "find": ["find", "why", "minutes"],
    "by hand": ["by_hand"],
    "runners": [
        "workers",
        "threads",
        "processes",
        "middleware",
        "injection",
        "typed",
        "graceful_stop",
    ],
    "waiting": ["waiting", "events", "sync_client"],
    "metadata": ["headers", "schemas", "by_hand"],
    "budgets": ["budgets"],
}
"""What a job can do, and the examples that show it."""

FILES: Final = sorted(path for path in EXAMPLES.glob("*.py") if path.name != "__init__.py")


def docstring(path: Path) -> str:
    found = ast.get_docstring(ast.parse(path.read_text()))
    assert found is not None, f"{path.name} says nothing of itself"
    return found


def announced(path: Path) -> str:
    """What an example's docstring says that it prints."""
    _, _, said = docstring(path).partition("\n\nPrints:\n\n")
    return textwrap.dedent(said)


def pattern(text: str) -> str:
    """`...` stands for anything within a line."""
    return ".*".join(map(re.escape, text.split("...")))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_prints_what_it_says(path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert announced(path)
    assert re.fullmatch(pattern(announced(path)), ran.stdout.rstrip("\n")), ran.stdout
    for line in ran.stderr.splitlines():
        # What the worker logs of jobs that fail, as some of them do on purpose.
        assert line.startswith("job "), ran.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    text = path.read_text()
    start = ast.parse(text).body[0].end_lineno
    code = [line for line in text.splitlines()[start:] if line.strip()]
    assert len(code) <= MAX_CODE_LINES


def test_every_example_shows_a_feature() -> None:
    assert {name for names in FEATURES.values() for name in names} == {path.stem for path in FILES}


def test_the_readme_of_the_examples_names_each_once() -> None:
    listed = re.findall(r"\]\((\w+)\.py\)", (EXAMPLES / "README.md").read_text())
    assert sorted(listed) == [path.stem for path in FILES]

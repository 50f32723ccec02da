"""What counts as proof that a store lost what it had acknowledged."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.history.history import ROLLED_BACK, Recorder, read
from tests.history.marks import Marks
from tests.history.strays import Strays


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    return Marks(Recorder(tmp_path, "supervisor"))


def spans_ns(folder: Path) -> list[int]:
    return [entry.number for entry in read(folder) if entry.op == ROLLED_BACK]


def about(
    changes: int, role: str = "master", run_id: str = "1", loading: int = 0
) -> dict[str, Any]:
    told = {"rdb_changes_since_last_save": changes, "role": role}
    return {**told, "run_id": run_id, "loading": loading}


def test_the_newest_mark_proves_that_nothing_is_lost(tmp_path: Path, marks: Marks) -> None:
    mark = time.monotonic_ns()
    marks.acknowledged(mark)
    marks.found(mark, "a -> b")
    marks.found(mark + 1, "one that was not answered")
    assert spans_ns(tmp_path) == []


def test_an_older_mark_proves_the_loss_of_all_since(tmp_path: Path, marks: Marks) -> None:
    found = time.monotonic_ns()
    marks.acknowledged(found + 1)
    marks.acknowledged(found - 1)
    marks.found(found, "a -> b")
    [span_ns] = spans_ns(tmp_path)
    assert 0 < span_ns <= time.monotonic_ns() - found


def test_a_stray_that_is_written_to_loses_it(tmp_path: Path, marks: Marks) -> None:
    strays = Strays(marks)
    strays.seen("a", about(5), is_primary=True)
    strays.adopted()
    strays.seen("a", about(6), is_primary=False)
    assert len(spans_ns(tmp_path)) == 1


@pytest.mark.parametrize(
    ("told", "is_primary"),
    [
        pytest.param(about(5), False, id="nothing was written"),
        pytest.param(about(6), True, id="it is the primary"),
        pytest.param(about(6, role="slave"), False, id="it follows the primary"),
        pytest.param(about(6, run_id="2"), False, id="it was started again"),
        pytest.param(about(6, loading=1), False, id="it reads its data"),
    ],
)
def test_what_is_no_stray_loses_nothing(
    tmp_path: Path, marks: Marks, told: dict[str, Any], is_primary: bool
) -> None:
    strays = Strays(marks)
    strays.seen("a", about(5), is_primary=True)
    strays.seen("a", told, is_primary=is_primary)
    assert spans_ns(tmp_path) == []

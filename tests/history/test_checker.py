"""The checker itself: a sound history passes, and one planted breach of each promise is caught."""

from typing import Final

import pytest

from tests.history.checker import INVARIANTS, judge
from tests.history.dump import EndedAttempt
from tests.history.history import SUPERVISOR, Asked
from tests.history.sound import (
    ASKED,
    KEPT,
    TIMEOUT_MS,
    TOKEN_1,
    TOKEN_2,
    TOKEN_3,
    Plant,
    add,
    also_stored,
    call,
    claim,
    create,
    drop,
    entry,
    failed,
    found_by_fsck,
    gone_from_the_store,
    in_another_partition,
    not_drained,
    outcome,
    sound,
    store,
)

UNIQUE: Final = Asked(unique="key")
OUTAGE: Final = entry(2_500, SUPERVISOR, "note", "outage", text="store", number=2_000)

BACK: Final = ("ann", "hello")
MISSED: Final = [
    create(300, job="late", asked=Asked(handle=True)),
    [entry(2_500, "ann", "invoke", "hello", call="lost", number=TIMEOUT_MS)],
    [claim(5_100, "bob", "late", "a1", 1, 1)],
    call(5_110, "bob", "complete", job="late", token="a1", text="a1"),
]
"""The creator of `late` does not get its outcome, nor an answer to its hello."""

PLANTS: Final[list[tuple[str, int, Plant]]] = [
    ("acknowledged and lost", 1, gone_from_the_store),
    ("nobody asked for it", 1, store("ghost", id="ghost", name="ghost")),
    (
        "refused and there all the same",
        1,
        add(
            create(20, "fail", job="", name="ghost", code="conflict"),
            claim(30, "bob", "x", "9", 1, 1),
        ),
    ),
    ("in another partition", 2, in_another_partition),
    ("created twice", 2, add(create(50, job="kept"))),
    ("one create, two jobs", 2, store("twin", id="twin")),
    ("the same id, another job", 2, store(created_at=6)),
    (
        "two holders of a unique key",
        2,
        add(
            create(300, job="u1", asked=UNIQUE),
            create(310, job="u2", asked=UNIQUE),
            claim(7_000, "bob", "u1", "a1", 1, 1),
            claim(7_000, "bob", "u2", "a2", 1, 1),
        ),
    ),
    ("two tokens for a fence", 3, add(claim(75, "cat", "kept", "ff", 1, 1))),
    ("one token for two jobs", 3, add(claim(215, "bob", "kept", TOKEN_3, 3, 2))),
    (
        "two ends of a claim",
        3,
        add(call(92, "bob", "release", job="kept", token=TOKEN_1)),
    ),
    (
        "completed by two claims",
        3,
        add(call(145, "bob", "complete", job="kept", token=TOKEN_1, text=TOKEN_1)),
    ),
    ("claimed after it was completed", 3, add(claim(300, "bob", "kept", "ff", 3, 2))),
    ("completed by another than the store says", 3, store(token=TOKEN_1)),
    (
        "a stale token was accepted",
        3,
        add(call(135, "bob", "progress", job="kept", token=TOKEN_1)),
    ),
    (
        "accepted after it was taken away",
        3,
        add(
            entry(72, "bob", "push", "revoke", job="kept", token=TOKEN_1, code="timeout"),
        ),
    ),
    ("passed on while it was held", 4, drop(lambda line: line.op == "fail")),
    ("two outcomes", 5, add(outcome(155, "cat", "kept", TOKEN_1, 500))),
    ("an outcome of nobody", 5, add(outcome(235, "cat", "gone", TOKEN_1, 600))),
    ("finished twice", 5, add(outcome(300, "ann", "kept", TOKEN_2, 700))),
    (
        "an outcome that did not come",
        5,
        drop(lambda line: line.op == "outcome" and line.job == "kept" and line.who == "ann"),
    ),
    (
        "an outcome that did not come to the group",
        5,
        drop(lambda line: line.op == "outcome" and line.group == "g"),
    ),
    (
        "an outcome that did not come to who kept its registration",
        5,
        also_stored("late", add(*MISSED, call(5_000, *BACK, flag=True))),
    ),
    ("an outcome that is still owed", 5, store(handlers=("ann",))),
    (
        "a version that goes back",
        6,
        add(call(180, "ann", "get", job="kept", state="COMPLETE", version=8)),
    ),
    (
        "a version with two states",
        6,
        add(call(180, "ann", "get", job="kept", state="FAILED", version=9)),
    ),
    (
        "later than it ended in",
        6,
        add(call(180, "ann", "get", job="kept", state="COMPLETE", version=10)),
    ),
    (
        "acknowledged and not found",
        6,
        add(call(20, "ann", "get", "fail", job="kept", code="not_found")),
    ),
    (
        "completed and read otherwise",
        6,
        add(call(145, "ann", "get", job="kept", state="STARTED", version=6)),
    ),
    ("an attempt too many", 7, add(claim(300, "bob", "kept", "ff", 3, 3))),
    ("claims that nothing ended", 7, store(fence=3)),
    ("a fail that nobody said", 7, store(failed=2, fence=3)),
    ("a retry that nobody asked for", 7, store(retried=1)),
    (
        "lost though it was never given up",
        7,
        store(
            lost=1,
            fence=3,
            ended=(
                *KEPT.ended,
                EndedAttempt(attempt=1, runner="bob", started_at=60, finished_at=90, end="LOST"),
            ),
        ),
    ),
    ("before its delay", 8, add(claim(30, "bob", "kept", TOKEN_1, 1, 1))),
    ("before its next attempt", 8, add(claim(103, "cat", "kept", TOKEN_2, 2, 2))),
    (
        "a timeout that came early",
        8,
        store(
            ended=(
                EndedAttempt(
                    attempt=1,
                    runner="bob",
                    started_at=60,
                    finished_at=90,
                    end="TIMED_OUT",
                    expired="RUN",
                ),
            )
        ),
    ),
    ("an outcome that was handled", 9, add(outcome(190, "ann", "kept", TOKEN_2, 500))),
    ("a gap in a log", 10, store(log_end=2)),
    ("a line twice", 10, store(log=((0, "line"), (1, "line")), log_offsets=(0, 1), log_end=2)),
    ("a line that was not written", 10, store(log=((0, "other"),))),
    ("not over in time", 11, not_drained),
    ("a job that is stuck", 11, store(state="STARTED")),
    ("indexes that disagree", 12, found_by_fsck),
    ("given up before its time", 13, add(call(1_500, "bob", "hello", number=TIMEOUT_MS))),
    (
        "given up for the time of an outage",
        13,
        add(OUTAGE, call(2_600, "bob", "hello", number=TIMEOUT_MS)),
    ),
]


def lines(invariants: set[int]) -> list[str]:
    return [INVARIANTS[number] for number in sorted(invariants)]


def test_a_sound_history_passes() -> None:
    verdict = judge(sound())
    assert verdict.sound, verdict.violations


@pytest.mark.parametrize(
    ("invariant", "plant"), [plant[1:] for plant in PLANTS], ids=[plant[0] for plant in PLANTS]
)
def test_a_planted_violation_is_caught(invariant: int, plant: Plant) -> None:
    evidence = sound()
    plant(evidence)
    verdict = judge(evidence)
    assert INVARIANTS[invariant] in lines(verdict.broken)


def test_every_invariant_has_a_planted_violation() -> None:
    assert {invariant for _, invariant, _ in PLANTS} == set(INVARIANTS)


EXPLAINED: Final[list[tuple[str, Plant]]] = [
    ("a create without an answer", drop(lambda line: line.kind == "ok" and line.op == "create")),
    ("given up after a full timeout", add(call(4_000, "bob", "hello", number=TIMEOUT_MS))),
    (
        "passed on when its runner was given up",
        add(
            create(300, job="left", asked=Asked(attempts=2)),
            claim(310, "bob", "left", "a1", 1, 1),
            claim(2_500, "cat", "left", "a2", 2, 2),
            call(2_510, "cat", "complete", job="left", token="a2", text="a2"),
            call(2_520, "ann", "remove", job="left"),
            call(4_000, "bob", "hello", number=TIMEOUT_MS),
        ),
    ),
    (
        "an outcome for each time that it finished",
        add(
            create(300, job="again"),
            call(350, "ann", "cancel", job="again"),
            failed(400, "again"),
            call(410, "ann", "retry", job="again", number=1),
            claim(420, "bob", "again", "a1", 1, 1),
            call(430, "bob", "complete", job="again", token="a1", text="a1"),
            outcome(440, "ann", "again", "a1", 2),
            call(450, "ann", "remove", job="again"),
        ),
    ),
    (
        "a claim that its runner never learnt of was lost, and the job retried by hand",
        add(
            create(300, job="unseen"),
            failed(400, "unseen", code="RUNNER_TIMEOUT", attempt=1),
            call(410, "ann", "retry", job="unseen", number=1),
            claim(420, "bob", "unseen", "a2", 2, 2),
            call(430, "bob", "complete", job="unseen", token="a2", text="a2"),
            outcome(440, "ann", "unseen", "a2", 2),
            call(450, "ann", "remove", job="unseen"),
        ),
    ),
    (
        "a job that was given back, and lost with a claim that its runner never learnt of",
        add(
            create(300, job="unseen"),
            claim(350, "bob", "unseen", "a1", 1, 1),
            call(360, "bob", "release", job="unseen", token="a1"),
            failed(400, "unseen", code="RUNNER_TIMEOUT", attempt=1),
            call(450, "ann", "remove", job="unseen"),
        ),
    ),
    (
        "a unique key given on by a job whose claim reached its paused runner late",
        add(
            create(300, job="first", asked=UNIQUE),
            create(3_000, job="second", asked=UNIQUE),
            claim(3_500, "bob", "first", "a1", 1, 1),
            call(3_510, "ann", "remove", job="first"),
            call(3_520, "ann", "remove", job="second"),
        ),
    ),
    (
        "an outcome missed by who was given up while its welcome was lost",
        also_stored("late", add(*MISSED, call(5_000, *BACK, flag=True, registered_at=2))),
    ),
    (
        "an outcome missed by who was given up and never came back",
        also_stored("late", add(*MISSED)),
    ),
    (
        "an outcome again for a group by a create that is repeated",
        add(
            call(190, "bob", "create", job="kept", group="g", asked=ASKED, flag=True),
            outcome(195, "cat", "kept", TOKEN_2, 500, group="g"),
            outcome(195, "bob", "kept", TOKEN_2, 500),
        ),
    ),
    (
        "an outcome again for who asks again",
        add(call(180, "ann", "handle", job="kept"), outcome(190, "ann", "kept", TOKEN_2, 500)),
    ),
]


@pytest.mark.parametrize(
    "plant", [plant for _, plant in EXPLAINED], ids=[name for name, _ in EXPLAINED]
)
def test_what_can_be_explained_is_no_violation(plant: Plant) -> None:
    evidence = sound()
    plant(evidence)
    verdict = judge(evidence)
    assert verdict.sound, verdict.violations

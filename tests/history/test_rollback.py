"""What the proven loss of acknowledged changes explains, and what it does not."""

import pytest

from packhorse_broker.store.homes import Homes
from tests.history.checker import judge
from tests.history.history import CLIENTS, NS_PER_MS, ROLLED_BACK, SUPERVISOR
from tests.history.sound import (
    TIMEOUT_MS,
    TOKEN_3,
    Plant,
    add,
    call,
    claim,
    entry,
    found_by_fsck,
    gone_from_the_store,
    sound,
    store,
)


def rolled_back(begin_ms: int, end_ms: int, slot: str = "") -> Plant:
    number = (end_ms - begin_ms) * NS_PER_MS
    note = entry(end_ms, SUPERVISOR, "note", ROLLED_BACK, text="a -> b", number=number, slot=slot)
    return add(note)


def test_a_proven_loss_explains_what_was_answered_in_it() -> None:
    evidence = sound()
    gone_from_the_store(evidence)
    rolled_back(8, 12)(evidence)
    verdict = judge(evidence)
    assert verdict.sound, verdict.violations
    assert verdict.count_rolled_back(1) == 1


@pytest.mark.parametrize(("begin_ms", "end_ms"), [(0, 8), (80, 8_000)])
def test_a_proven_loss_explains_nothing_that_was_answered_outside(
    begin_ms: int, end_ms: int
) -> None:
    evidence = sound()
    gone_from_the_store(evidence)
    rolled_back(begin_ms, end_ms)(evidence)
    assert judge(evidence).broken == {1}


def test_a_loss_in_a_partition_explains_nothing_about_others() -> None:
    homes = Homes(4)
    own = homes.of("kept")
    for slot, is_sound in ((str(own), True), (CLIENTS, True), (str((own + 1) % 4), False)):
        evidence = sound()
        evidence.partitions = 4
        gone_from_the_store(evidence)
        rolled_back(8, 12, slot)(evidence)
        assert judge(evidence).sound is is_sound, slot


@pytest.mark.parametrize(
    ("invariant", "plant"),
    [
        (3, add(claim(215, "bob", "kept", TOKEN_3, 3, 2))),
        (11, store(state="STARTED")),
        (12, found_by_fsck),
        (13, add(call(1_500, "bob", "hello", number=TIMEOUT_MS))),
    ],
)
def test_what_no_loss_explains(invariant: int, plant: Plant) -> None:
    evidence = sound()
    plant(evidence)
    rolled_back(50, 1_000)(evidence)
    assert invariant in judge(evidence).broken

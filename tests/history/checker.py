"""Decides from the history and from what the store holds whether every promise was kept.

    verdict = judge(evidence)

Pure: it looks at nothing but its argument. Each rule is sound: it complains only where no
explanation is left, whatever the order in which things happened between a question and its
answer. Rules are in `rules_*.py`; what they ask of the evidence is in `evidence.py`.
"""

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from tests.history import (
    rules_claims,
    rules_creation,
    rules_outcomes,
    rules_reading,
    rules_time,
)
from tests.history.evidence import Case, Evidence, Violation
from tests.history.rollback import explained

INVARIANTS: Final[dict[int, str]] = {
    1: "no acknowledged job is lost, none is there unasked",
    2: "one job for each id that its creator chose, one holder of each unique key",
    3: "one token and at most one accepted end for each attempt, nothing for a stale token",
    4: "at most one holder at a time",
    5: "every handler sees the one accepted outcome",
    6: "versions only grow, and a read is never older than an answer",
    7: "no more attempts than allowed, each with a reason",
    8: "nothing happens early",
    9: "no outcome comes after its handled was accepted",
    10: "logs have no gaps, and no line that was not written",
    11: "everything ends in time after the last fault",
    12: "records and indexes agree",
    13: "nobody is given up before a full timeout of silence",
}

Rule = Callable[[Case], Iterator[Violation]]

RULES: Final[tuple[Rule, ...]] = (
    rules_creation.lost,
    rules_creation.unexpected,
    rules_creation.astray,
    rules_creation.twice,
    rules_creation.unique_keys,
    rules_claims.tokens,
    rules_claims.accepted_ends,
    rules_claims.stale_tokens,
    rules_claims.holders,
    rules_claims.attempts,
    rules_claims.given_up,
    rules_outcomes.one_outcome,
    rules_outcomes.delivered,
    rules_outcomes.not_after_handled,
    rules_reading.versions,
    rules_reading.acknowledged,
    rules_reading.logs,
    rules_time.delays,
    rules_time.timeouts,
    rules_time.ended,
    rules_time.fsck,
)


class Verdict(Struct, frozen=True, kw_only=True):
    violations: tuple[Violation, ...]
    rolled_back: tuple[Violation, ...] = ()
    """What the proven loss of acknowledged changes explains: it is counted, and is no defect."""

    @property
    def sound(self) -> bool:
        return not self.violations

    @property
    def broken(self) -> set[int]:
        return {violation.invariant for violation in self.violations}

    def count(self, invariant: int) -> int:
        return sum(violation.invariant == invariant for violation in self.violations)

    def count_rolled_back(self, invariant: int) -> int:
        return sum(violation.invariant == invariant for violation in self.rolled_back)


def judge(evidence: Evidence) -> Verdict:
    case = Case(evidence)
    found = [violation for rule in RULES for violation in rule(case)]
    excused = [explained(case, violation) for violation in found]
    return Verdict(
        violations=tuple(one for one, ok in zip(found, excused, strict=True) if not ok),
        rolled_back=tuple(one for one, ok in zip(found, excused, strict=True) if ok),
    )


__all__ = ["INVARIANTS", "Evidence", "Verdict", "judge"]

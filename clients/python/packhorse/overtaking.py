"""Outcomes that overtake the answer to their job's create wait for it.

Handled before, the job is gone: should the connection be lost then, the create that is repeated
would make it again (SPEC.md, section 9).
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from packhorse_protocol.messages import Outcome


class Overtaking:
    """`creating` for each create whose outcome comes here, `passed` for what was pushed."""

    def __init__(self, deliver: Callable[[Sequence[Outcome]], None]) -> None:
        """`deliver`: takes those that waited."""
        self._deliver = deliver
        self._creating: dict[str, int] = {}
        """Jobs whose create is not answered yet, and how many creates."""
        self._held: dict[str, dict[str | None, Outcome]] = {}
        """Of these jobs, by job and group: what is pushed again replaces the former."""

    def creating(self, job: str, answer: "asyncio.Future[Any]") -> None:
        """Until this is answered, or given up."""
        self._creating[job] = self._creating.get(job, 0) + 1
        answer.add_done_callback(partial(self._answered, job))

    def passed(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Those that need not wait."""
        if not self._creating:
            return outcomes
        passed = []
        for outcome in outcomes:
            if outcome.job in self._creating:
                self._held.setdefault(outcome.job, {})[outcome.group] = outcome
            else:
                passed.append(outcome)
        return passed

    def _answered(self, job: str, _: "asyncio.Future[Any]") -> None:
        self._creating[job] -= 1
        if not self._creating[job]:
            del self._creating[job]
            held = self._held.pop(job, None)
            if held is not None:
                self._deliver([*held.values()])

"""Counts what happened in a run: what was asked and answered, done to it, and done twice."""

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Final

from msgspec import Struct

from tests.history.evidence import Call, Case, Story
from tests.history.history import NS_PER_MS, Entry
from tests.history.rules_outcomes import missed

FAULT_BEFORE_NS: Final = 5_000 * NS_PER_MS
"""A fault that began so long before a claim may still have made its runner silent: no fault is
longer."""


class Operation(Struct, kw_only=True):
    """How requests of one kind were settled."""

    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    not_met: int = 0
    """Of the acknowledged, those for which the broker had waited in vain."""


class Figures(Struct, kw_only=True):
    operations: dict[str, Operation]
    faults: Counter[str]
    jobs: int
    claims: int
    executions: int
    again: Counter[str]
    """Executions of a job beyond its first one, by what caused them."""
    overlap_ms: float
    """The longest time for which the code of two claims of one job ran at once."""
    longest_outage_ms: dict[str, int]
    removals: int
    """Clients that were given up."""
    missed: int
    """Outcomes that never reached a handler, which was given up."""
    failovers: int
    lost_spans_ms: dict[str, list[float]]
    """How long each span was in which the store acknowledged what it lost, by where."""
    risked: int
    """Changes that were acknowledged in these: some of them are lost."""
    lateness_ms: list[float]
    """Of delayed jobs: from when each was due until it was first claimed, in order."""


def count(case: Case) -> Figures:
    operations: dict[str, Operation] = defaultdict(Operation)
    for call in case.calls:
        operation = operations[call.invoke.op]
        if call.done:
            operation.acknowledged += 1
            operation.not_met += call.answer is not None and call.answer.not_met
        elif call.refused:
            operation.refused += 1
        else:
            operation.unknown += 1
    outages: dict[str, int] = {}
    for entry in case.history:
        if entry.op == "outage":
            outages[entry.text] = max(outages.get(entry.text, 0), entry.number)
    again: Counter[str] = Counter()
    for story in case.stories.values():
        again.update(_again(case, story))
    stories = case.stories.values()
    return Figures(
        operations=dict(sorted(operations.items())),
        faults=Counter(fault.op for fault in case.faults),
        jobs=sum(any(call.maybe for call in story.creates) for story in stories),
        claims=sum(len({claim.token for claim in story.claims}) for story in stories),
        executions=sum(len(_begins(story)) for story in stories),
        again=again,
        overlap_ms=max(map(_overlap_ms, stories), default=0.0),
        longest_outage_ms=outages,
        removals=sum(map(len, case.told_gone.values())),
        missed=sum(not group for story in stories for _, group, _ in missed(story)),
        failovers=sum(entry.op == "failover" for entry in case.history),
        lost_spans_ms=_lost_spans_ms(case),
        risked=sum(call.done and _in_a_lost_span(case, call) for call in case.calls),
        lateness_ms=sorted(late for story in stories if (late := _lateness_ms(story)) is not None),
    )


def _lost_spans_ms(case: Case) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for span in case.lost_spans:
        found[span.where].append((span.end - span.begin) / NS_PER_MS)
    return found


def _in_a_lost_span(case: Case, call: Call) -> bool:
    job = (call.answer and call.answer.job) or call.invoke.job
    return any(
        span.begin <= call.invoke.at and call.settled_at <= span.end
        for span in case.lost_spans_of(job)
    )


def _begins(story: Story) -> list[Entry]:
    return [entry for entry in story.runs if entry.kind == "begin"]


def _again(case: Case, story: Story) -> Counter[str]:
    causes: Counter[str] = Counter()
    begins = _begins(story)
    for before, begin in pairwise(begins):
        causes[_cause(case, story, before, begin)] += 1
    return causes


def _cause(case: Case, story: Story, before: Entry, begin: Entry) -> str:
    token = before.token
    if begin.token == token:
        return "same claim, runner came back"
    for revoke in story.revokes:
        if revoke.token == token:
            return f"claim over: {revoke.code}"
    for op in ("fail", "release"):
        if token in story.tokens(op, done=False):
            return f"asked for by {op}"
    stored = case.jobs.get(story.job)
    ends = {one.end for one in stored.ended} if stored is not None else set()
    if "LOST" in ends or case.was_given_up(before.who, after=before.at):
        return f"runner given up: {_fault_before(case, before, begin)}"
    if "TIMED_OUT" in ends:
        return "timed out, runner away"
    if any(span.begin <= before.at <= span.end for span in case.lost_spans_of(story.job)):
        return "claim lost by the store"
    return "not known" if stored is not None else "not known, its record is gone"


def _fault_before(case: Case, before: Entry, begin: Entry) -> str:
    """The last that was done to a runner while it held a claim, or just before."""
    since = before.at - FAULT_BEFORE_NS
    hit = [one for one in case.faults if one.text == before.who and since < one.at < begin.at]
    return hit[-1].op if hit else "brokers or store away"


def _overlap_ms(story: Story) -> float:
    """Runs without an end (their process was killed) are left out."""
    spans: dict[str, list[int]] = {}
    for entry in story.runs:
        if entry.kind == "begin":
            spans[entry.token] = [entry.at]
        elif entry.token in spans and len(spans[entry.token]) == 1:
            spans[entry.token].append(entry.at)
    whole = sorted(tuple(span) for span in spans.values() if len(span) == 2)
    longest = 0
    for (_, end), (begin, other_end) in pairwise(whole):
        longest = max(longest, min(end, other_end) - begin)
    return longest / NS_PER_MS


def _lateness_ms(story: Story) -> float | None:
    made = [call for call in story.creates if call.done]
    if not made or not story.claims or not story.asked.delay_ms or story.maybe("run_now"):
        return None
    due = made[0].settled_at + story.asked.delay_ms * NS_PER_MS
    return max(0, story.claims[0].at - due) / NS_PER_MS

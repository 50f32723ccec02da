"""What the loss of acknowledged changes explains, and what it does not.

A store may lose what it acknowledged: when a replica takes its place that did not have it, or
when it is killed before it wrote it down. Spans in which that happened are proven by marks (see
`marks.py`). A violation is explained if a job that it is about was changed, or may have been, or
told of, in such a span; a client that was given up early, if its registration was made in one.
Of a store with several partitions only those spans count in which the job's own was hit, or the
clients.
Tokens are random and can't come twice for that; nothing is stuck for that, and no index disagrees.
"""

from collections.abc import Iterator
from typing import Final

from tests.history.evidence import PUSHED_LATE_NS, Call, Case, Story, Violation
from tests.history.history import NS_PER_MS

NEVER_EXPLAINED: Final = frozenset({11, 12})

DONE_LATE_NS: Final = 10_000 * NS_PER_MS
"""How long what was not answered may still be done after it was asked."""


def explained(case: Case, violation: Violation) -> bool:
    if not case.lost_spans or violation.absolute or violation.invariant in NEVER_EXPLAINED:
        return False
    if violation.invariant == 13:
        return any(_registered_in(case, line.who) for line in violation.lines)
    jobs = {*violation.jobs, *(line.job for line in violation.lines)} - {""}
    # Only with its creation is a job lost.
    moments = _creations if violation.invariant == 1 else _changes
    return any(
        begin <= span.end and end >= span.begin
        for job in jobs
        for begin, end in moments(case.story(job))
        for span in case.lost_spans_of(job)
    )


def _creations(story: Story) -> Iterator[tuple[int, int]]:
    """From when at the earliest, until when at the latest it was made."""
    for call in story.creates:
        if call.maybe:
            yield call.invoke.at, _done_by(call)


def _changes(story: Story) -> Iterator[tuple[int, int]]:
    yield from _creations(story)
    for calls in (story.joins, *story.calls.values()):
        for call in calls:
            if call.maybe:
                yield call.invoke.at, _done_by(call)
    for push in (*story.claims, *story.revokes, *story.outcomes):
        yield push.at - PUSHED_LATE_NS, push.at


def _done_by(call: Call) -> int:
    return min(call.settled_at, call.invoke.at + DONE_LATE_NS)


def _registered_in(case: Case, who: str) -> bool:
    """Whether its registration may be among what was lost."""
    return any(
        call.invoke.op == "hello" and call.invoke.at <= span.end and _done_by(call) >= span.begin
        for call in case.heard[who]
        for span in case.lost_spans_of("")
    )

"""Jobs come into being once each, and none is lost."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.history.evidence import PUSHED_LATE_NS, Call, Case, Story, Violation
from tests.history.history import Entry


def lost(case: Case) -> Iterator[Violation]:
    """An acknowledged job is there at the end, or there is a reason why it went."""
    for story in case.stories.values():
        acknowledged = [call for call in story.creates if call.done]
        if not acknowledged or story.job in case.jobs or story.maybe("remove"):
            continue
        if story.maybe("handled") and not story.asked.persistent:
            continue
        yield Violation(
            invariant=1,
            what=f"{story.job} was acknowledged and is gone, though nobody removed or handled it",
            lines=acknowledged[0].lines,
        )


def unexpected(case: Case) -> Iterator[Violation]:
    """A job is there because somebody asked for it."""
    for job in case.jobs.keys() | case.stories.keys():
        story = case.story(job)
        seen = (*story.claims, *story.outcomes)
        if not seen and job not in case.jobs:
            continue
        if job not in case.jobs and not story.names and _may_be_unknown(case):
            continue
        if not any(call.maybe for call in story.creates):
            refused = [line for call in _named(case, story) for line in call.lines]
            yield Violation(
                invariant=1,
                what=f"{job} exists, though no create of it can have been done",
                lines=(*refused, *seen[:1]),
                jobs=(job,),
            )


def _may_be_unknown(case: Case) -> bool:
    """Whether a job of which only the outcome was seen can be one of those whose create was not
    answered: nothing tells which."""
    return any(call.maybe for call in case.unanswered.values())


def _named(case: Case, story: Story) -> list[Call]:
    """Creates that said what the job says, whatever came of them."""
    stored = case.jobs.get(story.job)
    names = story.names | ({stored.name} if stored is not None else set())
    return [c for c in case.calls if c.invoke.op == "create" and c.invoke.name in names]


def astray(case: Case) -> Iterator[Violation]:
    """Each job is in the partition that follows from its id: elsewhere it would be another one."""
    for what in case.evidence.astray:
        yield Violation(invariant=2, what=what, absolute=True)


def twice(case: Case) -> Iterator[Violation]:
    """One job for each id that a creator chose, and for each create that chose none."""
    by_name: dict[str, set[str]] = defaultdict(set)
    for story in case.stories.values():
        for name in story.names:
            by_name[name].add(story.job)
        if story.maybe("remove"):
            continue
        made = [call for call in story.creates if call.done and _says_new(call)]
        if len(made) > 1:
            yield Violation(
                invariant=2,
                what=f"{story.job} was created {len(made)} times",
                lines=tuple(line for call in made for line in call.lines),
            )
        yield from _incarnations(case, story)
    for job, stored in case.jobs.items():
        by_name[stored.name].add(job)
    for name, jobs in by_name.items():
        if len(jobs) > 1:
            what = f"one create, {name}, made {sorted(jobs)}"
            yield Violation(invariant=2, what=what, jobs=tuple(sorted(jobs)))


def _says_new(call: Call) -> bool:
    return call.answer is not None and not call.answer.flag


def _incarnations(case: Case, story: Story) -> Iterator[Violation]:
    seen: dict[int, Entry] = {}
    views = [call.answer for call in story.done("get") if call.answer is not None]
    for entry in (*story.outcomes, *views):
        if entry.created_at:
            seen.setdefault(entry.created_at, entry)
    stored = case.jobs.get(story.job)
    moments = set(seen) | ({stored.created_at} if stored is not None else set()) - {0}
    if len(moments) > 1:
        yield Violation(
            invariant=2,
            what=f"there were {len(moments)} jobs {story.job}, one after the other",
            lines=tuple(seen.values()),
            jobs=(story.job,),
        )


def unique_keys(case: Case) -> Iterator[Violation]:
    """While a job that has not even started holds a key, no other job gets it."""
    holders: dict[str, list[tuple[Call, int]]] = defaultdict(list)
    for story in case.stories.values():
        made = [call for call in story.creates if call.done and _says_new(call)]
        if made and story.asked.unique and not (story.asked.idle_ms or story.asked.total_ms):
            holders[_type_of_key(story)].append((made[0], _may_be_free_at(story)))
    for key, calls in holders.items():
        calls.sort(key=lambda pair: pair[0].invoke.at)
        for (first, free_at), (second, _) in pairwise(calls):
            if first.settled_at < second.invoke.at and second.settled_at < free_at:
                yield Violation(
                    invariant=2,
                    what=f"two jobs hold the unique key {key}",
                    lines=(*first.lines, *second.lines),
                )


def _type_of_key(story: Story) -> str:
    """Keys belong to a type; the history says it in the create's text."""
    return f"{story.creates[0].invoke.text}/{story.asked.unique}"


def _may_be_free_at(story: Story) -> int:
    moments = [claim.at - PUSHED_LATE_NS for claim in story.claims]
    for op in ("cancel", "remove", "complete", "fail", "handled"):
        moments += [call.invoke.at for call in story.maybe(op)]
    return min(moments, default=0)

"""Every handler sees the one outcome, until it has handled it, and not after that."""

from collections import defaultdict
from collections.abc import Iterator

from tests.history.evidence import Call, Case, Story, Violation
from tests.history.history import Entry

Saying = tuple[str, str, str]
"""State, reason and result: what an outcome says."""


def one_outcome(case: Case) -> Iterator[Violation]:
    """All are told the same, and it is what the runner said."""
    for story in case.stories.values():
        finishes: dict[int, Entry] = {}
        for outcome in story.outcomes:
            first = finishes.setdefault(outcome.finished_at, outcome)
            if _saying(first) != _saying(outcome):
                yield Violation(
                    invariant=5,
                    what=f"two handlers of {story.job} saw different outcomes",
                    lines=(first, outcome),
                )
        yield from _finished_twice(story, finishes)
        for outcome in finishes.values():
            if story.creates and not _said(case, story, outcome):
                yield Violation(
                    invariant=5,
                    what=f"nobody can have caused this outcome of {story.job}",
                    lines=(outcome,),
                )


def _saying(outcome: Entry) -> Saying:
    return outcome.state, outcome.code, outcome.text


def _finished_twice(story: Story, finishes: dict[int, Entry]) -> Iterator[Violation]:
    in_order = [finishes[moment] for moment in sorted(finishes)]
    if len(in_order) > 1 + len(story.maybe("retry")) or any(
        outcome.state == "COMPLETE" for outcome in in_order[:-1]
    ):
        yield Violation(
            invariant=5, what=f"{story.job} finished {len(in_order)} times", lines=tuple(in_order)
        )


def _said(case: Case, story: Story, outcome: Entry) -> bool:
    if outcome.state == "COMPLETE":
        return outcome.text in story.tokens("complete", done=False)
    asked = story.asked
    match outcome.code:
        case "FAILED":
            return bool(story.maybe("fail"))
        case "CANCELLED":
            return bool(story.maybe("cancel"))
        case "JOB_TIMEOUT":
            return bool(asked.idle_ms or asked.run_ms or asked.total_ms)
        case _:
            holders = {claim.who for claim in story.claims}
            given_back = story.tokens("release", done=False)
            return any(case.was_given_up(who) or not case.heard[who] for who in holders) or all(
                # Else the claim that was lost is one of which its runner never learnt: a later
                # attempt, or the same one again after it was given back.
                claim.attempt != outcome.attempt or claim.token in given_back
                for claim in story.claims
            )


def delivered(case: Case) -> Iterator[Violation]:
    """Who was to handle a job saw its outcome, if he was not given up and it was not removed."""
    for story in case.stories.values():
        for who, group, since in missed(story):
            if group or not case.was_given_up(who, after=since.at):
                yield Violation(
                    invariant=5,
                    what=f"the outcome of {story.job} never reached {group or who}",
                    lines=(since,),
                    jobs=(story.job,),
                )
    for job in case.jobs.values():
        if job.finished and (job.handlers or job.groups):
            owed = ", ".join((*job.handlers, *job.groups))
            what = f"{job.id} has ended and is still owed to {owed}"
            yield Violation(invariant=5, what=what, jobs=(job.id,))


def missed(story: Story) -> Iterator[tuple[str, str, Entry]]:
    """Clients and groups that were to handle a job and never saw its outcome."""
    if story.maybe("remove"):
        return
    for who, group, since in _handlers(story):
        if not any(
            outcome.group == group and (group or outcome.who == who) for outcome in story.outcomes
        ):
            yield who, group, since


def _handlers(story: Story) -> Iterator[tuple[str, str, Entry]]:
    """Clients and groups that were accepted as handlers, and since when."""
    for call in story.creates:
        if call.done and call.invoke.asked is not None and call.invoke.asked.handle:
            yield call.invoke.who, "", call.invoke
    for call in (*story.creates, *story.joins):
        if call.done and call.invoke.group:
            yield call.invoke.who, call.invoke.group, call.invoke
    for call in (*story.joins, *story.calls["handle"]):
        if call.done:
            yield call.invoke.who, "", call.invoke


def not_after_handled(case: Case) -> Iterator[Violation]:
    """An outcome that was handled does not come again."""
    for story in case.stories.values():
        handled: dict[tuple[str, str, int], Entry] = {}
        events = [call.answer for call in story.done("handled") if call.answer is not None]
        for entry in events:
            handled.setdefault((entry.who, entry.group, entry.finished_at), entry)
        asked_again = _asked_to_handle(story)
        for outcome in story.outcomes:
            accepted = handled.get((outcome.who, outcome.group, outcome.finished_at))
            if accepted is None or accepted.at > outcome.at:
                continue
            if any(
                call.invoke.at < outcome.at and call.settled_at > accepted.at
                for call in asked_again[outcome.group or outcome.who]
            ):
                continue
            yield Violation(
                invariant=9,
                what=f"an outcome of {story.job} came again after it was handled",
                lines=(accepted, outcome),
            )


def _asked_to_handle(story: Story) -> dict[str, list[Call]]:
    """Requests to be a handler, by client and by group: one that comes after all is told anew, as
    when a create is repeated whose job has been handled since."""
    found: dict[str, list[Call]] = defaultdict(list)
    for call in (*story.calls["handle"], *story.joins, *story.creates):
        for handler in {call.invoke.who, call.invoke.group}:
            found[handler].append(call)
    return found

"""Nothing happens before its time, and everything ends."""

from collections.abc import Iterator
from typing import Final

from tests.history.evidence import Call, Case, Story, Violation
from tests.history.history import NS_PER_MS, Entry

CLOCKS_APART_NS: Final = 20 * NS_PER_MS
"""How far ahead of the store's clock a broker may think it is: it learns it by question and
answer, and takes the answer to be from the middle between both."""


def delays(case: Case) -> Iterator[Violation]:
    """No job runs before its delay is over, and none is tried again before its wait is."""
    for story in case.stories.values():
        if story.maybe("run_now") or story.maybe("retry") or not story.claims:
            continue
        if story.creates:
            due = min(c.invoke.at for c in story.creates) + story.asked.delay_ms * NS_PER_MS
            if story.claims[0].at < due - CLOCKS_APART_NS:
                yield _early(story, story.creates[0], story.claims[0])
        for call in story.done("fail"):
            wait_ms = call.invoke.number if call.invoke.number >= 0 else story.asked.backoff_ms
            said = [c for c in story.calls["fail"] if c.invoke.token == call.invoke.token]
            # One that was said twice was accepted the first time, or the second.
            due = min(c.invoke.at for c in said) + wait_ms * NS_PER_MS
            following = _next_claim(story, call.invoke.token)
            if following is not None and following.at < due - CLOCKS_APART_NS:
                yield _early(story, call, following)


def _early(story: Story, call: Call, claim: Entry) -> Violation:
    return Violation(invariant=8, what=f"{story.job} was claimed early", lines=(*call.lines, claim))


def _next_claim(story: Story, token: str) -> Entry | None:
    fences = [claim.fence for claim in story.claims if claim.token == token]
    later = [claim for claim in story.claims if fences and claim.fence > fences[0]]
    return min(later, key=lambda claim: claim.at, default=None)


def timeouts(case: Case) -> Iterator[Violation]:
    """An attempt that its run timeout ended had all its time."""
    for job in case.jobs.values():
        story = case.story(job.id)
        run_ms = story.asked.run_ms
        least_ms = min([run_ms, *(call.invoke.number for call in story.maybe("extend"))])
        for one in job.ended:
            ran_ms = one.finished_at - one.started_at
            timed_out = one.end == "TIMED_OUT" and one.expired == "RUN"
            if timed_out and (not run_ms or ran_ms < least_ms):
                yield Violation(
                    invariant=8,
                    what=f"attempt {one.attempt} of {job.id} was ended after {ran_ms} ms",
                    jobs=(job.id,),
                )


def ended(case: Case) -> Iterator[Violation]:
    """After the last fault everything ends within the bound."""
    if not case.evidence.drained:
        yield Violation(invariant=11, what="not everything ended in time")
    for job in case.jobs.values():
        if not job.finished:
            story = case.story(job.id)
            about = [line for call in story.creates for line in call.lines] + story.claims
            yield Violation(invariant=11, what=f"{job.id} is {job.state}", lines=tuple(about[-4:]))


def fsck(case: Case) -> Iterator[Violation]:
    """Records and indexes agree."""
    for line in case.evidence.fsck:
        yield Violation(invariant=12, what=line)

"""One runner at a time, one end for each attempt, and nobody given up before his time."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.history.evidence import Call, Case, Story, Violation
from tests.history.history import NS_PER_MS, Entry

ENDS = ("complete", "fail", "release")
BY_TOKEN = (*ENDS, "log", "progress", "extend")

TAKEN_BACK_NS = 2_000 * NS_PER_MS
"""A runner whose connection went so soon after a claim may have missed that it was taken back."""

ALL_ATTEMPTS_KEPT = 50
"""Of a job with so many ended attempts the store has a record of each."""


def tokens(case: Case) -> Iterator[Violation]:
    """A fence has one token, a token one job and one client."""
    owners: dict[str, Entry] = {}
    for story in case.stories.values():
        by_fence: dict[int, Entry] = {}
        for claim in story.claims:
            first = by_fence.setdefault(claim.fence, claim)
            if first.token != claim.token:
                yield Violation(
                    invariant=3,
                    what=f"two claims of {story.job} with the fence {claim.fence}",
                    lines=(first, claim),
                )
            owner = owners.setdefault(claim.token, claim)
            if (owner.who, owner.job) != (claim.who, claim.job):
                yield Violation(
                    invariant=3, what="one token, two claims", lines=(owner, claim), absolute=True
                )


def accepted_ends(case: Case) -> Iterator[Violation]:
    """At most one end is accepted for each token, and a job completes once and for all."""
    for story in case.stories.values():
        accepted: dict[str, Call] = {}
        for op in ENDS:
            for call in story.done(op):
                first = accepted.setdefault(call.invoke.token, call)
                if first.invoke.op != op:
                    yield Violation(
                        invariant=3,
                        what=f"two ends of one claim of {story.job} were accepted",
                        lines=(*first.lines, *call.lines),
                    )
        yield from _completed(case, story)


def _completed(case: Case, story: Story) -> Iterator[Violation]:
    completed = {call.invoke.token: call for call in story.done("complete")}
    if not completed:
        return
    calls = list(completed.values())
    if len(calls) > 1:
        yield Violation(
            invariant=3,
            what=f"{story.job} was completed by {len(calls)} claims",
            lines=tuple(line for call in calls for line in call.lines),
        )
    fences = {claim.token: claim.fence for claim in story.claims}
    last = calls[0]
    for claim in story.claims:
        if claim.fence > fences.get(last.invoke.token, claim.fence):
            yield Violation(
                invariant=3,
                what=f"{story.job} was claimed again after it was completed",
                lines=(*last.lines, claim),
            )
    stored = case.jobs.get(story.job)
    if stored is not None and (stored.state, stored.token) != ("COMPLETE", last.invoke.token):
        yield Violation(
            invariant=3,
            what=f"a complete of {story.job} was accepted, and the store has it {stored.state}"
            f" by {stored.token or 'no claim'}",
            lines=last.lines,
        )


def stale_tokens(case: Case) -> Iterator[Violation]:
    """Nothing is accepted for a token after its claim is known to be over."""
    for story in case.stories.values():
        fences = {claim.token: claim.fence for claim in story.claims}
        for op in BY_TOKEN:
            for call in story.done(op):
                over = _over(story, fences, call)
                if over is not None:
                    yield Violation(
                        invariant=3,
                        what=f"a stale {op} of {story.job} was accepted",
                        lines=(over, *call.lines),
                    )


def _over(story: Story, fences: dict[str, int], call: Call) -> Entry | None:
    """What shows that the claim was over before the call was made."""
    token = call.invoke.token
    fence = fences.get(token, 0)
    for claim in story.claims:
        if fence and claim.fence > fence and claim.at < call.invoke.at:
            return claim
    # The same end said again is answered as before: then the claim was over by itself.
    same = (one for one in story.calls[call.invoke.op] if one.invoke.token == token)
    if call.invoke.op in ENDS and any(one.invoke.at < call.invoke.at for one in same):
        return None
    for revoke in story.revokes:
        if revoke.token == token and revoke.at < call.invoke.at:
            return revoke
    return None


def holders(case: Case) -> Iterator[Violation]:
    """A claim passes on only when the one before it is over, and something ended it."""
    for story in case.stories.values():
        by_fence = {claim.fence: claim for claim in reversed(story.claims)}
        fences = sorted(by_fence)
        for fence, following in pairwise(fences):
            held, passed_on = by_fence[fence], by_fence[following]
            if not _ended(case, story, held, passed_on):
                yield Violation(
                    invariant=4,
                    what=f"{story.job} passed on while {held.who} held it",
                    lines=(held, passed_on),
                )


def _ended(case: Case, story: Story, held: Entry, passed_on: Entry) -> bool:
    asked = story.asked
    if asked.run_ms or asked.total_ms or story.maybe("cancel"):
        return True
    if any(revoke.token == held.token for revoke in story.revokes):
        return True
    for op in ENDS:
        for call in story.maybe(op):
            if call.invoke.token == held.token and call.invoke.at < passed_on.at:
                return True
    if case.was_given_up(held.who, after=held.at):
        return True
    return any(
        entry.who == held.who
        and entry.op in ("disconnected", "started")
        and held.at < entry.at < held.at + TAKEN_BACK_NS
        for entry in case.history
    )


def attempts(case: Case) -> Iterator[Violation]:
    """No more attempts than were allowed, and for each that ended a reason."""
    for story in case.stories.values():
        allowed = story.asked.attempts + sum(c.invoke.number for c in story.maybe("retry"))
        for claim in story.claims:
            if claim.attempt > allowed:
                yield Violation(
                    invariant=7,
                    what=f"attempt {claim.attempt} of {story.job}, {allowed} were allowed",
                    lines=(claim,),
                )
        yield from _counters(case, story)


def _counters(case: Case, story: Story) -> Iterator[Violation]:
    job = case.jobs.get(story.job)
    if job is None:
        return
    ended = job.failed + job.lost + job.released + job.timed_out + job.cut_off
    held = 1 if job.state in ("COMPLETE", "STARTED") else 0
    checks = [
        (job.fence == ended + held, f"{job.fence} claims, {ended + held} of them accounted for"),
        (job.current_attempt <= job.attempts, f"attempt {job.current_attempt} of {job.attempts}"),
    ]
    given_back = job.released - job.taken_back
    for op, count in (("fail", job.failed), ("release", given_back)):
        least = len(story.tokens(op, done=True))
        most = len(story.tokens(op, done=False))
        checks.append((least <= count <= most, f"{count} {op}s, {least} to {most} were said"))
    retried = len(story.done("retry"))
    most = len(story.maybe("retry"))
    checks.append((retried <= job.retried <= most, f"{job.retried} retries, {retried} to {most}"))
    kept = ended - job.taken_back
    if kept <= ALL_ATTEMPTS_KEPT:
        checks.append(
            (len(job.ended) == kept, f"{kept} ended attempts, {len(job.ended)} on record")
        )
    for one in job.ended:
        if one.end == "LOST":
            given_up = case.was_given_up(one.runner) or not case.heard[one.runner]
            checks.append((given_up, f"{one.runner} was lost though it was never given up"))
    for right, what in checks:
        if not right:
            claims = tuple(story.claims)
            yield Violation(
                invariant=7, what=f"{story.job}: {what}", lines=claims[-3:], jobs=(story.job,)
            )


def given_up(case: Case) -> Iterator[Violation]:
    """No client is removed before a full timeout of silence, outages left out."""
    welcomed: dict[str, int] = defaultdict(int)
    told = {id(entry) for entries in case.told_gone.values() for entry in entries}
    for entry in case.history:
        if id(entry) in told:
            timeout_ms = case.timeouts_ms.get(entry.who, 0)
            silent_ms = case.longest_silence_ms(entry.who, welcomed[entry.who], entry.at)
            if silent_ms < timeout_ms - 2 * case.evidence.flush_ms:
                last = [call for call in case.heard[entry.who] if call.invoke.at < entry.at]
                yield Violation(
                    invariant=13,
                    what=f"{entry.who} was given up after at most {silent_ms:.0f} ms of silence,"
                    f" its timeout is {timeout_ms} ms",
                    lines=(*(last[-1].lines if last else ()), entry),
                )
        if entry.op == "hello" and entry.kind == "ok":
            welcomed[entry.who] = entry.at

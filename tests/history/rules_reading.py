"""What is read is never older than what was acknowledged, and logs have no gaps."""

from collections import Counter
from collections.abc import Iterator

from tests.history.dump import StoredJob
from tests.history.evidence import Call, Case, Story, Violation

FINISHED = ("COMPLETE", "FAILED")


def versions(case: Case) -> Iterator[Violation]:
    """Within an epoch of the store versions only grow, and each stands for one state."""
    for story in case.stories.values():
        reads = [call for call in story.done("get") if call.answer is not None]
        if story.maybe("remove"):
            continue
        yield from _backwards(reads)
        seen: dict[tuple[str, int], Call] = {}
        for read in reads:
            assert read.answer is not None
            first = seen.setdefault((read.answer.epoch, read.answer.version), read)
            assert first.answer is not None
            if (first.answer.state, first.answer.attempt) != (
                read.answer.state,
                read.answer.attempt,
            ):
                yield Violation(
                    invariant=6,
                    what=f"one version of {story.job}, two states",
                    lines=(*first.lines, *read.lines),
                )
        stored = case.jobs.get(story.job)
        for read in reads:
            assert read.answer is not None
            if stored is not None and read.answer.version > stored.version:
                yield Violation(
                    invariant=6,
                    what=f"{story.job} was read in a later version than it ended in",
                    lines=read.lines,
                )


def _backwards(reads: list[Call]) -> Iterator[Violation]:
    newest: Call | None = None
    by_answer = sorted(reads, key=lambda read: read.settled_at)
    for read in sorted(reads, key=lambda read: read.invoke.at):
        while by_answer and by_answer[0].settled_at < read.invoke.at:
            known = by_answer.pop(0)
            if newest is None or _version(known) > _version(newest):
                newest = known
        if newest is None or newest.answer is None or read.answer is None:
            continue
        if newest.answer.epoch == read.answer.epoch and _version(read) < _version(newest):
            yield Violation(
                invariant=6,
                what=f"{read.invoke.job} went back from version {_version(newest)}"
                f" to {_version(read)}",
                lines=(*newest.lines, *read.lines),
            )


def _version(read: Call) -> int:
    return read.answer.version if read.answer is not None else 0


def acknowledged(case: Case) -> Iterator[Violation]:
    """Whoever reads after an answer sees at least what was answered."""
    for story in case.stories.values():
        created = [call for call in story.creates if call.done]
        completed = story.done("complete")
        for read in story.calls["get"]:
            if read.answer is None:
                continue
            before = [call for call in created if call.settled_at < read.invoke.at]
            if before and read.answer.code == "not_found" and not _may_be_gone(story, read):
                yield Violation(
                    invariant=6,
                    what=f"{story.job} was acknowledged, then it was not there",
                    lines=(*before[0].lines, *read.lines),
                )
            ended = [call for call in completed if call.settled_at < read.invoke.at]
            if ended and read.done and read.answer.state != "COMPLETE":
                yield Violation(
                    invariant=6,
                    what=f"{story.job} was completed, then it was read {read.answer.state}",
                    lines=(*ended[0].lines, *read.lines),
                )


def _may_be_gone(story: Story, read: Call) -> bool:
    taking = [] if story.asked.persistent else story.maybe("handled")
    return any(c.invoke.at < read.settled_at for c in (*taking, *story.maybe("remove")))


def logs(case: Case) -> Iterator[Violation]:
    """No offset is missing; each acknowledged line is there, none twice, none that was refused."""
    for job in case.jobs.values():
        yield from _offsets(job)
        story = case.story(job.id)
        if job.log_first:
            continue
        found = Counter(message for _, message in job.log)
        least = Counter(call.invoke.text for call in story.done("log"))
        most = Counter(call.invoke.text for call in story.maybe("log"))
        for line in found.keys() | least.keys():
            if not least[line] <= found[line] <= most[line]:
                calls = [call for call in story.calls["log"] if call.invoke.text == line]
                yield Violation(
                    invariant=10,
                    what=f"the log of {job.id} has a line {found[line]} times, it was written"
                    f" {least[line]} to {most[line]} times",
                    lines=tuple(entry for call in calls for entry in call.lines),
                    jobs=(job.id,),
                )


def _offsets(job: StoredJob) -> Iterator[Violation]:
    if list(job.log_offsets) != list(range(job.log_first, job.log_end)):
        yield Violation(
            invariant=10,
            what=f"the log of {job.id} goes from {job.log_first} to {job.log_end} and holds"
            f" {list(job.log_offsets)}",
            jobs=(job.id,),
        )

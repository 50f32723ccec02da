"""What a verdict is made of: the history, sorted by calls, jobs and clients; and the store."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final

from msgspec import Struct, field

from packhorse_broker.store.homes import Homes
from tests.history.dump import StoredJob
from tests.history.history import CLIENTS, NS_PER_MS, ROLLED_BACK, SUPERVISOR, Asked, Entry

PUSHED_LATE_NS: Final = 6_000 * NS_PER_MS
"""How long a push may take: its receiver may be paused, and its links after that."""

OUTAGE_MS: Final = 1_500
"""A shorter absence of the store or of all brokers need not be noticed by those who sweep."""

NEVER: Final = 2**63 - 1


class Evidence(Struct, kw_only=True):
    """All that a run left behind."""

    history: list[Entry]
    jobs: dict[str, StoredJob]
    partitions: int = 1
    """Of the store."""
    astray: list[str] = field(default_factory=list)
    """What the store holds where nobody looks for it."""
    drained: bool = True
    """Whether everything ended within the bound after the last fault."""
    fsck: list[str] = field(default_factory=list)
    flush_ms: int = 0
    """How old a client's last response may be in the store: its broker may die with the rest."""


class Violation(Struct, frozen=True, kw_only=True):
    """A promise that was not kept, and the lines that show it."""

    invariant: int
    """Its number in `checker.INVARIANTS`."""
    what: str
    lines: tuple[Entry, ...] = ()
    jobs: tuple[str, ...] = ()
    """Those that it is about, beside those of the lines."""
    absolute: bool = False
    """No loss of acknowledged changes can explain it."""


class Span(Struct, frozen=True, kw_only=True):
    """Moments in ns, both in it."""

    begin: int
    end: int
    where: str = ""
    slot: str = ""
    """As in the history."""


class Call(Struct, frozen=True):
    """A request for one job, from before it left until it was settled."""

    invoke: Entry
    answer: Entry | None

    @property
    def done(self) -> bool:
        return self.answer is not None and self.answer.kind == "ok"

    @property
    def refused(self) -> bool:
        return self.answer is not None and self.answer.kind == "fail"

    @property
    def maybe(self) -> bool:
        """It may have been done: it was, or nobody knows."""
        return not self.refused

    @property
    def settled_at(self) -> int:
        return self.answer.at if self.answer is not None else NEVER

    @property
    def lines(self) -> tuple[Entry, ...]:
        return (self.invoke,) if self.answer is None else (self.invoke, self.answer)


class Story:
    """All that the history says of one job."""

    def __init__(self, job: str) -> None:
        self.job = job
        self.creates: list[Call] = []
        """Those that meant this job itself."""
        self.joins: list[Call] = []
        """Creates of others that became handlers of this one: it held their unique key."""
        self.calls: dict[str, list[Call]] = defaultdict(list)
        """By tag, creates left out, in the order of their begin."""
        self.claims: list[Entry] = []
        self.revokes: list[Entry] = []
        self.outcomes: list[Entry] = []
        self.runs: list[Entry] = []

    @property
    def asked(self) -> Asked:
        for call in self.creates:
            if call.invoke.asked is not None:
                return call.invoke.asked
        return Asked()

    @property
    def names(self) -> set[str]:
        return {claim.name for claim in self.claims if claim.name}

    def done(self, op: str) -> list[Call]:
        return [call for call in self.calls[op] if call.done]

    def maybe(self, op: str) -> list[Call]:
        return [call for call in self.calls[op] if call.maybe]

    def tokens(self, op: str, *, done: bool) -> set[str]:
        calls = self.done(op) if done else self.maybe(op)
        return {call.invoke.token for call in calls}


class Case:
    """The evidence in the order in which rules ask for it."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.jobs = evidence.jobs
        self.history = evidence.history
        self.calls: list[Call] = list(_paired(evidence.history))
        self.stories: dict[str, Story] = {}
        self._sort_calls()
        self._sort_pushes()
        self._join_names()

    def story(self, job: str) -> Story:
        return self.stories.setdefault(job, Story(job))

    def _sort_calls(self) -> None:
        for call in self.calls:
            answered = call.answer.job if call.answer is not None else ""
            job = answered or call.invoke.job
            if not job:
                continue
            story = self.story(job)
            if call.invoke.op != "create":
                story.calls[call.invoke.op].append(call)
            elif call.done and call.answer is not None and call.answer.code:
                story.joins.append(call)
            else:
                story.creates.append(call)

    def _sort_pushes(self) -> None:
        for entry in self.history:
            if entry.kind == "push" and entry.job:
                story = self.story(entry.job)
                if entry.op == "claim":
                    story.claims.append(entry)
                elif entry.op == "revoke":
                    story.revokes.append(entry)
                elif entry.op == "outcome":
                    story.outcomes.append(entry)
            elif entry.kind in ("begin", "end"):
                self.story(entry.job).runs.append(entry)

    def _join_names(self) -> None:
        """A create that chose no id and was not answered: its job is known by what it carries."""
        unanswered = self.unanswered
        for story in self.stories.values():
            stored = self.jobs.get(story.job)
            names = story.names | ({stored.name} if stored is not None else set())
            story.creates += [unanswered[name] for name in sorted(names) if name in unanswered]
        for job, stored in self.jobs.items():
            if job not in self.stories and stored.name in unanswered:
                self.story(job).creates.append(unanswered[stored.name])

    @cached_property
    def unanswered(self) -> dict[str, Call]:
        """Creates that chose no id and were not done as far as is known, by name."""
        return {
            call.invoke.name: call
            for call in self.calls
            if call.invoke.op == "create" and not call.invoke.job and not call.done
        }

    # -- clients

    @cached_property
    def timeouts_ms(self) -> dict[str, int]:
        return {
            call.invoke.who: call.answer.number
            for call in self.calls
            if call.invoke.op == "hello" and call.done and call.answer is not None
        }

    @cached_property
    def heard(self) -> dict[str, list[Call]]:
        """Of each client the calls that were answered: it was heard in each of them."""
        found: dict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            if call.done or call.refused:
                found[call.invoke.who].append(call)
        for calls in found.values():
            calls.sort(key=lambda call: call.invoke.at)
        return found

    @cached_property
    def told_gone(self) -> dict[str, list[Entry]]:
        """When each client learnt that it had been given up: its registration is another one."""
        found: dict[str, list[Entry]] = defaultdict(list)
        registered_at: dict[str, int] = {}
        for entry in self.history:
            if entry.op == "hello" and entry.kind == "ok":
                former = registered_at.get(entry.who, entry.registered_at)
                if former != entry.registered_at or (entry.who in registered_at and not entry.flag):
                    found[entry.who].append(entry)
                registered_at[entry.who] = entry.registered_at
            elif entry.op == "closed" and entry.code == "client_gone":
                # The welcome that comes next tells of this same removal.
                registered_at.pop(entry.who, None)
                found[entry.who].append(entry)
        return found

    def was_given_up(self, who: str, after: int = 0) -> bool:
        """Whether it learnt so, or had no welcome any more that would have told it."""
        told = any(entry.at >= after for entry in self.told_gone[who])
        return told or who in self.never_back

    @cached_property
    def never_back(self) -> set[str]:
        """Clients that got no answer to their last hello."""
        last = {call.invoke.who: call for call in self.calls if call.invoke.op == "hello"}
        return {who for who, call in last.items() if call.answer is None}

    @cached_property
    def outages(self) -> list[tuple[int, int]]:
        """When the store, or every broker, was away for long: begin and end."""
        return [
            (entry.at - entry.number * NS_PER_MS, entry.at)
            for entry in self.history
            if entry.op == "outage" and entry.number >= OUTAGE_MS
        ]

    def longest_silence_ms(self, who: str, since: int, until: int) -> float:
        """The longest time in a span in which the brokers can have heard nothing of a client,
        though they were there to hear."""
        calls = self.heard[who]
        first = max(bisect_right(calls, since, key=lambda call: call.invoke.at) - 1, 0)
        longest, last = 0, since
        for call in calls[first:]:
            if call.invoke.at > until:
                break
            longest = max(longest, self._without_outages(last, min(call.settled_at, until)))
            last = max(last, call.invoke.at)
        longest = max(longest, self._without_outages(last, until))
        return longest / NS_PER_MS

    def _without_outages(self, begin: int, end: int) -> int:
        longest = 0
        for outage_begin, outage_end in self.outages:
            if outage_end <= begin or outage_begin >= end:
                continue
            longest = max(longest, outage_begin - begin)
            begin = max(begin, outage_end)
        return max(longest, end - begin)

    # -- faults

    @cached_property
    def lost_spans(self) -> list[Span]:
        """In which the store acknowledged what it lost."""
        return [
            Span(begin=entry.at - entry.number, end=entry.at, where=entry.text, slot=entry.slot)
            for entry in self.history
            if entry.op == ROLLED_BACK
        ]

    def lost_spans_of(self, job: str) -> list[Span]:
        """Those that may have to do with a job, or with a client: the clients' registry is part of
        everything."""
        home = str(Homes(self.evidence.partitions).of(job)) if job else CLIENTS
        return [span for span in self.lost_spans if span.slot in ("", CLIENTS, home)]

    @cached_property
    def faults(self) -> Sequence[Entry]:
        return [entry for entry in self.history if entry.kind == "fault" and not entry.flag]


def _paired(history: Sequence[Entry]) -> Iterator[Call]:
    answers = {
        entry.call: entry
        for entry in history
        if entry.call and entry.kind in ("ok", "fail", "info")
    }
    for entry in history:
        if entry.kind == "invoke" and entry.who != SUPERVISOR:
            answer = answers.get(entry.call)
            yield Call(entry, answer if answer is None or answer.kind != "info" else None)
